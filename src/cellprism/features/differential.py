"""Features that differ between two conditions: over cells, or over donors where there are donors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy import stats

from cellprism.errors import InputError
from cellprism.stats.contrast import check_codes
from cellprism.stats.fdr import benjamini_hochberg, two_sided_log_p
from cellprism.stats.labels import category_detectors
from cellprism.stats.moderate import fit_prior, t_to_z

__all__ = ["Differential", "differential"]

_POWER = 0.8
_FEWEST = 2


@dataclass(frozen=True)
class Differential:
    """Differences of every feature between two conditions.

    Attributes
    ----------
    table
        A row a live feature: ``feature``; ``fraction_a``, ``fraction_b`` (share of active cells), ``mean_a``,
        ``mean_b`` (activation, zeros included); ``difference`` of means (b less a), ``log2_ratio`` of means,
        ``effect`` (rank-biserial correlation over cells; standardised difference over donors); ``statistic`` (signed
        z), ``pval``, ``qval`` of the activation; ``statistic_fraction``, ``pval_fraction``, ``qval_fraction`` of the
        active share; ``detectable``, the smallest difference of means found with 80 % power at p = 0.05. Both q values
        are over all features and both questions.
    info
        Conditions, unit, design, numbers of cells and donors, and ``power`` in words.
    """

    table: pd.DataFrame
    info: dict[str, Any]


def differential(
    codes: sp.sparray | np.ndarray,
    condition: np.ndarray,
    donor: np.ndarray | None = None,
    *,
    within: np.ndarray | None = None,
    conditions: tuple[str, str] | None = None,
) -> Differential:
    """Compare features between two conditions.

    Parameters
    ----------
    codes
        (cells, features) non-negative activations.
    condition
        (cells,) condition of each cell; missing values leave a cell out.
    donor
        (cells,) the independent unit. With it the test is over donors: paired where donors have cells in both
        conditions, else of two groups; moderated over features (Smyth, 2004). Without it cells count as independent
        and q values hold for these cells only, not for new donors.
    within
        (cells,) True for the cells to compare (one cell type, say).
    conditions
        The two values of ``condition`` to compare, the reference first; needed when there are more than two.

    Notes
    -----
    Over cells the activation is compared by the rank-sum test and the active share by its normal test with pooled
    variance. Over donors the donor's mean activation and the arcsine of the root of its active share are compared.

    Raises
    ------
    InputError
        When there are not two conditions, or fewer than two donors in one of them.
    """
    condition = _labels(condition, "condition", int(np.shape(codes)[0]))
    chosen = condition != ""
    if within is not None:
        chosen &= np.asarray(within, dtype=bool)
    names = conditions or tuple(np.unique(condition[chosen]).tolist())
    if len(names) != 2 or not set(names) <= set(condition[chosen].tolist()):
        raise InputError(
            "two conditions are compared",
            f"{len(names)} ({', '.join(map(str, names[:5]))}) among {int(chosen.sum())} cells",
            "name the two (`conditions=`), each with cells",
        )
    chosen &= np.isin(condition, names)
    columns = check_codes(codes)[np.flatnonzero(chosen)].tocsc()
    second = condition[chosen] == names[1]
    live = np.flatnonzero(np.diff(columns.indptr) > 0)
    columns = sp.csc_array(columns[:, live])
    table = _describe(columns, second, live)
    if donor is None:
        tests, info = _over_cells(columns, second)
    else:
        tests, info = _over_donors(columns, second, _labels(donor, "donor", chosen.size)[chosen])
    table = table.assign(**tests)
    both = benjamini_hochberg(np.stack([table["pval"], table["pval_fraction"]]))
    table["qval"], table["qval_fraction"] = both
    order = [
        "feature", "fraction_a", "fraction_b", "mean_a", "mean_b", "difference", "log2_ratio", "effect", "statistic",
        "pval", "qval", "statistic_fraction", "pval_fraction", "qval_fraction", "detectable",
    ]  # fmt: skip
    info |= {"a": str(names[0]), "b": str(names[1]), "cells_a": int((~second).sum()), "cells_b": int(second.sum())}
    return Differential(table[order], info)


def _labels(values: np.ndarray, name: str, n_cells: int) -> np.ndarray:
    raw = np.asarray(values, dtype=object)
    if raw.shape != (n_cells,):
        raise InputError(f"{name} must have one value a cell", f"shape {raw.shape} for {n_cells} cells", "give all")
    return np.array(["" if v is None or v != v else str(v) for v in raw])


def _describe(columns: sp.csc_array, second: np.ndarray, live: np.ndarray) -> pd.DataFrame:
    active = columns.copy()
    active.data = np.ones(active.nnz)
    out: dict[str, np.ndarray] = {"feature": live.astype(np.int32)}
    for side, cells in (("a", ~second), ("b", second)):
        out[f"fraction_{side}"] = (active.T @ cells) / cells.sum()
        out[f"mean_{side}"] = (columns.T @ cells.astype(np.float64)) / cells.sum()
    table = pd.DataFrame(out)
    table["difference"] = table["mean_b"] - table["mean_a"]
    # a floor of one typical activation in the smaller condition keeps the ratio of rare features finite
    floor = columns.sum(axis=0) / np.maximum(np.diff(columns.indptr), 1) / min(second.sum(), (~second).sum())
    table["log2_ratio"] = np.log2((table["mean_b"] + floor) / (table["mean_a"] + floor))
    return table


def _over_cells(columns: sp.csc_array, second: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    n1, n2 = int((~second).sum()), int(second.sum())
    found = category_detectors(columns, np.where(second, "b", "a"))
    if found.categories.size < 2:
        raise InputError("each condition needs two cells", f"{n1} and {n2}", "compare larger groups")
    z = found.z[:, 1]
    active = columns.copy()
    active.data = np.ones(active.nnz)
    p2, p1 = (active.T @ second) / n2, (active.T @ ~second) / n1
    pooled = (p1 * n1 + p2 * n2) / (n1 + n2)
    se = np.sqrt(pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2))
    z_fraction = np.where(se > 0, (p2 - p1) / np.where(se > 0, se, 1.0), 0.0)
    square = columns.copy()
    square.data = square.data.astype(np.float64) ** 2
    n = n1 + n2
    variance = square.sum(axis=0) / n - (columns.sum(axis=0) / n) ** 2
    step = stats.norm.ppf(0.975) + stats.norm.ppf(_POWER)
    detectable = step * np.sqrt(np.maximum(variance, 0.0) * (1.0 / n1 + 1.0 / n2))
    tests = _columns(2.0 * found.auroc[:, 1] - 1.0, z, z_fraction, detectable)
    scale = step * np.sqrt(1.0 / n1 + 1.0 / n2)
    power = (
        f"With {n1} and {n2} cells taken as independent, differences of {scale:.2f} standard deviations over cells are "
        "found with 80 % power at p = 0.05. Nothing is said about donors: give them where there are any."
    )
    return tests, {"unit": "cell", "design": "two groups", "power": power}


def _over_donors(
    columns: sp.csc_array, second: np.ndarray, donor: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    if (donor == "").any():
        raise InputError("every compared cell needs a donor", f"{int((donor == '').sum())} without", "leave them out")
    names, number = np.unique(donor, return_inverse=True)
    counts = np.stack([np.bincount(number[side], minlength=names.size) for side in (~second, second)])
    active = columns.copy()
    active.data = np.ones(active.nnz)
    means, shares = [], []
    for side, n in zip((~second, second), counts, strict=True):
        rows = np.flatnonzero(side)
        member = sp.csr_array((1.0 / n[number[rows]], (number[rows], rows)), (names.size, second.size))
        means.append((member @ columns).toarray())
        shares.append(np.arcsin(np.sqrt(np.clip((member @ active).toarray(), 0.0, 1.0))))
    paired: np.ndarray = np.all(counts > 0, axis=0)
    groups: list[np.ndarray]
    if paired.sum() >= _FEWEST and paired.sum() >= 0.5 * names.size:
        design, groups = "paired", [paired]
    else:
        design, groups = "two groups", [(counts[0] > 0) & ~paired, (counts[1] > 0) & ~paired]
        if min(g.sum() for g in groups) < _FEWEST:
            raise InputError(
                "a test over donors needs two donors in each condition, or two with cells in both",
                f"{int(groups[0].sum())} and {int(groups[1].sum())} donors, {int(paired.sum())} in both",
                "leave `donor` out and read the result as about these cells only",
            )
    t_mean, df, sd, scale = _moderated(means, groups)
    t_share, df_share, _, _ = _moderated(shares, groups)
    step = float(stats.t.ppf(0.975, df) + stats.t.ppf(_POWER, df))
    difference = t_mean * sd * scale
    tests = _columns(
        np.where(sd > 0, difference / np.where(sd > 0, sd, 1.0), 0.0),
        t_to_z(t_mean, df),
        t_to_z(t_share, df_share),
        step * sd * scale,
    )
    sizes = " and ".join(str(int(g.sum())) for g in groups)
    power = (
        f"With {sizes} donors ({design}), differences of {step * scale:.2f} standard deviations over donors are found "
        f"with 80 % power at p = 0.05; smaller ones are likely to be missed."
    )
    donors = [int(g.sum()) for g in groups]
    return tests, {"unit": "donor", "design": design, "donors": donors, "prior_df": round(df, 2), "power": power}


def _moderated(values: list[np.ndarray], groups: list[np.ndarray]) -> tuple[np.ndarray, float, np.ndarray, float]:
    """Moderated t of second less first, its degrees of freedom, posterior SD, and the SD of a difference of means."""
    if len(groups) == 1:
        samples = [values[1][groups[0]] - values[0][groups[0]]]
        difference = samples[0].mean(axis=0)
    else:
        samples = [values[0][groups[0]], values[1][groups[1]]]
        difference = samples[1].mean(axis=0) - samples[0].mean(axis=0)
    df = float(sum(s.shape[0] - 1 for s in samples))
    scale = float(np.sqrt(sum(1.0 / s.shape[0] for s in samples)))
    variance = np.sum([((s - s.mean(axis=0)) ** 2).sum(axis=0) for s in samples], axis=0) / df
    # activations differ in scale by orders of magnitude: what features share is the variance relative to their mean
    level = np.mean([v[g].mean(axis=0) for v, g in zip(values, groups * (3 - len(groups)), strict=True)], axis=0)
    unit = np.where(level > 0, level, 1.0) ** 2
    posterior, total = fit_prior(variance / unit, df).squeeze(variance / unit, df)
    sd = np.sqrt(posterior * unit)
    t = np.where(sd > 0, difference / np.where(sd > 0, sd * scale, 1.0), 0.0)
    return t, total, sd, scale


def _columns(
    effect: np.ndarray, z: np.ndarray, z_fraction: np.ndarray, detectable: np.ndarray
) -> dict[str, np.ndarray]:
    return {
        "effect": effect,
        "statistic": z,
        "pval": np.exp(two_sided_log_p(z)),
        "statistic_fraction": z_fraction,
        "pval_fraction": np.exp(two_sided_log_p(z_fraction)),
        "detectable": detectable,
    }
