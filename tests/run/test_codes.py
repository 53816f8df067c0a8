"""Codes are joined with cells by name, in whatever file they lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism.errors import InputError
from cellprism.genesets.gmt import write_gmt
from cellprism.run.codes import codes_for

N = 40
NAMES = pd.Index([f"c{i}" for i in range(N)])
CODES = sp.csr_array(np.random.default_rng(0).random((N, 5)) * (np.random.default_rng(1).random((N, 5)) < 0.4))


def npz(folder: Path, codes: sp.csr_array, names: pd.Index) -> Path:
    parts = {
        "format": b"csr",
        "shape": codes.shape,
        "data": codes.data,
        "indices": codes.indices,
        "indptr": codes.indptr,
    }
    np.savez(folder / "codes.npz", **parts, cells=np.array(names.tolist(), dtype=str))
    return folder / "codes.npz"


def h5ad(folder: Path, codes: sp.csr_array, names: pd.Index) -> Path:
    ad.AnnData(sp.csr_matrix(codes), obs=pd.DataFrame(index=names)).write_h5ad(folder / "codes.h5ad")
    return folder / "codes.h5ad"


def zarr(folder: Path, codes: sp.csr_array, names: pd.Index) -> Path:
    ad.AnnData(sp.csr_matrix(codes), obs=pd.DataFrame(index=names)).write_zarr(folder / "codes.zarr")
    return folder / "codes.zarr"


def run_folder(folder: Path, codes: sp.csr_array, names: pd.Index) -> Path:
    sp.save_npz(folder / "codes.npz", codes)
    pd.DataFrame({"cell": names}).to_parquet(folder / "cells.parquet")
    return folder / "codes.npz"


pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2:UserWarning")
FILES = pytest.mark.parametrize("write", [npz, h5ad, zarr, run_folder])


@FILES
@pytest.mark.parametrize("asked", ["the same", "reversed", "some"])
def test_cells_get_their_own_codes(write: Callable[..., Path], asked: str, tmp_path: Path) -> None:
    rows = {"the same": np.arange(N), "reversed": np.arange(N)[::-1], "some": np.arange(3, N, 4)}[asked]
    found, how = codes_for(write(tmp_path, CODES, NAMES), NAMES[rows])
    np.testing.assert_allclose(found.toarray(), CODES.toarray()[rows])
    assert "by the names in" in how


@pytest.mark.filterwarnings("ignore:Observation names are not unique:UserWarning")
@FILES
def test_cells_without_codes_and_names_that_repeat_are_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(tmp_path, CODES, NAMES)
    with pytest.raises(InputError, match=r"1 of 2 not in .*'other'"):
        codes_for(path, pd.Index(["c1", "other"]))
    path.unlink() if path.is_file() else path.rename(tmp_path / "old.zarr")
    twice = pd.Index(["c0", *NAMES[:-1]])
    path = write(tmp_path, CODES, twice)
    np.testing.assert_allclose(codes_for(path, twice)[0].toarray(), CODES.toarray())
    with pytest.raises(InputError, match="'c0' twice"):
        codes_for(path, twice[::-1])


@pytest.mark.parametrize("name", ["codes.npz", "codes.npy"])
def test_codes_that_nothing_names_are_taken_in_their_order(name: str, tmp_path: Path) -> None:
    if name == "codes.npz":
        sp.save_npz(tmp_path / name, CODES)
    else:
        np.save(tmp_path / name, CODES.toarray().astype(np.float64))
    found, how = codes_for(tmp_path / name, NAMES[::-1])
    np.testing.assert_allclose(found.toarray(), CODES.toarray())
    assert "names no cells" in how
    with pytest.raises(InputError, match="40 rows and 39 cells"):
        codes_for(tmp_path / name, NAMES[1:])


@pytest.mark.filterwarnings("ignore:.*stray:UserWarning")
def test_annotate_takes_the_codes_of_encode_for_cells_in_any_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = counts_adata(120, 30)
    codes = sp.csr_array(np.maximum(cells.obsm["X_emb"], 0))
    write_gmt(type_sets(30), tmp_path / "sets.gmt")
    h5ad(tmp_path, codes, cells.obs_names)
    found = []
    for name, order in (("a", slice(None)), ("b", slice(None, None, -1))):
        cells[order].copy().write_h5ad(tmp_path / f"{name}.h5ad")
        done = call(
            capsys, "annotate", tmp_path / "codes.h5ad", tmp_path / f"{name}.h5ad", "--gene-sets", tmp_path / "sets.gmt",
            "--labels", "cell_type", "-o", tmp_path / name,
        )  # fmt: skip
        assert done.code == 0, done.err
        found.append(pd.read_parquet(tmp_path / name / "labels.parquet"))
    pd.testing.assert_frame_equal(found[0], found[1], rtol=1e-5)


@pytest.mark.parametrize("write", [npz, run_folder])
@pytest.mark.parametrize("named", [N - 1, N + 1, 0])
def test_names_of_other_cells_are_refused(write: Callable[..., Path], named: int, tmp_path: Path) -> None:
    path = write(tmp_path, CODES, pd.Index([f"c{i}" for i in range(named)]))
    with pytest.raises(InputError, match=rf"as many as the codes; met {named} in"):
        codes_for(path, NAMES)


def test_a_table_beside_codes_that_names_no_cells_is_none_of_theirs(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "codes.npz", CODES)
    pd.DataFrame({"barcode": NAMES[::-1]}).to_parquet(tmp_path / "cells.parquet")
    found, how = codes_for(tmp_path / "codes.npz", NAMES)
    assert (found != CODES).nnz == 0
    assert how.endswith("names no cells: its rows are taken in their order")
    (tmp_path / "cells.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"must be readable; met .*cells\.parquet"):
        codes_for(tmp_path / "codes.npz", NAMES)
