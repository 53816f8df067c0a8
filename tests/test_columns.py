"""Every column of every table is described, and every description is of a column that something writes."""

from __future__ import annotations

import anndata as ad
import page_workspace as workspace
import pandas as pd
import pytest
from typer.testing import CliRunner

from cellprism.cli import app
from cellprism.folder.columns import FILES
from cellprism.folder.schema import COLUMNS

SELDOM = {
    "sets.parquet": {"ancestor"},  # with an ontology
    "cells.parquet": {"depth", "mitochondrial share", "*"},
    "regulators.parquet": None,  # with --network, which is fetched
    "stability.parquet": None,
}
"""Columns that only some runs have: they may be absent here; None, the whole file."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[set[str]]]:
    """Name of a described file -> the columns of each such file that the commands wrote."""
    folder = tmp_path_factory.mktemp("tables")
    workspace.make_files(folder)
    workspace.make_run(folder / "RUN", folder)
    cells, run = folder / "cells.h5ad", folder / "RUN"
    for words in (
        ["differential", run, "--by", "condition", "-o", folder / "differential"],
        ["steer", run, "--model", folder / "my_scvi", "--feature", 1, "--to-quantile", 0.9, "-o", folder / "steering"],
        *(
            ["match", run, run, "--by", by, "--permutations", 20, "-o", folder / by / "match.parquet"]
            for by in ("codes", "decoder", "sets")
        ),
        ["export", run, "--network", folder / "network.parquet"],
        ["fit", folder / "geneformer.npy", "--width", 16, "--k", 4, "--seeds", 2, "--consensus", "-o", folder / "fit"],
        [
            "run",
            folder / "counts.h5ad",
            "--embed",
            "pca",
            "--width",
            16,
            "--k",
            3,
            "--seeds",
            1,
            "-o",
            folder / "embedded",
        ],
        ["encode", folder / "embedded", folder / "new.h5ad", "-o", folder / "codes.h5ad"],
        ["annotate", run / "codes.npz", cells, "--labels", "cell_type", "-o", folder / "annotation"],
        ["benchmark", "small", "--methods", "topk,probe", "-o", folder / "bench"],
    ):
        done = CliRunner().invoke(app, [str(w) for w in words])
        assert done.exit_code == 0, (words, done.output, done.exception)
    found: dict[str, list[set[str]]] = {}
    for path in folder.rglob("*.parquet"):
        name = {
            "match.parquet": "match output (.csv, .parquet)",
            "network.parquet": "export network (.csv, .tsv, .parquet)",
        }.get(path.name, path.name + (" (benchmark)" if path.parent.name == "bench" else ""))
        found.setdefault(name, []).append(set(pd.read_parquet(path).columns))
    found["encode output (.npz, .h5ad, .zarr)"] = [set(ad.read_h5ad(folder / "codes.h5ad").obs.columns)]
    return found


@pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")
def test_every_column_that_is_written_is_described(written: dict[str, list[set[str]]]) -> None:
    undescribed = {
        name: set().union(*tables) - set(FILES[name].columns) for name, tables in written.items() if name in FILES
    }
    undescribed["cells.parquet"] -= {"cell_type", "donor", "batch", "site", "stage", "condition"}
    assert not set(written) - set(FILES), "a table that no page describes"
    assert not {name: columns for name, columns in undescribed.items() if columns}


def test_every_description_is_of_a_column_that_is_written(written: dict[str, list[set[str]]]) -> None:
    unwritten = {
        name: set(described.columns) - set().union(*written.get(name, [set()])) - (SELDOM.get(name, set()) or set())
        for name, described in FILES.items()
        if SELDOM.get(name, set()) is not None
    }
    assert not {name: columns for name, columns in unwritten.items() if columns}


def test_what_the_reader_asks_for_is_described() -> None:
    for table, columns in COLUMNS.items():
        assert set(columns) <= set(FILES[f"{table}.parquet"].columns), table


def test_descriptions_say_something() -> None:
    for name, described in FILES.items():
        assert described.what.endswith("."), name
        assert all(len(meaning) > 2 for meaning in described.columns.values()), name
