"""Level and power of the tests over donors, from easy to hard settings.

Usage: python benchmarks/annotation_donors.py [-o RESULT.json] [--repeats N]

*Genes of a feature*: Poisson counts with donor intercepts (SD 0.5, natural log) and a slope of each feature, donor and gene:
the first ten of 150 genes have a mean slope, all have donor-wise deviations from it. *Features between conditions*: codes
whose level varies by donor (SD 0.5), the first twenty of 200 features with a shift in the second condition.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from cellprism.features.differential import differential
from cellprism.stats.contrast import active_contrast, check_codes
from cellprism.stats.expression import prepare_expression
from cellprism.stats.fdr import benjamini_hochberg, two_sided_log_p
from cellprism.stats.genes import rank_sum
from cellprism.stats.pseudobulk import donors_of_strata, paired_pseudobulk

N_GENES, N_FEATURES, PER_DONOR = 150, 6, 150


def genes_of_features(n_donors: int, effect: float, slope_sd: float, seed: int) -> dict[str, dict[str, float]]:
    """Shares of tests at p < 0.05 (genes with and without a mean slope) and at q < 0.05, by test."""
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors), PER_DONOR)
    rate = rng.gamma(2.0, 0.5, N_GENES) * np.exp(rng.normal(0.0, 0.5, (n_donors, N_GENES))[donor])
    slope = rng.normal(0.0, slope_sd, (N_FEATURES, n_donors, N_GENES))
    slope[:, :, :10] += effect
    found: dict[str, list[np.ndarray]] = {"over cells": [], "van Elteren": [], "over donors": []}
    for f in range(N_FEATURES):
        active = rng.random((donor.size, 1)) < 0.25
        log = np.log1p(rng.poisson(rate * np.exp(active * slope[f][donor])))
        codes = check_codes(sp.csc_array(active.astype(float)))
        for name, strata in (("over cells", None), ("van Elteren", donor), ("over donors", donor)):
            expression = prepare_expression(log, strata)
            contrast = active_contrast(codes, expression.strata, expression.sizes)
            if name == "over donors":
                unit = donors_of_strata(expression.strata, donor, n_donors)
                z = paired_pseudobulk(expression, contrast, unit)[0].calibrated
            else:
                z = rank_sum(expression, contrast).z
            found[name].append(np.exp(two_sided_log_p(z[0])))
    out = {}
    for name, values in found.items():
        p = np.array(values)
        out[name] = {
            "power at p < 0.05": float((p[:, :10] < 0.05).mean()),
            "level at p < 0.05": float((p[:, 10:] < 0.05).mean()),
            "power at q < 0.05": float((benjamini_hochberg(p)[:, :10] < 0.05).mean()),
        }
    return out


def features_between_conditions(n_donors: int, effect: float, paired: bool, seed: int) -> dict[str, dict[str, float]]:
    """The same for features that differ between two conditions, over cells and over donors."""
    rng = np.random.default_rng(seed)
    donor = np.repeat(np.arange(n_donors), 200)
    second = np.tile([False, True], donor.size // 2) if paired else donor % 2 == 1
    level = rng.lognormal(0.0, 0.5, (n_donors, 200))[donor]
    level = level * np.exp(effect * second[:, None] * (np.arange(200) < 20))
    codes = rng.gamma(2.0, 1.0, level.shape) * level * (rng.random(level.shape) < 0.4)
    out = {}
    for name, unit in (("over cells", None), ("over donors", donor)):
        table = differential(codes, np.where(second, "b", "a"), unit).table
        out[name] = {
            "power at p < 0.05": float((table["pval"][:20] < 0.05).mean()),
            "level at p < 0.05": float((table["pval"][20:] < 0.05).mean()),
            "power at q < 0.05": float((table["qval"][:20] < 0.05).mean()),
        }
    return out


def mean(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        test: {key: round(float(np.mean([run[test][key] for run in runs])), 3) for key in runs[0][test]}
        for test in runs[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    result: dict[str, list[dict[str, object]]] = {"genes of a feature": [], "features between conditions": []}
    for n_donors, effect, slope_sd in (
        (6, 0.0, 0.5), (6, 1.2, 0.3), (6, 0.5, 0.3), (6, 0.5, 0.5), (3, 0.5, 0.5), (3, 1.2, 0.3), (12, 0.5, 0.5)
    ):  # fmt: skip
        runs = [genes_of_features(n_donors, effect, slope_sd, seed) for seed in range(args.repeats)]
        row = {"donors": n_donors, "mean slope": effect, "SD of slopes": slope_sd, **mean(runs)}
        result["genes of a feature"].append(row)
        print(row, flush=True)
    for n_donors, effect, paired in (
        (8, 0.0, False), (8, 0.8, False), (8, 0.4, False), (24, 0.4, False), (8, 0.8, True), (8, 0.2, True), (4, 0.2, True)
    ):  # fmt: skip
        runs = [features_between_conditions(n_donors, effect, paired, seed) for seed in range(args.repeats)]
        row = {"donors": n_donors, "shift": effect, "paired": paired, **mean(runs)}
        result["features between conditions"].append(row)
        print(row, flush=True)
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
