"""Codes that carry no learned features: what any headline share is held against."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellprism.data.chunks import chunks

__all__ = ["covariance_directions", "matched_directions", "permuted_codes", "random_sets"]

_GENES_A_BIN, _CANDIDATES = 50, 8
_HEIGHT_BYTES = 2**27  # of the projections that are held at a time
_CORRELATED = 0.01  # mean correlation from which a set counts as correlated


def covariance_directions(centred: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Random unit directions with the covariance of centred cells (cells, d), so that they point where the cells lie.

    Returns
    -------
    (d, n).
    """
    # a normal mix of the cells has the covariance of the cells; no factorisation, any rank
    directions = centred.T @ rng.standard_normal((centred.shape[0], n))
    return np.asarray(directions / np.maximum(np.linalg.norm(directions, axis=0), 1e-300))


def matched_directions(
    embedding: np.ndarray, n_active: np.ndarray, rng: np.random.Generator, rows: np.ndarray | None = None
) -> sp.csc_array:
    """Random directions of an embedding, thresholded to given numbers of active cells.

    Directions are drawn from a normal distribution with the covariance of the embedding itself, so that they point
    where the cells lie (the hardest of the cheap nulls: no training, but all of the embedding's biology). The code is
    the height of the projection above its threshold.

    Parameters
    ----------
    embedding
        (cells, d) array or memory map, read in pieces.
    n_active
        (features,) active cells wanted of each direction; ties at the threshold stay out.
    rows
        The cells that count; None = all.

    Returns
    -------
    (cells, features) CSC, float32.

    Examples
    --------
    >>> from cellprism.stats.nulls import matched_directions
    >>> null = matched_directions(X, np.array([20, 50]), np.random.default_rng(0))
    >>> (null > 0).sum(axis=0).tolist()
    [20, 50]
    """
    n, width = len(embedding) if rows is None else len(rows), n_active.size
    mean = np.sum([x.sum(axis=0) for x in chunks(embedding, rows, width)], axis=0) / n
    # as covariance_directions, with the same draws
    directions = np.zeros((embedding.shape[1], width))
    for x in chunks(embedding, rows, width):
        directions += (x - mean).T @ rng.standard_normal((len(x), width))
    directions /= np.maximum(np.linalg.norm(directions, axis=0), 1e-300)
    above, data, ptr = [], [], [0]
    together = max(1, _HEIGHT_BYTES // (8 * n))
    for first in range(0, width, together):
        some = directions[:, first : first + together]
        heights = np.empty((some.shape[1], n))
        start = 0
        for x in chunks(embedding, rows, width):
            heights[:, start : start + len(x)] = ((x - mean) @ some).T
            start += len(x)
        for height, wanted in zip(heights, n_active[first : first + together], strict=True):
            k = int(min(wanted, n - 1))
            level = np.partition(height, n - k - 1)[n - k - 1]
            above.append(np.flatnonzero(height > level).astype(np.int32))
            data.append((height[above[-1]] - level).astype(np.float32))
            ptr.append(ptr[-1] + above[-1].size)
    return sp.csc_array((np.concatenate(data), np.concatenate(above), np.array(ptr)), (n, width))


def permuted_codes(codes: sp.csc_array, strata: np.ndarray, rng: np.random.Generator) -> sp.csc_array:
    """Codes with cells permuted within strata: one permutation for all features, so their correlations stay.

    Examples
    --------
    >>> from cellprism.stats.nulls import permuted_codes
    >>> null = permuted_codes(codes.tocsc(), np.zeros(codes.shape[0], dtype=int), np.random.default_rng(0))
    >>> bool(np.isclose(null.sum(), codes.sum()))
    True
    """
    new = np.arange(codes.shape[0], dtype=codes.indices.dtype)
    for h in np.unique(strata):
        here = np.flatnonzero(strata == h)
        new[here] = rng.permutation(here)
    out = sp.csc_array((codes.data.copy(), new[codes.indices], codes.indptr.copy()), codes.shape)
    out.sort_indices()
    return out


def random_sets(
    sizes: np.ndarray,
    members: np.ndarray,
    mean_expression: np.ndarray,
    rng: np.random.Generator,
    ranks: np.ndarray | None = None,
) -> np.ndarray:
    """Replace the members of every set by random genes of like mean expression and like correlation.

    Parameters
    ----------
    sizes, members
        Set sizes and their flat members (positions in the background).
    mean_expression
        (background genes,) mean of each gene; genes are exchanged within bins of about 50 genes of like mean.
    ranks
        (cells, background genes) centred columns of like length whose products are correlations. With them the genes of
        a set are drawn one after the other, each the candidate of its bin that brings the mean correlation within the
        set nearest to that of the real set: of eight candidates, or of the whole bin where the real set is correlated.
        Without them only size and expression are matched.

    Returns
    -------
    Flat members of the random sets, in the same layout, without repeats inside a set where the bin allows.

    Examples
    --------
    >>> from cellprism.stats.nulls import random_sets
    >>> drawn = random_sets(np.array([3]), np.array([0, 1, 2]), expression.mean(axis=0), np.random.default_rng(0))
    >>> len(set(drawn.tolist()))
    3
    """
    n_genes = mean_expression.size
    n_bins = max(n_genes // _GENES_A_BIN, 1)
    bin_of = np.empty(n_genes, dtype=np.int64)
    bin_of[np.argsort(mean_expression, kind="stable")] = np.arange(n_genes) * n_bins // n_genes
    in_bin = [np.flatnonzero(bin_of == b) for b in range(n_bins)]
    columns = None if ranks is None else np.ascontiguousarray(ranks.T, dtype=np.float32)
    out = np.empty_like(members)
    start = 0
    for size in sizes:
        span = slice(start, start + int(size))
        wanted = rng.permutation(bin_of[members[span]])
        if columns is None:
            drawn = _distinct(wanted, in_bin, rng)
        else:
            drawn = _as_correlated(columns[members[span]], columns, wanted, in_bin, rng)
        out[span] = np.sort(drawn)
        start += int(size)
    return out


def _distinct(wanted: np.ndarray, in_bin: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One gene of each wanted bin."""
    drawn = np.empty(wanted.size, dtype=np.int64)
    for b in np.unique(wanted):
        here = np.flatnonzero(wanted == b)
        drawn[here] = rng.choice(in_bin[b], here.size, replace=here.size > in_bin[b].size)
    return drawn


def _as_correlated(
    real: np.ndarray, columns: np.ndarray, wanted: np.ndarray, in_bin: list[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Genes of the wanted bins with about the mean product over pairs that the rows of ``real`` have."""
    n = wanted.size
    lengths = float((real**2).sum())
    pairs = (float((real.sum(axis=0) ** 2).sum()) - lengths) / max(n * (n - 1), 1)
    correlated = pairs > _CORRELATED * lengths / n
    drawn = np.empty(n, dtype=np.int64)
    free = np.ones(len(columns), dtype=np.bool_)
    total = np.zeros(columns.shape[1], dtype=np.float32)
    reached = 0.0  # sum of products over pairs
    for i, b in enumerate(wanted):
        candidates = in_bin[b][free[in_bin[b]]]
        if candidates.size == 0:
            candidates = in_bin[b]
        if i == 0 or not correlated:
            candidates = rng.choice(candidates, min(_CANDIDATES if i else 1, candidates.size), replace=False)
        product = columns[candidates] @ total
        best = int(np.argmin(np.abs(reached + product - pairs * i * (i + 1) / 2.0)))
        drawn[i], reached = candidates[best], reached + float(product[best])
        free[drawn[i]] = False
        total += columns[drawn[i]]
    return drawn
