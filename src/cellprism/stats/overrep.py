"""Over-representation of gene sets among a feature's top genes, up and down apart, calibrated by permuted cells.

Two things make the plain hypergeometric test too bold. Abundant genes reach a list of top genes more easily, so the
overlap is held against lists that spread over bins of like expression as the feature's own does
(:mod:`cellprism.stats.background`): within a bin, genes are exchangeable, and the overlap is a sum of hypergeometric
counts. And genes of a set are correlated over cells, so that under permuted cells the overlap varies more than that.
This spread is measured by permutations that all features share: for a few numbers of active cells (log-spaced over the
features') and for every list length in use, cells are drawn at random, the genes are tested, and mean and variance of
every set's overlap are kept. A feature's overlap is also held against a beta-binomial with that variance and the larger
of both means; the larger p counts. As in the rank test, the excess spread counts only for the share of the statistics'
variance that is noise.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from cellprism.stats.background import Background, variance_within
from cellprism.stats.contrast import active_contrast, check_codes
from cellprism.stats.expression import Expression
from cellprism.stats.genes import rank_sum
from cellprism.stats.overrep_kernels import log_factorials, overlap_pvalues
from cellprism.stats.setindex import SetIndex

__all__ = ["LIST_LENGTHS", "OverlapNull", "OverrepResult", "over_representation", "overlap_null"]

LIST_LENGTHS = np.array([5, 10, 20, 50, 100, 200])


class OverlapNull(NamedTuple):
    """Overlaps of sets with top-gene lists under permuted cells."""

    n_active: np.ndarray
    """(bins,) active cells of the permuted features."""
    mean: np.ndarray
    """(bins, list lengths, 2 directions, sets) mean overlap."""
    variance: np.ndarray
    """The same for the variance."""


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


def overlap_null(
    expression: Expression,
    sets: SetIndex,
    n_active: np.ndarray,
    rng: np.random.Generator,
    *,
    n_permutations: int = 200,
    n_bins: int = 5,
) -> OverlapNull:
    """Measure the overlaps that chance gives, with cells drawn at random within strata.

    Parameters
    ----------
    n_active
        Active cells of the features to be tested; bins are spaced over their logarithm.
    n_permutations
        Random cell draws a bin.
    """
    low, high = max(int(n_active.min()), 1), max(int(n_active.max()), 2)
    high = min(high, expression.n_cells - 1)
    counts = np.unique(np.geomspace(low, max(high, low), n_bins).round().astype(np.int64))
    by_set = _membership(sets).T.tocsr()
    lengths = LIST_LENGTHS[max(sets.genes.size // 2, 1) >= LIST_LENGTHS]
    mean = np.empty((counts.size, lengths.size, 2, sets.names.size))
    variance = np.empty_like(mean)
    for b, count in enumerate(counts):
        rows = np.concatenate([rng.choice(expression.n_cells, count, replace=False) for _ in range(n_permutations)])
        ptr = np.arange(n_permutations + 1, dtype=np.int64) * count
        draw = sp.csc_array((np.ones(rows.size, dtype=np.float32), rows, ptr), (expression.n_cells, n_permutations))
        contrast = active_contrast(check_codes(draw), expression.strata, expression.sizes, min_cells=1)
        z = np.nan_to_num(rank_sum(expression, contrast).calibrated[:, sets.genes])
        order = np.argsort(z, axis=1)
        for d in range(2):
            for j, length in enumerate(lengths):
                overlap = _overlaps(order, np.full(n_permutations, length), d, by_set)
                mean[b, j, d] = overlap.mean(axis=0)
                variance[b, j, d] = overlap.var(axis=0, ddof=1)
    return OverlapNull(counts, mean, variance)


def over_representation(
    z: np.ndarray,
    n_significant: np.ndarray,
    n_active: np.ndarray,
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
    n_active
        (features,) active cells: the nearest bin of ``null`` is used.
    background
        Bins of genes of like expression.
    order
        ``np.argsort(z, axis=1)`` where it is known.
    """
    n_lengths = null.mean.shape[1]
    which = np.searchsorted(LIST_LENGTHS[:n_lengths], n_significant, side="right") - 1
    length = np.where(which >= 0, LIST_LENGTHS[np.maximum(which, 0)], 0)
    nearest = np.abs(np.log(np.maximum(n_active, 1))[:, None] - np.log(null.n_active)[None, :]).argmin(axis=1)
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
            np.ascontiguousarray(null.mean[:, :, d]),
            np.ascontiguousarray(null.variance[:, :, d]),
            nearest,
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
