"""Competitive rank test of gene sets, corrected for correlation between genes.

The question is whether the genes of a set have larger (or smaller) statistics than the other genes. Treating genes as
independent makes any set of co-expressed genes significant. The form of the correction is that of CAMERA's rank test
(Wu & Smyth, 2012, Nucleic Acids Res. 40:e133; Barry, Nobel & Wright, 2008, Ann. Appl. Stat. 2:286): the variance of
the rank sum of ``m`` of ``G`` genes with correlation ``rho`` between the set's statistics. What is estimated here, and
how:

1. Correlation of cell-wise ranks, after the mean over genes is taken out of each cell: a shift common to all genes
   (depth) moves all statistics alike and cannot move a rank among genes.
2. The part that the feature itself explains is removed, set by set: the average covariance of residuals over their
   average variance.
3. Each set's value is shrunken towards the mean of sets of similar size, by the share of its variance that is
   estimation error (empirical Bayes).
4. Correlated noise can only act on the part of a statistic that is noise. With statistics of variance V over genes,
   of which 1 is noise (it is exactly 1 when cells are permuted), the correlation that counts is rho / max(V, 1).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from cellprism.stats.expression import Expression
from cellprism.stats.kernels import midranks_rows, set_sums
from cellprism.stats.setindex import SetIndex

__all__ = ["SetCorrelation", "SetResult", "feature_correlation", "rank_enrichment", "set_correlation", "two_sided"]

_SIZE_EDGES = np.array([7, 10, 15, 25, 50, 100, 200])


class SetCorrelation(NamedTuple):
    """Second moments of the genes of each set over cells, for unit-length rank columns."""

    total: np.ndarray
    """(sets,) variance of the sum of the set's genes."""
    own: np.ndarray
    """(sets,) sum of the variances of the set's genes."""
    n_cells: int


class SetResult(NamedTuple):
    """Rank test of every set for every feature."""

    z: np.ndarray
    """(features, sets) signed z."""
    effect: np.ndarray
    """(features, sets) rank-biserial correlation, -1 ... 1: 2 AUC - 1 of the set's genes against the others."""


def set_correlation(expression: Expression, sets: SetIndex) -> SetCorrelation:
    """Measure each set's inter-gene covariance once, over all cells."""
    own = np.zeros(sets.names.size)
    total = np.zeros(sets.names.size)
    ranks = expression.standard_ranks(sets.genes)
    ranks -= ranks.mean(axis=1, keepdims=True)
    square = (ranks**2).sum(axis=0)
    for s in range(sets.names.size):
        members = sets.members[sets.ptr[s] : sets.ptr[s + 1]]
        own[s] = square[members].sum()
        total[s] = (ranks[:, members].sum(axis=1) ** 2).sum()
    return SetCorrelation(total, own, expression.n_cells)


def feature_correlation(z: np.ndarray, correlation: SetCorrelation, sets: SetIndex) -> np.ndarray:
    """(features, sets) correlation of the set's statistics under the competitive null (steps 2 to 4 above).

    Parameters
    ----------
    z
        (features, background genes) statistics of the sets' background, in its order.
    """
    m = sets.sizes.astype(np.float64)
    centred = z - z.mean(axis=1, keepdims=True)
    r = centred / np.sqrt(max(correlation.n_cells - 1.0, 1.0))
    explained = set_sums(r, sets.ptr, sets.members)
    explained_own = set_sums(r**2, sets.ptr, sets.members)
    own = np.maximum(correlation.own - explained_own, 0.05 * correlation.own)
    rho = (correlation.total - explained**2 - own) / ((m - 1.0) * np.maximum(own, 1e-12))
    rho = _shrink(rho, m, correlation.n_cells)
    noise = 1.0 / np.maximum(centred.var(axis=1), 1.0)
    out: np.ndarray = np.clip(rho, 0.0, 0.95) * noise[:, None]
    return out


def _shrink(rho: np.ndarray, sizes: np.ndarray, n_cells: int) -> np.ndarray:
    """Empirical-Bayes shrinkage of each row towards the mean over sets of similar size."""
    out = rho.copy()
    # sampling variance of a mean of m (m - 1) / 2 correlations near zero
    error = 2.0 / (sizes * (sizes - 1.0) * max(n_cells - 1.0, 1.0))
    bins = np.digitize(sizes, _SIZE_EDGES)
    for b in np.unique(bins):
        here = bins == b
        centre = rho[:, here].mean(axis=1, keepdims=True)
        spread = np.maximum(rho[:, here].var(axis=1, keepdims=True) - error[here].mean(), 0.0)
        weight = spread / (spread + error[here][None, :])
        out[:, here] = centre + weight * (rho[:, here] - centre)
    return out


def rank_enrichment(z: np.ndarray, rho: np.ndarray, sets: SetIndex) -> SetResult:
    """Rank-sum z of each set's statistics against all other background genes.

    Parameters
    ----------
    z
        (features, background genes) signed statistics.
    rho
        (features, sets) correlation within each set, from :func:`feature_correlation` (zeros: independent genes).
    """
    n_genes = z.shape[1]
    m = sets.sizes.astype(np.float64)
    rest = n_genes - m
    ranks, ties = midranks_rows(z)
    shift = set_sums(ranks, sets.ptr, sets.members) - m * (n_genes + 1.0) / 2.0
    tie_factor = 1.0 - ties / (n_genes**3 - n_genes)
    variance = (
        m
        * rest
        / (2.0 * np.pi)
        * (
            np.arcsin(1.0)
            + (rest - 1.0) * np.arcsin(0.5)
            + (m - 1.0) * (rest - 1.0) * np.arcsin(rho / 2.0)
            + (m - 1.0) * np.arcsin((rho + 1.0) / 2.0)
        )
    )
    variance *= tie_factor[:, None]
    safe = np.where(variance > 0, variance, 1.0)
    stat = np.where(variance > 0, shift / np.sqrt(safe), 0.0)
    return SetResult(stat, 2.0 * shift / (m * rest))


def two_sided(z: np.ndarray) -> np.ndarray:
    """Two-sided normal p values."""
    out: np.ndarray = 2.0 * special.ndtr(-np.abs(z))
    return out
