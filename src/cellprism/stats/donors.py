"""Donors that have unequally many cells: weights by precision, and the moderated t test of two conditions.

A donor's mean of n cells varies as tau^2 + s^2 / n: between donors, and by the sampling of its cells. With the intraclass
correlation rho = tau^2 / (tau^2 + s^2) its precision is proportional to 1 / (rho + (1 - rho) / n), so a donor of 3 cells
cannot outvote one of 300. As limma does for replicates within blocks (Smyth, Michaud and Scott 2005, Bioinformatics
21:2067), rho is the consensus of all features (the trimmed mean of Fisher's z of their own estimates), since a handful of
donors does not tell it for one feature. A feature that varies *more* between donors than the consensus keeps its own
estimate: weights that are too even cost power, too uneven ones cost the level of the test. Where thousands
of tests are corrected for together, so that the far tail counts, ``doubt`` makes the weights more even. Variances are then moderated over
features (Smyth 2004).

The rule holds wherever donors are the unit: features between conditions (:mod:`cellprism.features.differential`) and genes
of a feature (:mod:`cellprism.stats.pseudobulk`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

from cellprism.stats.moderate import fit_prior

__all__ = [
    "DonorTest", "Weighed", "intraclass_correlation", "precision_weights", "weigh_donors", "weighted_moderated_t"
]  # fmt: skip

_TRIM = 0.15
_LARGEST = 0.99


class DonorTest(NamedTuple):
    """Of every feature, arrays (features,)."""

    mean_a: np.ndarray
    """Weighted mean over the donors of the first condition."""
    mean_b: np.ndarray
    t: np.ndarray
    """Moderated t of ``mean_b - mean_a``."""
    df: float
    """Its degrees of freedom."""
    sd: np.ndarray
    """Posterior standard deviation over donors of mean precision."""
    error: np.ndarray
    """Standard error of ``mean_b - mean_a``."""
    correlation: float
    """Consensus intraclass correlation of the cells of a donor."""


def intraclass_correlation(
    values: list[np.ndarray], cells: list[np.ndarray], within: np.ndarray
) -> tuple[np.ndarray, float]:
    """Intraclass correlation of the cells of a donor, by analysis of variance, and its consensus over features.

    Parameters
    ----------
    values
        A group of donors each: (donors, features) means of their cells.
    cells
        The same: (donors,) cells of each mean.
    within
        (features,) variance of cells within donors.

    Returns
    -------
    own
        (features,) estimate of each, between 0 and 0.99; NaN where nothing varies.
    consensus
        Trimmed mean on Fisher's scale, at least 0.
    """
    squares = np.zeros(within.shape)
    df, size = 0.0, 0.0
    for x, n in zip(values, cells, strict=True):
        squares += (n[:, None] * (x - np.average(x, axis=0, weights=n)) ** 2).sum(axis=0)
        df += len(n) - 1
        size += n.sum() - (n**2).sum() / n.sum()
    between = (squares - df * within) / size
    total = between + within
    own = np.divide(between, total, out=np.full(within.shape, np.nan), where=total > 0)
    known = np.clip(own[np.isfinite(own)], -_LARGEST, _LARGEST)
    consensus = float(np.tanh(stats.trim_mean(np.arctanh(known), _TRIM))) if known.size else 0.0
    return np.clip(own, 0.0, _LARGEST), max(consensus, 0.0)


def precision_weights(cells: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """(donors, features) precision of donors' means, in proportion: 1 / (rho + (1 - rho) / n)."""
    out: np.ndarray = 1.0 / (correlation + (1.0 - correlation) / cells[:, None])
    return out


def _standard_error(sizes: list[np.ndarray], df: float, correlation: float) -> float:
    """Standard error of one feature's intraclass correlation where donors do not differ (Fisher 1925, 1 / mean size)."""
    size = sum(n.sum() - (n**2).sum() / n.sum() for n in sizes) / df
    return float((1.0 - correlation) * np.sqrt(2.0 / df) / size)


class Weighed(NamedTuple):
    """Groups of donors, each mean weighted by its precision."""

    weights: list[np.ndarray]
    """A group each: (donors, features), of mean 1 over all donors."""
    variance: np.ndarray
    """(features,) variance over donors of mean precision, about the weighted mean of each group."""
    df: float
    """Its degrees of freedom."""
    correlation: float
    """Consensus intraclass correlation of the cells of a donor."""


def weigh_donors(samples: list[np.ndarray], sizes: list[np.ndarray], within: np.ndarray, doubt: float = 0.0) -> Weighed:
    """Weigh donors by what their number of cells, and the variance between donors, make of their precision.

    Parameters
    ----------
    samples
        A group of donors each: (donors, features) means of their cells, or differences of means.
    sizes
        The same: (donors,) cells of each mean; of a difference the ``n`` of which it varies as ``1 / n``.
    within
        (features,) variance of cells within donors.
    doubt
        Standard errors by which a feature's correlation may lie above the consensus unseen: more of it makes weights more
        even, and the far tail of the test safe where features differ in their variance between donors.
    """
    own, consensus = intraclass_correlation(samples, sizes, within)
    df = float(sum(len(s) - 1 for s in samples))
    least = consensus + doubt * _standard_error(sizes, df, consensus)
    weights = [precision_weights(n, np.fmax(own, least)) for n in sizes]
    typical = np.concatenate(weights).mean(axis=0)
    weights = [w / typical for w in weights]
    residual = sum(
        (w * (s - (w * s).sum(axis=0) / w.sum(axis=0)) ** 2).sum(axis=0) for s, w in zip(samples, weights, strict=True)
    )
    return Weighed(weights, np.asarray(residual) / df, df, consensus)


def weighted_moderated_t(
    values: list[np.ndarray], cells: list[np.ndarray], groups: list[np.ndarray], within: np.ndarray
) -> DonorTest:
    """Second less first condition, over donors.

    Parameters
    ----------
    values
        (donors, features) means of the cells of each donor in the first and in the second condition.
    cells
        (donors,) cells behind these means.
    groups
        One mask of donors for a paired test (each has cells in both conditions), or one a condition.
    within
        (features,) variance of cells within donors and conditions.
    """
    paired = len(groups) == 1
    if paired:
        (both,) = groups
        samples = [values[1][both] - values[0][both]]
        sizes = [1.0 / (1.0 / cells[0][both] + 1.0 / cells[1][both])]
    else:
        samples = [v[g] for v, g in zip(values, groups, strict=True)]
        sizes = [n[g].astype(np.float64) for n, g in zip(cells, groups, strict=True)]
    weights, residual, df, consensus = weigh_donors(samples, sizes, within)
    scale = np.sqrt(sum(1.0 / w.sum(axis=0) for w in weights))
    sides = [groups[0], groups[0]] if paired else groups
    mean_a, mean_b = (
        (w * v[g]).sum(axis=0) / w.sum(axis=0)
        for v, g, w in zip(values, sides, weights * (3 - len(weights)), strict=True)
    )
    # Activations differ in scale by orders of magnitude: what features share is the variance relative to their mean.
    level = (mean_a + mean_b) / 2.0
    unit = np.where(level > 0, level, 1.0) ** 2
    variance = residual / unit
    posterior, total = fit_prior(variance, df).squeeze(variance, df)
    sd = np.sqrt(posterior * unit)
    error = sd * scale
    t = np.divide(mean_b - mean_a, error, out=np.zeros_like(error), where=error > 0)
    return DonorTest(mean_a, mean_b, t, total, sd, error, consensus)
