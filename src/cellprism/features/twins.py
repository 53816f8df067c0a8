"""Features of nearly the same activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.stats.gene_blocks import row_arrays
from cellprism.stats.kernels import njit
from cellprism.stats.parallel import for_chunks
from cellprism.stats.rank_kernels import row_starts

__all__ = ["twins", "without_twins"]

_TWINS = 0.8  # correlation of activations over cells from which on two features are called alike
_BLOCK = 64
_SHARES = (
    0.45,
    0.7,
)  # of a feature's squared activation, after which its cells so far may rule out every other feature
_SLACK = 1e-6  # bounds are kept this far off the limit, so that rounding rules out nothing


def twins(codes: sp.csc_array) -> NDArray[np.int64]:
    """For each feature the earlier one whose activations it follows most closely, at r >= 0.8; -1 for none.

    Products with all earlier features are summed over a feature's cells from the strongest on. The rest of its cells can add
    no more than the product of both lengths (Cauchy-Schwarz); where that leaves every earlier feature below the limit, they
    are not looked at.

    Examples
    --------
    >>> from cellprism.features.twins import twins
    >>> twins(codes.tocsc()[:, [3, 3]]).tolist()
    [-1, 0]
    """
    n_cells, n = codes.shape
    out = np.full(n, -1, dtype=np.int64)
    by_cell = codes.tocsr()
    (ptr, features), values = row_arrays(by_cell), by_cell.data
    moments = _moments(codes)

    def look(part: slice) -> None:
        cells, strengths, starts = _strongest_first(codes, part)
        _nearest(
            part.start, starts, cells, strengths, ptr, features, values, *moments, float(n_cells), _TWINS, _SLACK,
            np.array(_SHARES), out[part],
        )  # fmt: skip

    for_chunks(look, n, _BLOCK)
    return out


def _moments(codes: sp.csc_array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(features,) sums of the activations and of their squares."""
    ptr, n = codes.indptr, codes.shape[1]
    sums, squares = np.zeros(n), np.zeros(n)
    for start in range(0, n, _BLOCK):
        stop = min(start + _BLOCK, n)
        data = codes.data[ptr[start] : ptr[stop]].astype(np.float64)
        owner = np.repeat(np.arange(stop - start), np.diff(ptr[start : stop + 1]))
        sums[start:stop] = np.bincount(owner, data, stop - start)
        squares[start:stop] = np.bincount(owner, data**2, stop - start)
    return sums, squares


def _strongest_first(
    codes: sp.csc_array, part: slice
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]:
    """Cells and values of some features, the strongest of each first, and where each feature begins."""
    ptr = codes.indptr[part.start : part.stop + 1].astype(np.int64)
    here = slice(ptr[0], ptr[-1])
    ptr -= ptr[0]
    data, cells = codes.data[here].astype(np.float64), codes.indices[here].astype(np.int32)
    for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        order = np.argsort(-data[start:stop]) + start
        cells[start:stop], data[start:stop] = cells[order], data[order]
    return cells, data, ptr


@njit
def _nearest(
    first: int,
    starts: np.ndarray,
    cells: np.ndarray,
    strengths: np.ndarray,
    ptr: np.ndarray,
    features: np.ndarray,
    values: np.ndarray,
    sums: np.ndarray,
    squares: np.ndarray,
    n_cells: float,
    limit: float,
    slack: float,
    shares: np.ndarray,
    out: np.ndarray,
) -> None:
    """The earlier feature of the largest r from ``limit`` on, for the features from ``first`` on that ``starts`` bounds.

    ``ptr``, ``features`` and ``values`` are the codes by cell. Features without variance are like no other.
    """
    mean, sd, length = sums / n_cells, np.empty(sums.size), np.sqrt(squares)
    for g in range(sums.size):
        sd[g] = np.sqrt(max(squares[g] / n_cells - mean[g] * mean[g], 0.0))
    product = np.empty(first + starts.size)
    before = row_starts(first, ptr, features)  # in each cell, entries of features before the present one
    for i in range(starts.size - 1):
        f = first + i
        product[:f] = 0.0
        seen, stage, possible = 0.0, 0, sd[f] > 0.0
        for k in range(starts[i], starts[i + 1]):
            cell, x = cells[k], strengths[k]
            if possible:
                who, theirs = features[ptr[cell] : before[cell]], values[ptr[cell] : before[cell]]
                for p in range(who.size):
                    q = np.uint64(p)  # unsigned positions need no test for counting from the end
                    product[who[q]] += x * theirs[q]
                seen += x * x
                if stage < shares.size and seen >= shares[stage] * squares[f]:
                    stage += 1
                    rest = np.sqrt(max(squares[f] - seen, 0.0))
                    possible = False
                    for g in range(f):
                        most = (product[g] + rest * length[g]) / n_cells - mean[f] * mean[g]
                        if most >= (limit - slack) * sd[f] * sd[g]:
                            possible = True
                            break
            before[cell] += 1
        if not possible:
            continue
        best = limit
        for g in range(f):
            scale = sd[f] * sd[g]
            if scale > 0.0:
                r = (product[g] / n_cells - mean[f] * mean[g]) / scale
                if r > best or (r >= best and out[i] < 0):
                    best = r
                    out[i] = g


def without_twins(codes: sp.csc_array, ranked: Sequence[int], n: int, r: float = _TWINS) -> list[int]:
    """The first ``n`` features of a ranking, each left out that follows a better one that is kept at ``r`` or more."""
    sums, squares = _moments(codes)
    kept: list[int] = []
    for f in ranked:
        if len(kept) == n:
            break
        if not kept or max(_correlation(codes, f, g, sums, squares) for g in kept) < r:
            kept.append(int(f))
    return kept


def _correlation(codes: sp.csc_array, f: int, g: int, sums: NDArray[np.float64], squares: NDArray[np.float64]) -> float:
    """Pearson's r of two features; 0 where one of them is constant."""
    n = codes.shape[0]
    mine, theirs = (slice(codes.indptr[one], codes.indptr[one + 1]) for one in (f, g))
    _, here, there = np.intersect1d(codes.indices[mine], codes.indices[theirs], assume_unique=True, return_indices=True)
    x, y = codes.data[mine][here].astype(np.float64), codes.data[theirs][there].astype(np.float64)
    variance = [max(squares[one] / n - (sums[one] / n) ** 2, 0.0) for one in (f, g)]
    scale = float(np.sqrt(variance[0] * variance[1]))
    return float(x @ y / n - sums[f] * sums[g] / n**2) / scale if scale > 0 else 0.0
