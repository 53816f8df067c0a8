"""Figures of a small job, kept: ``python tests/golden/figures.py "what changed, as CHANGELOG.md says it"`` writes them anew."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from helpers import counts_adata, type_sets

import cellprism as prism
from cellprism.genesets import write_gmt
from cellprism.run import RunOptions, run

FILE = Path(__file__).with_name("figures.json")
BEHIND = ("numpy", "scipy", "pandas", "scikit-learn", "torch", "numba")
"""Packages whose version may move the last digits, and with them what lies at a threshold."""


def versions() -> dict[str, str]:
    """Of the packages behind the figures."""
    return {name: version(name).partition("+")[0] for name in BEHIND}


def figures(folder: Path) -> dict[str, float]:
    """What a run, a training and a differential test print of made cells, by name."""
    cells = counts_adata(240, 40, seed=7)
    cells.write_h5ad(folder / "cells.h5ad")
    write_gmt(type_sets(40), folder / "sets.gmt")
    options = RunOptions(
        data=folder / "cells.h5ad", output=folder / "run", rep="X_emb", gene_sets=(str(folder / "sets.gmt"),),
        labels=("cell_type",), seeds=2,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = run(options)
        trained = prism.fit(cells.obsm["X_emb"], prism.SAEConfig(16, "batchtopk", k=3), epochs=20)
    found: dict[str, Any] = {f"run {k}": v for k, v in made.info["metrics"].items()}
    for share in made.info["shares"]:
        found[share["claim"]] = share["observed"]
        found |= {f"{share['claim']}, {null}": value for null, value in share["nulls"].items()}
    for name in ("features", "genes", "sets", "labels"):
        means = getattr(made, name).select_dtypes("number").mean()
        found |= {f"mean {column} of {name}": value for column, value in means.items() if column != "feature"}
    found |= {f"training {k}": v for k, v in trained.metrics.items()}
    return {name: float(f"{float(value):.6g}") for name, value in found.items() if value is not None and value == value}


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        kept = {"declared": sys.argv[1], "versions": versions(), "figures": figures(Path(scratch))}
    FILE.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
