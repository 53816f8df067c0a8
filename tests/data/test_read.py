from __future__ import annotations

import warnings
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pytest
from helpers import counts_adata, multimodal

from cellprism.data.modalities import modalities
from cellprism.data.read import read_cells, sha256
from cellprism.errors import InputError


def test_h5ad_and_zarr_give_the_same_cells(tmp_path: Path) -> None:
    cells = counts_adata()
    cells.write_h5ad(tmp_path / "a.h5ad")
    with warnings.catch_warnings():  # anndata announces its coming default format on every write
        warnings.simplefilter("ignore")
        cells.write_zarr(tmp_path / "a.zarr")
    for name in ("a.h5ad", "a.zarr"):
        back = read_cells(tmp_path / name)
        np.testing.assert_array_equal(back.X.toarray(), cells.X.toarray())
        assert list(back.obs_names) == list(cells.obs_names)


def test_h5mu_has_its_modalities(tmp_path: Path) -> None:
    rna, protein = counts_adata(), counts_adata(n_genes=5, seed=1)
    protein.var_names = [f"P{i}" for i in range(5)]
    with mudata.set_options(pull_on_update=False):
        multimodal(rna=rna, protein=protein).write(tmp_path / "a.h5mu")
    assert list(modalities(read_cells(tmp_path / "a.h5mu"))) == ["rna", "protein"]


def test_columns_of_the_modalities_are_found(tmp_path: Path) -> None:
    rna, protein = counts_adata(20, 6), counts_adata(20, 4)
    rna.obs["n_genes"] = np.arange(20)
    protein.obs["age"] = -protein.obs["age"]
    protein.var_names = [f"P{i}" for i in range(4)]
    with mudata.set_options(pull_on_update=False):
        multimodal(rna=rna, protein=protein[3:].copy()).write(tmp_path / "a.h5mu")
    cells = read_cells(tmp_path / "a.h5mu")
    assert cells.obs["n_genes"].tolist() == list(range(20))
    assert {"rna:age", "protein:age"} <= set(cells.obs)
    assert "age" not in cells.obs
    assert cells.obs["protein:age"].isna().sum() == 3
    assert cells.obs["cell_type"].tolist() == rna.obs["cell_type"].tolist()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.h5ad", None, "must exist"),
        ("cells.loom", b"", "read from .h5ad"),
        ("broken.h5ad", b"not hdf5 at all", "must be readable"),
        ("truncated.h5ad", "half", "must be readable"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, content: bytes | str | None, message: str) -> None:
    path = tmp_path / name
    if content == "half":
        counts_adata().write_h5ad(tmp_path / "whole.h5ad")
        whole = (tmp_path / "whole.h5ad").read_bytes()
        content = whole[: len(whole) // 2]
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_cells(path)


def test_an_anndata_is_one_modality() -> None:
    assert list(modalities(ad.AnnData(np.ones((2, 2))))) == ["rna"]


def test_digest_of_a_folder_sees_names_and_content(tmp_path: Path) -> None:
    folder = tmp_path / "z"
    folder.mkdir()
    (folder / "a").write_text("1")
    before = sha256(folder)
    (folder / "a").rename(folder / "b")
    assert sha256(folder) != before
    assert len(sha256(folder / "b")) == 64
