"""How far raw p values are from uniform where nothing is there, and why.

Usage: python benchmarks/annotation_uniformity.py [-o RESULT.json]

Two simulations without an effect. *Modules*: ten groups of twenty genes driven by one factor each, of growing strength;
sets of fifteen genes of a module; features active in random cells. *Contrasts*: independent genes, with and without a
shift that all genes of a stratum share.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy import stats

from cellprism.stats.background import match_background
from cellprism.stats.contrast import active_contrast, check_codes, paper_contrast
from cellprism.stats.enrichment import feature_correlation, rank_enrichment, set_correlation
from cellprism.stats.expression import prepare_expression
from cellprism.stats.fdr import two_sided_log_p
from cellprism.stats.genes import rank_sum, welch
from cellprism.stats.setindex import index_sets

N_GENES = 400


def describe(pval: np.ndarray) -> dict[str, float]:
    return {
        "distance from uniform": float(stats.kstest(pval.ravel(), "uniform").statistic),
        "p < 0.05": float((pval < 0.05).mean()),
        "p < 0.001": float((pval < 0.001).mean()),
    }


def modules(strength: float, n_cells: int, n_features: int, seed: int) -> dict[str, float]:
    """The rank test of sets whose genes are correlated."""
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.normal(-0.5, 0.8, N_GENES) + rng.normal(0.0, 0.4, (n_cells, 1)))
    for m in range(10):
        rate[:, 20 * m : 20 * m + 20] *= np.exp(strength * rng.normal(size=(n_cells, 1)))
    expression = prepare_expression(np.log1p(rng.poisson(rate)))
    genes = [f"G{i}" for i in range(N_GENES)]
    sets = index_sets(
        {f"S{m}": genes[20 * m : 20 * m + 15] for m in range(10)}, genes, np.ones(N_GENES), (2, N_GENES), 0.0
    )
    n_active = n_cells * 12 // 100
    rows = np.concatenate([rng.choice(n_cells, n_active, replace=False) for _ in range(n_features)])
    ptr = np.arange(n_features + 1) * n_active
    codes = check_codes(sp.csc_array((np.ones(rows.size), rows, ptr), (n_cells, n_features)))
    contrast = active_contrast(codes, expression.strata, expression.sizes)
    z = rank_sum(expression, contrast).calibrated.astype(np.float64)
    background = match_background(sets, expression.linear_total[sets.genes])
    rho = feature_correlation(z, set_correlation(expression, sets, rng), sets, background)
    found = rank_enrichment(z, rho, sets, background).z
    return {
        "correlation": float(rho.mean()),
        "kurtosis of z": float(stats.kurtosis(found.ravel())),
        **describe(2 * stats.norm.sf(np.abs(found))),
    }


def contrasts(shift: float, seed: int) -> dict[str, dict[str, float]]:
    """Welch's test over active cells and over the published contrast."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(3.0, 1.0, 150) * np.exp(shift * np.repeat([0, 1, 2], 200)[:, None])
    expression = prepare_expression(np.log1p(rng.poisson(rate)))
    codes = check_codes(sp.csc_array(rng.gamma(1.0, 1.0, (600, 30)) * (rng.random((600, 30)) < 0.2)))
    sides = {
        "active": active_contrast(codes, expression.strata, expression.sizes),
        "paper": paper_contrast(codes, expression.strata, expression.sizes, min_cells=5, percentile=90.0),
    }
    return {name: describe(np.exp(two_sided_log_p(welch(expression, side).z))) for name, side in sides.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out")
    args = parser.parse_args()
    result = {
        "modules": [
            {"strength": strength, "cells": n_cells, "features": 1_500, **modules(strength, n_cells, 1_500, 0)}
            for strength, n_cells in ((0.15, 500), (0.3, 500), (0.6, 500), (0.6, 2_000))
        ],
        "contrasts": {
            name: [contrasts(shift, seed) for seed in range(4)]
            for name, shift in (("shared shift of strata", 0.5), ("independent genes", 0.0))
        },
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
