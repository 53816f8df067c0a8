"""Competitive rank test of gene sets, among genes of like expression and corrected for correlation between genes.

The question is whether the genes of a set have larger (or smaller) statistics than other genes of their expression
(:mod:`cellprism.stats.background`): ranks are taken over all genes, and each is held against the mean rank of its bin.
Treating genes as independent makes any set of co-expressed genes significant. The form of the correction is that of
CAMERA's rank test (Wu & Smyth, 2012, Nucleic Acids Res. 40:e133; Barry, Nobel & Wright, 2008, Ann. Appl. Stat. 2:286):
the variance of the rank sum of ``m`` of ``G`` genes with correlation ``rho`` between the set's statistics. What is
estimated here, and how:

1. Correlation of cell-wise ranks, after the mean over genes is taken out of each cell: a shift common to all genes
   (depth) moves all statistics alike and cannot move a rank among genes.
2. The part that the feature itself explains is removed, set by set: the average covariance of residuals over their
   average variance.
3. Each set's value is shrunken towards the mean of sets of similar size, by the share of its variance that is
   estimation error (empirical Bayes).
4. Correlated noise can only act on the part of a statistic that is noise. With statistics of variance V over genes
   (within bins), of which 1 is noise (it is 1 on average when cells are permuted; twice its standard deviation there is
   taken off V first), the correlation that counts is rho / max(V, 1).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy import special

from cellprism.stats.background import Background, variance_within
from cellprism.stats.expression import Expression
from cellprism.stats.kernels import ranks_from_order, set_sums
from cellprism.stats.setindex import SetIndex

__all__ = ["SetCorrelation", "SetResult", "feature_correlation", "rank_enrichment", "set_correlation", "two_sided"]

_BLOCK = 512
_SPREAD_CELLS = 2_000
"""Cells on which the spread is measured; fewer are all used."""
_SIZE_EDGES = np.array([7, 10, 15, 25, 50, 100, 200])


class SetCorrelation(NamedTuple):
    """Second moments of genes over cells, for rank columns of unit length with each cell's mean taken out."""

    total: np.ndarray
    """(sets,) variance of the sum of the set's genes."""
    own: np.ndarray
    """(sets,) sum of the variances of the set's genes."""
    n_cells: int
    """Cells of the expression."""
    n_used: int
    """Cells these moments were measured on."""
    spread: float
    """Standard deviation, under permuted cells, of the variance of a feature's statistics over genes."""


class SetResult(NamedTuple):
    """Rank test of every set for every feature."""

    z: np.ndarray
    """(features, sets) signed z."""
    effect: np.ndarray
    """(features, sets) rank-biserial correlation, -1 ... 1: 2 AUC - 1 of the set's genes against the others, after the
    mean rank of each bin of like expression is taken out."""


def set_correlation(
    expression: Expression, sets: SetIndex, rng: np.random.Generator, max_cells: int = 10_000
) -> SetCorrelation:
    """Measure each set's inter-gene covariance once, over at most ``max_cells`` random cells."""
    n, n_genes = expression.n_cells, sets.genes.size
    used = np.arange(n) if n <= max_cells else np.sort(rng.choice(n, max_cells, replace=False))
    own = np.zeros(n_genes)
    total = np.zeros(sets.names.size)
    member = sp.csr_array((np.ones(sets.members.size), sets.members, sets.ptr), (sets.names.size, n_genes)).T.tocsc()
    for start in range(0, used.size, _BLOCK):
        ranks = _without_cell_means(expression, used[start : start + _BLOCK], sets.genes)
        own += (ranks**2).sum(axis=0)
        total += ((ranks @ member) ** 2).sum(axis=0)
    return SetCorrelation(total, own @ member, n, used.size, _spread(expression, sets, used))


def _without_cell_means(expression: Expression, cells: np.ndarray, genes: np.ndarray) -> np.ndarray:
    ranks = expression.standard_ranks(cells, genes)
    ranks -= ranks.mean(axis=1, keepdims=True)
    return ranks


def _spread(expression: Expression, sets: SetIndex, used: np.ndarray) -> float:
    """Standard deviation of the variance of a feature's statistics over genes, under permuted cells.

    It rests on the squared Frobenius norm of the genes' correlation matrix, which is that of the products between cells.
    Of a part of the cells, products of two cells and of a cell with itself are averaged apart, which has no bias.
    """
    n, n_genes = expression.n_cells, sets.genes.size
    few = used[np.linspace(0, used.size - 1, min(used.size, _SPREAD_CELLS)).astype(np.int64)]
    ranks = _without_cell_means(expression, few, sets.genes).astype(np.float32)
    scale = float((ranks.astype(np.float64) ** 2).sum()) * n / few.size / n_genes
    products = (ranks @ ranks.T).astype(np.float64) ** 2
    own = float(np.trace(products))
    between = float(products.sum()) - own
    m = few.size
    square = own * n / m + (between * n * (n - 1.0) / (m * (m - 1.0)) if m > 1 else 0.0)
    return float(np.sqrt(2.0 * square) / n_genes / max(scale, 1e-12))


