"""Over-representation of gene sets among a feature's top genes, up and down apart, calibrated for correlated genes.

Two things make the plain hypergeometric test too bold. Abundant genes reach a list of top genes more easily, so the
overlap is held against lists that spread over bins of like expression as the feature's own does
(:mod:`cellprism.stats.background`): within a bin, genes are exchangeable, and the overlap is a sum of hypergeometric
counts. And genes of a set are correlated over cells, so that under permuted cells the overlap varies more than that.
How much more follows from the correlations themselves (:func:`overlap_null`): nothing is drawn, so that neither a seed
nor the order of cells moves a p value. A feature's overlap is also held against a beta-binomial with that variance; the
larger p counts. As in the rank test, the excess spread counts only for the share of the statistics' variance that is
noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy import stats

from cellprism.stats.background import Background, variance_within
from cellprism.stats.expression import Expression
from cellprism.stats.overrep_kernels import log_factorials, overlap_pvalues, pair_counts
from cellprism.stats.parallel import for_chunks
from cellprism.stats.setindex import SetIndex

__all__ = ["LIST_LENGTHS", "OverlapNull", "OverrepResult", "over_representation", "overlap_null", "pair_covariance"]

LIST_LENGTHS = np.array([5, 10, 20, 50, 100, 200])
MOST_CELLS = 4_000
"""Cells on which correlations of pairs of genes are measured; fewer are all used."""
_ANGLES = np.linspace(-np.pi / 2.0, np.pi / 2.0, 513)
_BLOCK = 512
_SETS = 64  # whose pairs are counted at a time


class OverlapNull(NamedTuple):
    """Overlaps of sets with lists of top genes under permuted cells."""

    variance: np.ndarray
    """(list lengths, sets)."""


class OverrepResult(NamedTuple):
    """Over-representation of every set for every feature and direction (0 up, 1 down)."""

    pval: np.ndarray
    """(features, 2, sets); 1 where the feature has no list in that direction, so that the family stays whole."""
    hits: np.ndarray
    """(features, 2, sets) genes of the set in the list."""
    list_length: np.ndarray
    """(features, 2) length of the list, 0 where there is none."""


def _membership(sets: SetIndex) -> sp.csr_array:
    ones = np.ones(sets.members.size, dtype=np.float32)
    return sp.csr_array((ones, sets.members, sets.ptr), (sets.names.size, sets.genes.size))


def pair_covariance(share: float) -> np.ndarray:
    """Covariance of two genes' places in a list of top genes, at each of the table's correlations (their arcsines).

    For statistics that are bivariate normal with correlation r, both exceed t = the upper ``share`` quantile with
    probability share^2 + (1 / 2 pi) integral of exp(-t^2 / (1 + sin a)) over a from 0 to arcsin r (Plackett, 1954).
    """
    t = stats.norm.isf(share)
    height = np.exp(-(t**2) / np.maximum(1.0 + np.sin(_ANGLES), 1e-300)) / (2.0 * np.pi)
    steps = np.diff(_ANGLES) * (height[1:] + height[:-1]) / 2.0
    total = np.concatenate([[0.0], np.cumsum(steps)])
    out: np.ndarray = total - total[_ANGLES.size // 2]
    return out


def overlap_null(expression: Expression, sets: SetIndex, rng: np.random.Generator) -> OverlapNull:
    """Variance of each set's overlap with lists of top genes, when active cells are drawn at random within strata.

    A gene's statistic is then a sum over random cells of its ranks, and those of two genes are correlated as their
    ranks are over all cells: exactly so, as cells are a finite population. With each cell's mean over genes taken out (a
    shift of all genes moves none into the list) and normal statistics, the covariance of two genes' places in the list
    is :func:`pair_covariance`; the variance of an overlap is the sum over the pairs of the set.

    Parameters
    ----------
    rng
        Draws :data:`MOST_CELLS` cells where there are more; with fewer nothing is random.
    """
    n = expression.n_cells
    used = np.arange(n) if n <= MOST_CELLS else np.sort(rng.choice(n, MOST_CELLS, replace=False))
    columns = np.empty((sets.genes.size, used.size), dtype=np.float32)
    for start in range(0, used.size, _BLOCK):
        ranks = expression.standard_ranks(used[start : start + _BLOCK], sets.genes)
        columns[:, start : start + _BLOCK] = (ranks - ranks.mean(axis=1, keepdims=True)).T
    length = np.sqrt(np.einsum("gc,gc->g", columns, columns))
    columns /= np.where(length > 0, length, 1.0)[:, None]
    n_genes = sets.genes.size
    shares = LIST_LENGTHS[max(n_genes // 2, 1) >= LIST_LENGTHS] / n_genes
    table = np.stack([pair_covariance(share) for share in shares], axis=1)
    variance = np.outer(shares * (1.0 - shares), sets.sizes.astype(np.float64))

    def add(part: slice) -> None:
        for s in range(part.start, part.stop):
            mine = columns[sets.members[sets.ptr[s] : sets.ptr[s + 1]]]
            variance[:, s] += 2.0 * pair_counts(mine @ mine.T, _ANGLES.size) @ table

    for_chunks(add, sets.names.size, _SETS)
    return OverlapNull(np.maximum(variance, 0.0))


def over_representation(
    z: np.ndarray,
    n_significant: np.ndarray,
    null: OverlapNull,
    sets: SetIndex,
    background: Background,
    order: np.ndarray | None = None,
) -> OverrepResult:
    """Test the overlap of every set with each feature's top genes.

    Parameters
    ----------
    z
        (features, background genes) signed statistics.
    n_significant
        (features, 2) background genes that pass the gene-level q value, up and down. The list is as long as the
        longest of :data:`LIST_LENGTHS` that they fill; with fewer than the shortest there is no list.
    background
        Bins of genes of like expression.
    order
        ``np.argsort(z, axis=1)`` where it is known.
    """
    n_lengths = null.variance.shape[0]
    which = np.searchsorted(LIST_LENGTHS[:n_lengths], n_significant, side="right") - 1
    length = np.where(which >= 0, LIST_LENGTHS[np.maximum(which, 0)], 0)
    by_set = _membership(sets).T.tocsr()
    noise = 1.0 / np.maximum(variance_within(z, background), 1.0)
    ones = np.ones(background.bin_of.size, dtype=np.float32)
    by_bin = sp.csr_array((ones, background.bin_of, np.arange(ones.size + 1)), (ones.size, background.sizes.size))
    profile = sp.csr_array(background.profile)
    table = log_factorials(sets.genes.size)
    order = np.argsort(z, axis=1) if order is None else order
    hits = np.zeros((z.shape[0], 2, sets.names.size), dtype=np.int16)
    pval = np.full(hits.shape, np.nan)
    for d in range(2):
        hits[:, d] = _overlaps(order, length[:, d], d, by_set)
        drawn = _overlaps(order, length[:, d], d, by_bin).astype(np.int64)
        chosen = np.maximum(which[:, d], 0)
        pval[:, d] = overlap_pvalues(
            np.ascontiguousarray(hits[:, d]),
            np.ascontiguousarray(length[:, d]),
            drawn,
            profile.indptr.astype(np.int64),
            profile.indices.astype(np.int64),
            profile.data,
            background.sizes,
            table,
            null.variance,
            chosen,
            noise,
        )
    return OverrepResult(pval, hits, length)


def _overlaps(order: np.ndarray, length: np.ndarray, direction: int, by_set: sp.csr_array) -> np.ndarray:
    """(rows, sets) genes of each set among the last (up) or first (down) so many of each row's order."""
    n_rows, n_genes = order.shape
    longest = int(length.max(initial=0))
    head = order[:, ::-1][:, :longest] if direction == 0 else order[:, :longest]
    chosen = head[np.arange(longest)[None, :] < length[:, None]]
    ptr = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    lists = sp.csr_array((np.ones(chosen.size, dtype=np.float32), chosen, ptr), (n_rows, n_genes))
    out: np.ndarray = (lists @ by_set).toarray()
    return out
