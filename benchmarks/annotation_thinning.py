"""What testing one half of the molecules costs in power, on groups of cells that no gene defined.

Usage: python benchmarks/annotation_thinning.py CELLS.h5ad [CELLS.h5ad ...] [--halvings 20] [-o RESULT.json]

The files hold RNA counts in X and surface proteins in ``obsm["protein_expression"]``. A "feature" is active in the third
of the cells of a file with the most of one protein, so both the whole counts and a half of them can be tested without
double dipping: what differs between the two is power alone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp

from cellprism.data.state import to_log1p
from cellprism.data.thin import thin
from cellprism.features.annotate import annotate


def protein_groups(files: list[str]) -> tuple[sp.csr_array, sp.csr_array, np.ndarray, list[str]]:
    """Counts of shared genes, codes of the protein groups, the file of each cell, gene names."""
    cells = [anndata.read_h5ad(file) for file in files]
    genes = sorted(set.intersection(*(set(a.var_names) for a in cells)))
    counts = sp.csr_array(sp.vstack([sp.csr_matrix(a[:, genes].X) for a in cells]), dtype=np.float32)
    batch = np.repeat(np.arange(len(cells)), [a.n_obs for a in cells])
    names = [list(map(str, a.uns["protein_names"])) for a in cells]
    proteins = sorted(set.intersection(*map(set, names)))
    shares = []
    for a, columns in zip(cells, names, strict=True):
        protein = np.asarray(a.obsm["protein_expression"], dtype=np.float64)[:, [columns.index(p) for p in proteins]]
        shares.append(protein > np.quantile(protein, 2 / 3, axis=0))
    return counts, sp.csr_array(np.concatenate(shares).astype(np.float32)), batch, genes


def statistics(counts: sp.csr_array, codes: sp.csr_array, batch: np.ndarray, genes: list[str]) -> tuple:
    depth = np.asarray(counts.sum(axis=1)).ravel()
    found = annotate(
        codes,
        to_log1p(counts, "counts"),
        genes,
        strata=batch.astype(str),
        donor=None,
        depth=depth,
        keep="all",
        nulls=(),
    )
    table = found.genes
    return (
        table.pivot(index="feature", columns="gene", values="statistic").to_numpy(),
        table.pivot(index="feature", columns="gene", values="qval").to_numpy() < 0.05,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="+")
    parser.add_argument("--halvings", type=int, default=20)
    parser.add_argument("-o", "--out")
    args = parser.parse_args()
    counts, codes, batch, genes = protein_groups(args.data)
    often = np.asarray((counts > 0).sum(axis=0)).ravel() >= 10
    counts, genes = sp.csr_array(counts[:, np.flatnonzero(often)]), [g for g, o in zip(genes, often, strict=True) if o]
    z, passes = statistics(counts, codes, batch, genes)
    clear = np.abs(z) > 5
    rows = []
    for seed in range(args.halvings):
        half_z, half_passes = statistics(thin(counts, seed=seed)[1], codes, batch, genes)
        rows.append(
            {
                "z_ratio": float(np.nanmedian(half_z[clear] / z[clear])),
                "kept": float((half_passes & passes).sum() / passes.sum()),
                "found": float(half_passes.sum() / passes.sum()),
            }
        )
    result = {
        "cells": counts.shape[0],
        "genes": counts.shape[1],
        "groups": codes.shape[1],
        "gene_pairs_found_on_all_molecules": int(passes.sum()),
        "groups_with_a_gene": int(passes.any(axis=1).sum()),
        "pairs_above_z_5": int(clear.sum()),
        **{name: float(np.median([r[name] for r in rows])) for name in rows[0]},
        "spread": {name: [float(f([r[name] for r in rows])) for f in (min, max)] for name in rows[0]},
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
