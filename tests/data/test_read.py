from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import pytest
from helpers import counts_adata, multimodal

from cellprism.data.modalities import modalities
from cellprism.data.read import one_of_these, read_cells, sha256
from cellprism.data.text import cut_notes
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


def damaged(path: Path, change: Any) -> Path:
    counts_adata(5, 3).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def nested(place: str) -> Any:
    def change(file: h5py.File) -> None:
        file[f"{place}/umap/dens"] = np.ones((5, 2))

    return change


def half(file: h5py.File) -> None:
    values = file["X/data"][:].astype("f2")
    del file["X/data"]
    file["X/data"] = values


def newer(file: h5py.File) -> None:
    file["obs"].attrs["encoding-version"] = "9.9.0"


def unknown(file: h5py.File) -> None:
    file["X"].attrs["encoding-type"] = "fancy-array"


@pytest.mark.parametrize(
    ("change", "met", "remedy"),
    [
        (nested("obsm"), "the key 'umap/dens' holds a slash", "'umap_dens'"),
        (nested("layers"), "the key 'umap/dens' holds a slash", "rename it"),
        (half, "float16 in X/data", "float32"),
        (newer, "a newer AnnData wrote", "upgrade it"),
        (unknown, "a newer AnnData wrote", "upgrade it"),
    ],
)
def test_the_remedy_fits_the_cause(change: Any, met: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_cells(damaged(tmp_path / "a.h5ad", change))
    assert met in caught.value.met
    assert remedy in caught.value.remedy
    assert "truncated" not in caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_damaged_files_are_told_as_such(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.h5ad").write_bytes(content)
    with pytest.raises(InputError, match="truncated"):
        read_cells(tmp_path / "a.h5ad")


@pytest.mark.parametrize("suffix", ["h5ad", "h5mu", "zarr"])
@pytest.mark.parametrize("part", ["obs", "var"])
@pytest.mark.parametrize("left", ["nothing", "columns without their mark"])
def test_a_file_whose_writing_stopped_is_refused(suffix: str, part: str, left: str, tmp_path: Path) -> None:
    path = _written(tmp_path / f"a.{suffix}")
    above = "mod/rna/" if suffix == "h5mu" else ""
    _damage(path, f"{above}{part}", remove=left == "nothing")
    with pytest.raises(InputError, match=f"stopped before {above}{part} was whole"):
        read_cells(path)


@pytest.mark.parametrize("suffix", ["h5ad", "h5mu", "zarr"])
@pytest.mark.parametrize("part", ["obsm", "layers", "uns"])
def test_a_part_that_is_not_there_is_told(suffix: str, part: str, tmp_path: Path) -> None:
    path = _written(tmp_path / f"a.{suffix}")
    assert cut_notes([path]) == []
    above = "mod/rna/" if suffix == "h5mu" else ""
    _damage(path, f"{above}{part}", remove=True)
    assert read_cells(path).n_obs == 60
    assert cut_notes([path]) == [f"{path.name} lacks {above}{part}: its writing may have been stopped"]


def test_what_write_h5ad_leaves_when_it_fails_is_refused(tmp_path: Path) -> None:
    cells = counts_adata()
    cells.obs["note"] = [{"a": 1}] * cells.n_obs
    with pytest.raises(TypeError):
        cells.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(InputError, match="stopped before obs was whole"):
        read_cells(tmp_path / "a.h5ad")


def _written(path: Path) -> Path:
    cells = counts_adata()
    with warnings.catch_warnings(), mudata.set_options(pull_on_update=False):
        warnings.simplefilter("ignore")
        if path.suffix == ".h5mu":
            multimodal(rna=cells).write(path)
        else:
            getattr(cells, f"write_{path.suffix[1:]}")(path)
    return path


def _damage(path: Path, part: str, *, remove: bool) -> None:
    if path.suffix == ".zarr":
        (path / ".zmetadata").unlink()
        if remove:
            shutil.rmtree(path / part)
        else:
            (path / part / ".zattrs").unlink()
        return
    with h5py.File(path, "a") as file:
        if remove:
            del file[part]
        else:
            del file[part].attrs["encoding-type"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("cell_type,condition", "give each by itself, 'cell_type' and 'condition'"),
        ("cell_type, condition", "give each by itself, 'cell_type' and 'condition'"),
        ("cell_type,nothing", "give one of these"),
        ("Cell_Type", "give one of these; 'cell_type' is near"),
        ("celltype", "give one of these; 'cell_type' is near"),
        ("leiden", "give one of these"),
        ("", "give one of these"),
    ],
)
def test_a_name_that_does_not_exist_gets_the_remedy_that_fits(name: str, remedy: str) -> None:
    assert one_of_these(name, ["cell_type", "condition", 3]) == remedy
    assert one_of_these(name, []) == "leave it out, or give data that have it"