def feature_correlation(
    z: np.ndarray, correlation: SetCorrelation, sets: SetIndex, background: Background
) -> np.ndarray:
    """(features, sets) correlation of the set's statistics under the competitive null (steps 2 to 4 above).

    Parameters
    ----------
    z
        (features, background genes) statistics of the sets' background, in its order.
    background
        Bins of genes of like expression.
    """
    m = sets.sizes.astype(np.float64)
    centred = z - z.mean(axis=1, keepdims=True)
    r = centred / np.sqrt(max(correlation.n_cells - 1.0, 1.0))
    seen = correlation.n_used / correlation.n_cells
    explained = set_sums(r, sets.ptr, sets.members) * np.sqrt(seen)
    explained_own = set_sums(r**2, sets.ptr, sets.members) * seen
    own = np.maximum(correlation.own - explained_own, 0.05 * correlation.own)
    rho = (correlation.total - explained**2 - own) / ((m - 1.0) * np.maximum(own, 1e-12))
    rho = _shrink(rho, m, correlation.n_used)
    # a variance that correlated noise alone can reach says nothing about real differences
    noise = 1.0 / np.maximum(variance_within(z, background) - 2.0 * correlation.spread, 1.0)
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


def rank_enrichment(
    z: np.ndarray, rho: np.ndarray, sets: SetIndex, background: Background, order: np.ndarray | None = None
) -> SetResult:
    """Rank-sum z of each set's statistics against the other genes of its bins.

    Parameters
    ----------
    z
        (features, background genes) signed statistics.
    rho
        (features, sets) correlation within each set, from :func:`feature_correlation` (zeros: independent genes).
    background
        Bins of genes of like expression; with one bin this is the rank-sum test.
    order
        ``np.argsort(z, axis=1)`` where it is known.

    Notes
    -----
    With independent genes the variance is that of a sum of random draws without replacement from each bin. Correlation
    multiplies it by the factor of the rank test in CAMERA, which is 1 for rho = 0.

    Examples
    --------
    >>> from cellprism.stats.background import match_background
    >>> from cellprism.stats.enrichment import rank_enrichment
    >>> from cellprism.stats.setindex import index_sets
    >>> index = index_sets({"first genes": genes[:20]}, genes, (expression > 0).sum(axis=0), set_size=(2, 500))
    >>> z = np.zeros((1, len(index.genes)))
    >>> z[0, index.members] = 3.0  # one feature, in which the genes of the set are up
    >>> found = rank_enrichment(z, np.zeros((1, 1)), index, match_background(index))
    >>> bool(found.z[0, 0] > 4)
    True
    """
    n_genes = z.shape[1]
    m = sets.sizes.astype(np.float64)
    rest = n_genes - m
    ranks, _ = ranks_from_order(z, np.argsort(z, axis=1) if order is None else order)
    ranks -= (n_genes + 1.0) / 2.0
    n = background.sizes.astype(np.float64)
    mean = set_sums(ranks, background.ptr, background.genes) / n
    spread = set_sums(ranks**2, background.ptr, background.genes) - n * mean**2
    marked = background.profile.astype(np.float64)
    shift = set_sums(ranks, sets.ptr, sets.members) - mean @ marked.T
    variance = (spread / np.maximum(n - 1.0, 1.0)) @ (marked * (n - marked) / n).T
    factor = (
        np.arcsin(1.0)
        + (rest - 1.0) * np.arcsin(0.5)
        + (m - 1.0) * (rest - 1.0) * np.arcsin(rho / 2.0)
        + (m - 1.0) * np.arcsin((rho + 1.0) / 2.0)
    ) / (np.pi * (n_genes + 1.0) / 6.0)
    usable = variance > 1e-9 * n_genes**2
    stat = np.where(usable, shift / np.sqrt(np.where(usable, variance * factor, 1.0)), 0.0)
    return SetResult(stat, np.clip(2.0 * shift / (m * rest), -1.0, 1.0))


def two_sided(z: np.ndarray) -> np.ndarray:
    """Two-sided normal p values."""
    out: np.ndarray = 2.0 * special.ndtr(-np.abs(z))
    return out
