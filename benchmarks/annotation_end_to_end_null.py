"""Cells of one type through the whole of `cellprism run`: how many features get a name that they should not have.

Usage: python benchmarks/annotation_end_to_end_null.py [-o RESULT.json] [--repeats 20] [--cells N] [--genes N]

Counts are Poisson with gene-wise means (gamma) and a depth for each cell (log-normal, SD 0.4): one type of cell, no
biology. `run --embed pca` splits the counts, makes components of one half, trains a sparse autoencoder on them, and tests
its features on the other half with depth as a covariate. With --same-counts nothing is split.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.genesets import write_gmt
from cellprism.run import RunOptions, run


def one_type(n_cells: int, n_genes: int, seed: int) -> anndata.AnnData:
    """Poisson counts of one type of cell with varying depth."""
    rng = np.random.default_rng(seed)
    depth = rng.lognormal(0.0, 0.4, (n_cells, 1))
    counts = rng.poisson(rng.gamma(1.0, 1.0, n_genes) * depth).astype(np.float32)
    cells = anndata.AnnData(
        sp.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)]),
        var=pd.DataFrame(index=[f"G{i}" for i in range(n_genes)]),
    )
    cells.obsm["X_umap"] = rng.normal(size=(n_cells, 2))  # where cells are drawn does not matter here
    return cells


def named_share(n_cells: int, n_genes: int, seed: int, *, thin: bool = True, **options: object) -> dict[str, float]:
    """Shares of a run's features that carry a gene, a set, or a name."""
    rng = np.random.default_rng(10_000 + seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        cells = one_type(n_cells, n_genes, seed)
        cells.write_h5ad(place / "cells.h5ad")
        genes = list(cells.var_names)
        write_gmt({f"S{i}": list(rng.choice(genes, 20, replace=False)) for i in range(100)}, place / "sets.gmt")
        done = run(
            RunOptions(
                data=place / "cells.h5ad", output=place / "out", embed="pca", thin=thin, seed=seed, preset="demo",
                gene_sets=(str(place / "sets.gmt"),), **options,
            )
        )  # fmt: skip
        shares = {record["claim"]: record["observed"] for record in done.info["shares"]}
        names = done.features["name"]
        named = ~names.str.contains("no evidence", regex=False) & ~names.str.startswith("not testable")
        return {
            "features": float(len(names)),
            "named": float(named.mean()),
            "with a gene": shares["features with a gene at q < 0.05"],
            "with a set": shares["features with a set at q < 0.05"],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--cells", type=int, default=1_500)
    parser.add_argument("--genes", type=int, default=1_000)
    parser.add_argument("--same-counts", action="store_true")
    args = parser.parse_args()
    rows = []
    for seed in range(args.repeats):
        rows.append(named_share(args.cells, args.genes, seed, thin=not args.same_counts, seeds=1))
        print(seed, rows[-1], flush=True)
    table = pd.DataFrame(rows)
    result = {
        "cells": args.cells, "genes": args.genes, "repeats": args.repeats, "counts split": not args.same_counts,
        "mean": table.mean().to_dict(), "largest": table.max().to_dict(), "runs": rows,
    }  # fmt: skip
    text = json.dumps(result, indent=2)
    print(json.dumps(result["mean"]))
    if args.out:
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
