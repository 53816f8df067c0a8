"""Codes that carry no learned features: what any headline share is held against."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellprism.data.chunks import chunks
from cellprism.stats.kernels import vector_njit
from cellprism.stats.parallel import for_chunks

__all__ = ["covariance_directions", "matched_directions", "permuted_codes", "random_sets"]

_GENES_A_BIN, _CANDIDATES = 50, 8
_SETS = 64  # drawn at a time
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
    """Codes with cells permuted within strata: one permutation for all features, so their correlations stay."""
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
    """
    n_genes = mean_expression.size
    n_bins = max(n_genes // _GENES_A_BIN, 1)
    bin_of = np.empty(n_genes, dtype=np.int64)
    by_mean = np.argsort(mean_expression, kind="stable")
    bin_of[by_mean] = np.arange(n_genes) * n_bins // n_genes
    ptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    spans = [slice(a, b) for a, b in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)]
    wanted = np.concatenate([np.empty(0, np.int64), *(rng.permutation(bin_of[members[span]]) for span in spans)])
    out = np.empty_like(members)
    if ranks is None:
        in_bin = [np.flatnonzero(bin_of == b) for b in range(n_bins)]
        for span in spans:
            out[span] = _distinct(wanted[span], in_bin, rng)
    else:
        columns = np.ascontiguousarray(ranks.T, dtype=np.float32)
        bins = np.concatenate([[0], np.cumsum(np.bincount(bin_of, minlength=n_bins))])
        draws = rng.random((members.size, _CANDIDATES))

        def draw(sets: slice) -> None:
            here = ptr[sets.start : sets.stop + 1]
            _as_correlated(here, members, columns, wanted, bins, by_mean, draws, _CORRELATED, out)

        for_chunks(draw, len(spans), _SETS)
    for span in spans:
        out[span].sort()
    return out


def _distinct(wanted: np.ndarray, in_bin: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One gene of each wanted bin."""
    drawn = np.empty(wanted.size, dtype=np.int64)
    for b in np.unique(wanted):
        here = np.flatnonzero(wanted == b)
        drawn[here] = rng.choice(in_bin[b], here.size, replace=here.size > in_bin[b].size)
    return drawn


@vector_njit
def _as_correlated(
    ptr: np.ndarray,
    members: np.ndarray,
    columns: np.ndarray,
    wanted: np.ndarray,
    bins: np.ndarray,
    in_bin: np.ndarray,
    draws: np.ndarray,
    correlated: float,
    out: np.ndarray,
) -> None:
    """Genes of the wanted bins with about the mean product over pairs that the genes of each real set have.

    ``columns`` (genes, cells); the genes of a bin are a part of ``in_bin`` that ``bins`` bounds; ``draws`` are uniform.
    """
    n_cells = columns.shape[1]
    free = np.ones(columns.shape[0], dtype=np.bool_)
    total = np.empty(n_cells, dtype=np.float32)
    candidates = np.empty(in_bin.size, dtype=np.int64)
    for s in range(ptr.size - 1):
        first, n = ptr[s], ptr[s + 1] - ptr[s]
        total[:] = 0.0
        lengths, square = 0.0, 0.0
        for k in range(first, first + n):
            column = columns[members[k]]
            for c in range(n_cells):
                total[c] += column[c]
                lengths += column[c] * column[c]
        for c in range(n_cells):
            square += total[c] * total[c]
        pairs = (square - lengths) / max(n * (n - 1), 1)
        any_gene = pairs > correlated * lengths / n
        total[:] = 0.0
        reached = 0.0  # sum of products over pairs
        for i in range(n):
            b = wanted[first + i]
            size = 0
            for k in range(bins[b], bins[b + 1]):
                if free[in_bin[k]]:
                    candidates[size] = in_bin[k]
                    size += 1
            if size == 0:
                size = bins[b + 1] - bins[b]
                candidates[:size] = in_bin[bins[b] : bins[b + 1]]
            if i == 0 or not any_gene:
                some = min(draws.shape[1] if i > 0 else 1, size)
                for k in range(some):  # a draw without replacement, from the front
                    other = k + min(int(draws[first + i, k] * (size - k)), size - k - 1)
                    candidates[k], candidates[other] = candidates[other], candidates[k]
                size = some
            best, nearest, added = candidates[0], np.inf, 0.0
            for k in range(size):
                column = columns[candidates[k]]
                product = 0.0
                for c in range(n_cells):
                    product += column[c] * total[c]
                off = abs(reached + product - pairs * i * (i + 1) / 2.0)
                if off < nearest:
                    best, nearest, added = candidates[k], off, product
            out[first + i] = best
            reached += added
            free[best] = False
            column = columns[best]
            for c in range(n_cells):
                total[c] += column[c]
        for k in range(first, first + n):
            free[out[k]] = True
