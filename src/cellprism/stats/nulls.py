"""Codes that carry no learned features: what any headline share is held against."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

__all__ = ["matched_directions", "permuted_codes", "random_sets"]


def matched_directions(embedding: np.ndarray, n_active: np.ndarray, rng: np.random.Generator) -> sp.csc_array:
    """Random directions of an embedding, thresholded to given numbers of active cells.

    Directions are drawn from a normal distribution with the covariance of the embedding itself, so that they point
    where the cells lie (the hardest of the cheap nulls: no training, but all of the embedding's biology). The code is
    the height of the projection above its threshold.

    Parameters
    ----------
    embedding
        (cells, d).
    n_active
        (features,) active cells wanted of each direction; ties at the threshold stay out.

    Returns
    -------
    (cells, features) CSC, float32.
    """
    centred = np.asarray(embedding, dtype=np.float64)
    centred = centred - centred.mean(axis=0)
    n = centred.shape[0]
    # a normal mix of the cells has the covariance of the cells; no factorisation, any rank
    directions = centred.T @ rng.standard_normal((n, n_active.size))
    directions /= np.maximum(np.linalg.norm(directions, axis=0), 1e-300)
    rows, data, ptr = [], [], [0]
    for f in range(n_active.size):
        height = centred @ directions[:, f]
        k = int(min(n_active[f], n - 1))
        level = np.partition(height, n - k - 1)[n - k - 1]
        above = np.flatnonzero(height > level)
        rows.append(above)
        data.append((height[above] - level).astype(np.float32))
        ptr.append(ptr[-1] + above.size)
    return sp.csc_array((np.concatenate(data), np.concatenate(rows), np.array(ptr)), (n, n_active.size))


def permuted_codes(codes: sp.csc_array, strata: np.ndarray, rng: np.random.Generator) -> sp.csc_array:
    """Codes with cells permuted within strata: one permutation for all features, so their correlations stay."""
    new = np.arange(codes.shape[0])
    for h in np.unique(strata):
        here = np.flatnonzero(strata == h)
        new[here] = rng.permutation(here)
    out = sp.csc_array((codes.data.copy(), new[codes.indices], codes.indptr.copy()), codes.shape)
    out.sort_indices()
    return out


def random_sets(
    sizes: np.ndarray, members: np.ndarray, mean_expression: np.ndarray, rng: np.random.Generator, n_bins: int = 20
) -> np.ndarray:
    """Replace the members of every set by random genes of like mean expression.

    Parameters
    ----------
    sizes, members
        Set sizes and their flat members (positions in the background).
    mean_expression
        (background genes,) mean of each gene; genes are exchanged within its quantile bins.

    Returns
    -------
    Flat members of the random sets, in the same layout, without repeats inside a set where the bin allows.
    """
    order = np.argsort(mean_expression, kind="stable")
    bin_of = np.empty(order.size, dtype=np.int64)
    bin_of[order] = np.arange(order.size) * n_bins // order.size
    in_bin = [np.flatnonzero(bin_of == b) for b in range(n_bins)]
    out = np.empty_like(members)
    start = 0
    for size in sizes:
        span = slice(start, start + int(size))
        drawn = np.empty(int(size), dtype=members.dtype)
        bins = bin_of[members[span]]
        for b in np.unique(bins):
            here = np.flatnonzero(bins == b)
            drawn[here] = rng.choice(in_bin[b], here.size, replace=here.size > in_bin[b].size)
        out[span] = np.sort(drawn)
        start += int(size)
    return out
