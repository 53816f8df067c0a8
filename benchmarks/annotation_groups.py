"""Rank tests of disjoint groups, each against all other cells, beside scanpy and illico: seconds and agreement.

Usage: python benchmarks/annotation_groups.py [--cells 20000] [--genes 4000] [--repeats 3] [-o RESULT.json]

Overlapping features share sums over cells, disjoint groups do not: this is the case in which `annotate`'s rank test gains
least. Each side ranks and tests all genes for all groups from log-normalised counts; seconds are medians, the sides in turn,
two threads where a side has them. The sides' z are held against each other where both have the same continuity correction.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from annotation_scale import simulate
from common import machine
from illico import asymptotic_wilcoxon

from cellprism.stats.contrast import active_contrast
from cellprism.stats.expression import prepare_expression
from cellprism.stats.genes import rank_sum


def ours(X: sp.csr_array, group: np.ndarray, n: int) -> np.ndarray:
    """(groups, genes) z, with preparation."""
    codes = sp.csc_array((np.ones(group.size, dtype=np.float32), (np.arange(group.size), group)), (group.size, n))
    ranked = prepare_expression(X)
    return rank_sum(ranked, active_contrast(codes, ranked.strata, ranked.sizes)).z


def by_scanpy(X: sp.csr_array, group: np.ndarray, n: int) -> np.ndarray:
    """The same by scanpy, tie-corrected; it has no continuity correction."""
    cells = ad.AnnData(
        sp.csr_matrix(X),
        obs=pd.DataFrame({"group": pd.Categorical(group.astype(str))}, index=map(str, range(group.size))),
    )
    cells.uns["log1p"] = {"base": None}
    sc.tl.rank_genes_groups(cells, "group", method="wilcoxon", tie_correct=True)
    found = cells.uns["rank_genes_groups"]
    out = np.empty((n, X.shape[1]))
    for g in range(n):
        out[g, found["names"][str(g)].astype(int)] = found["scores"][str(g)]
    return out


def by_illico(X: sp.csr_array, group: np.ndarray, n: int) -> np.ndarray:
    """The same by illico, with its continuity correction."""
    cells = ad.AnnData(
        sp.csr_matrix(X), obs=pd.DataFrame({"group": group.astype(str)}, index=map(str, range(group.size)))
    )
    found = asymptotic_wilcoxon(cells, is_log1p=True, group_keys="group", n_threads=2)
    wide = found["z-score" if "z-score" in found else "z_score"].unstack()
    return wide.loc[[str(g) for g in range(n)], cells.var_names].to_numpy()


SIDES = {"cellprism": ours, "illico": by_illico, "scanpy": by_scanpy}


def main() -> None:
    """Time all sides for each number of groups, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--genes", type=int, default=4_000)
    parser.add_argument("--groups", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    X, _ = simulate(args.cells, args.genes)
    X.sort_indices()
    rng = np.random.default_rng(0)
    rows = []
    for n in args.groups:
        group = rng.permutation(np.arange(args.cells) % n)
        z = {name: side(X, group, n) for name, side in SIDES.items()}  # compiles
        seconds: dict[str, list[float]] = {name: [] for name in SIDES}
        for _ in range(args.repeats):
            for name, side in SIDES.items():
                start = time.perf_counter()
                side(X, group, n)
                seconds[name].append(time.perf_counter() - start)
        median = {name: float(np.median(s)) for name, s in seconds.items()}
        rows.append(
            {
                "groups": n,
                "seconds": {name: round(s, 3) for name, s in median.items()},
                "times_cellprism": {name: round(s / median["cellprism"], 2) for name, s in median.items()},
                "largest_difference_of_z": {
                    name: float(np.nanmax(np.abs(np.abs(z[name]) - np.abs(z["cellprism"]))))
                    for name in ("illico", "scanpy")
                },
            }
        )
        print(rows[-1], flush=True)
        result = {
            "machine": machine(), "cells": args.cells, "genes": args.genes, "stored": int(X.nnz), "rows": rows,
            "versions": {name: version(name) for name in ("scanpy", "illico")},
        }  # fmt: skip
        if args.out:
            args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
