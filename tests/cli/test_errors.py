"""Bad input: exit code 2, one message with rule, value and remedy, no traceback, nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism.genesets.gmt import write_gmt

Change = Callable[[ad.AnnData], None]


def _nan(cells: ad.AnnData) -> None:
    cells.obsm["X_emb"][4, 2] = np.nan


def _constant(cells: ad.AnnData) -> None:
    cells.obsm["X_emb"][:] = 3.0


def _scaled(cells: ad.AnnData) -> None:
    cells.X = cells.X.toarray() - 2.5


def _nan_expression(cells: ad.AnnData) -> None:
    cells.X.data[3] = np.nan


def _zero_expression(cells: ad.AnnData) -> None:
    cells.X = cells.X * 0


def _ensembl(cells: ad.AnnData) -> None:
    cells.var_names = [f"ENSG{i:011d}" for i in range(cells.n_vars)]


def _other_names(cells: ad.AnnData) -> None:
    cells.var_names = [f"Xyz{i}" for i in range(cells.n_vars)]


def _same_names(cells: ad.AnnData) -> None:
    cells.obs_names = ["same"] * cells.n_obs


def _reserved(cells: ad.AnnData) -> None:
    cells.obs["x"] = np.where(np.arange(cells.n_obs) % 2, "a", "b")
    cells.obs["score"] = np.linspace(0, 1, cells.n_obs)


def _unique_label(cells: ad.AnnData) -> None:
    cells.obs["name"] = pd.Categorical([f"n{i}" for i in range(cells.n_obs)])


def _one_label(cells: ad.AnnData) -> None:
    cells.obs["one"] = pd.Categorical(["a"] * cells.n_obs)


BASE = ("--rep", "X_emb", "--gene-sets", "{sets}")
# name: (change to the good cells, arguments of `cellprism run`, words of the message)
CASES: dict[str, tuple[Change | None, tuple[str, ...], tuple[str, ...]]] = {
    "no embedding": (None, ("--gene-sets", "{sets}"), ("needs an embedding", "'X_emb'", "--rep")),
    "missing key": (None, ("--rep", "X_scVI"), ("must exist in obsm", "'X_scVI'", "'X_emb'")),
    "two embeddings": (None, (*BASE, "--embed", "pca"), ("one place", "--rep and --embed")),
    "unknown model": (None, ("--embed", "nothing", "--gene-sets", "{sets}"), ("must be one of", "pca")),
    "nan in embedding": (_nan, BASE, ("1 NaN", "'cell4'", "drop those cells")),
    "constant embedding": (_constant, BASE, ("must vary",)),
    "one cell": (lambda c: c._inplace_subset_obs([0]), BASE, ("at least two cells", "1")),
    "cells named twice": (_same_names, BASE, ("ell names must be unique", "'same'")),
    "embedding of other cells": (None, ("--embedding", "{other}", "--gene-sets", "{sets}"), ("60 of 60", "'cell0'")),
    "embedding of fewer cells": (None, ("--embedding", "{short}", "--gene-sets", "{sets}"), ("10 rows", "60 cells")),
    "embedding file missing": (None, ("--embedding", "no.npy"), ("must exist", "no.npy")),
    "embedding file truncated": (None, ("--embedding", "{broken}"), ("must be readable", "save it again")),
    "embedding of text": (None, ("--embedding", "{text}"), ("drop the other columns",)),
    "unknown state": (None, (*BASE, "--expression-state", "raw"), ("is one of counts", "'raw'")),
    "impossible state": (None, (*BASE, "--expression-state", "fractions"), ("add up to 1", "normalised")),
    "reserved label": (_reserved, (*BASE, "--labels", "x"), ("writes itself", "'x'", "rename")),
    "numbers as strata": (_reserved, (*BASE, "--strata", "score"), ("trata are categories", "'score'")),
    "both kinds": (
        None,
        (*BASE, "--labels", "cell_type:category", "--labels", "cell_type:number"),
        ("asked for as both",),
    ),
    "k over width": (None, (*BASE, "--width", "4", "--k", "9"), ("k=9, width=4", "lower k")),
    "k of nothing": (None, (*BASE, "--k", "0"), ("at least 1", "0")),
    "unknown activation": (None, (*BASE, "--activation", "step"), ("must be one of relu", "'step'")),
    "k with relu": (None, (*BASE, "--activation", "relu", "--k", "3"), ("does not apply",)),
    "negative expression": (_scaled, BASE, ("must not be negative", "scaled")),
    "nan in expression": (_nan_expression, BASE, ("must be finite", "1 NaN")),
    "no expression": (_zero_expression, BASE, ("zero everywhere",)),
    "missing layer": (None, (*BASE, "--layer", "counts"), ("layer must exist", "'counts'")),
    "missing raw": (None, (*BASE, "--raw"), ("needs an AnnData with .raw",)),
    "raw and layer": (None, (*BASE, "--raw", "--layer", "x"), ("one place",)),
    "missing symbols": (None, (*BASE, "--gene-symbols", "hgnc"), ("must exist in var", "'hgnc'", "'symbol'")),
    "missing label": (None, (*BASE, "--labels", "type"), ("must exist in obs", "'type'", "'cell_type'")),
    "label a cell": (_unique_label, (*BASE, "--labels", "name"), ("2 to 200 categories", "60 in 'name'")),
    "label of one": (_one_label, (*BASE, "--labels", "one"), ("2 to 200 categories", "1 in 'one'")),
    "missing strata": (None, (*BASE, "--strata", "patient"), ("must exist in obs", "'patient'")),
    "strata of one": (_one_label, (*BASE, "--strata", "one"), ("one level, 'a' in 'one'",)),
    "no overlap of genes": (_other_names, BASE, ("0 of", "Xyz0", "G0")),
    "ensembl ids": (_ensembl, BASE, ("Ensembl ids", "--gene-symbols")),
    "gene sets missing": (None, ("--rep", "X_emb", "--gene-sets", "no.gmt"), ("no.gmt",)),
    "gene sets malformed": (None, ("--rep", "X_emb", "--gene-sets", "{badgmt}"), ("bad.gmt",)),
    "predicted without model": (None, (*BASE, "--expression", "predicted"), ("decoder",)),
    "unknown expression": (
        None,
        (*BASE, "--expression", "guessed"),
        ("--expression must be of measured, predicted", "'guessed'"),
    ),
    "thin a given embedding": (None, (*BASE, "--thin"), ("only before they are embedded",)),
    "negative seed": (None, (*BASE, "--seed", "-1"), ("must be at least 0",)),
    "too many components": (None, ("--embed", "pca", "--components", "500", "--gene-sets", "{sets}"), ("500",)),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    cells = counts_adata()
    X = cells.obsm["X_emb"]
    write_gmt(type_sets(), folder / "sets.gmt")
    (folder / "bad.gmt").write_text("only a name\n")
    pd.DataFrame(X, index=[f"other{i}" for i in range(60)]).rename(columns=str).to_parquet(folder / "other.parquet")
    np.save(folder / "short.npy", X[:10])
    np.save(folder / "whole.npy", X)
    (folder / "broken.npy").write_bytes((folder / "whole.npy").read_bytes()[:200])
    pd.DataFrame({"z": [1.0], "batch": ["b"]}).to_csv(folder / "text.csv", index=False)
    return {
        "sets": folder / "sets.gmt",
        "badgmt": folder / "bad.gmt",
        "other": folder / "other.parquet",
        "short": folder / "short.npy",
        "broken": folder / "broken.npy",
        "text": folder / "text.csv",
    }


@pytest.mark.parametrize("case", CASES)
def test_run_refuses(
    case: str,
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    change, arguments, words = CASES[case]
    cells = counts_adata()
    if change is not None:
        change(cells)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    before = sorted(p.name for p in tmp_path.iterdir())
    filled = [a.format(**files) for a in arguments]
    result = call(capsys, "run", tmp_path / "cells.h5ad", *filled, "-o", tmp_path / "out")
    assert result.code == 2, result
    assert sum(line.startswith("Error:") for line in result.err.splitlines()) == 1
    assert "Traceback" not in result.err
    assert "Remedy:" in result.err
    for word in words:
        assert word in result.err, result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == before, "something was written"


def test_output_folders_with_content_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious.txt").write_text("data")
    counts_adata().write_h5ad(tmp_path / "cells.h5ad")
    for extra in ((), ("--overwrite",)):
        result = call(capsys, "run", tmp_path / "cells.h5ad", "--rep", "X_emb", "-o", tmp_path / "out", *extra)
        assert result.code == 2
        assert "must be new or empty" in result.err or "nothing else" in result.err
        assert (tmp_path / "out" / "precious.txt").read_text() == "data"
    (tmp_path / "file").write_text("x")
    result = call(capsys, "run", tmp_path / "cells.h5ad", "--rep", "X_emb", "-o", tmp_path / "file")
    assert result.code == 2
    assert "must be a folder" in result.err


OTHER_COMMANDS = {
    "report without a run": (("report", "{tmp}"), "run.json"),
    "fit of missing file": (("fit", "{tmp}/no.npy", "-o", "{tmp}/o"), "must exist"),
    "fit of cells without key": (("fit", "{tmp}/cells.h5ad", "-o", "{tmp}/o"), "needs --rep"),
    "fit with a broken config": (("fit", "{tmp}/x.npy", "--config", "{tmp}/bad.yaml", "-o", "{tmp}/o"), "readable"),
    "fit with an unknown field": (("fit", "{tmp}/x.npy", "--config", "{tmp}/odd.yaml", "-o", "{tmp}/o"), "'hidden'"),
    "encode without an SAE": (("encode", "{tmp}", "{tmp}/x.npy", "-o", "{tmp}/c.npz"), "config.json"),
    "encode to another suffix": (("encode", "{tmp}", "{tmp}/x.npy", "-o", "{tmp}/c.csv"), ".npz"),
    "match without runs": (("match", "{tmp}", "{tmp}", "-o", "{tmp}/m.csv"), "run.json"),
    "annotate broken codes": (("annotate", "{tmp}/bad.npz", "{tmp}/cells.h5ad", "-o", "{tmp}/o"), "save_npz"),
}


@pytest.mark.parametrize("case", OTHER_COMMANDS)
def test_other_commands_refuse(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, words = OTHER_COMMANDS[case]
    cells = counts_adata()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    np.save(tmp_path / "x.npy", cells.obsm["X_emb"])
    (tmp_path / "bad.yaml").write_text("width: [1")
    (tmp_path / "odd.yaml").write_text("width: 8\nhidden: 3\n")
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    result = call(capsys, *(a.format(tmp=tmp_path) for a in arguments))
    assert result.code == 2, result
    assert sum(line.startswith("Error:") for line in result.err.splitlines()) == 1
    assert words in result.err
