"""No file of cells stays open behind a job that has ended, also where the garbage collector has not come by."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, multimodal, type_sets

from cellprism.data.opened import closes_what_it_opens
from cellprism.data.read import read_cells
from cellprism.errors import InputError
from cellprism.genesets.gmt import write_gmt
from cellprism.run import RunOptions, run

N = 120


@pytest.fixture(autouse=True)
def no_garbage_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["h5ad", "h5mu"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"cells.{request.param}"
    write_again(path)
    write_gmt(type_sets(40), tmp_path / "sets.gmt")
    return path


def write_again(path: Path) -> None:
    """Refused by HDF5 while the file is open anywhere in the process."""
    rna = counts_adata(N, 40)
    cells: ad.AnnData | mudata.MuData = rna
    if path.suffix == ".h5mu":
        adt = counts_adata(N, 6, seed=1)
        adt.var_names = [f"P{i}" for i in range(6)]
        cells = multimodal(rna=rna, adt=adt)
        cells.obsm["X_emb"], cells.obsm["X_umap"] = rna.obsm["X_emb"], rna.obsm["X_umap"]
    with mudata.set_options(pull_on_update=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.write(path)


def options(path: Path, **given: Any) -> RunOptions:
    return RunOptions(
        data=path,
        output=path.parent / "out",
        gene_sets=(str(path.parent / "sets.gmt"),),
        preset="demo",
        **{"rep": "X_emb", "width": 12, "k": 3, "seeds": 1, "epochs": 5} | given,
    )


def test_after_a_run(file: Path) -> None:
    run(options(file))
    write_again(file)


def test_after_a_run_that_is_refused(file: Path) -> None:
    with pytest.raises(InputError) as refused:
        run(options(file, rep="X_none"))
    write_again(file)
    assert "X_none" in str(refused.value)  # its traceback still holds the cells


@pytest.mark.parametrize("command", ["fit", "annotate", "encode"])
def test_after_a_command(file: Path, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes, sets, new = tmp_path / "codes.npz", tmp_path / "sets.gmt", tmp_path / "new"
    sp.save_npz(codes, sp.random(N, 3, 0.5, format="csr", dtype=np.float32, random_state=0))
    if command == "encode":
        run(options(file))
    words: dict[str, list[object]] = {
        "fit": [file, "--rep", "X_emb", "--width", 8, "--k", 2, "--epochs", 2, "-o", new],
        "annotate": [codes, file, "--gene-sets", sets, "-o", new],
        "encode": [tmp_path / "out", file, "--rep", "X_emb", "-o", tmp_path / "new.npz"],
    }
    done = call(capsys, command, *words[command])
    assert done.code == 0, done.err
    write_again(file)


def test_what_is_read_in_pieces_is_open_until_then(file: Path) -> None:
    with closes_what_it_opens():
        cells = read_cells(file, whole=False)
        table = cells if isinstance(cells, ad.AnnData) else cells["rna"]
        with pytest.raises(OSError, match="already open"):
            h5py.File(file, "w")
        assert table.X[:3].shape == (3, 40)
    write_again(file)
