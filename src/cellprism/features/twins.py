"""Features of nearly the same activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["twins", "without_twins"]

_TWINS = 0.8  # correlation of activations over cells from which on two features are called alike
_BLOCK = 512
_CELLS = 2**15


def _correlations(codes: sp.csc_array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pearson's r of some features with others; 0 where one of them is constant."""
    n = codes.shape[0]
    product = np.zeros((rows.size, columns.size))
    sums, squares = ([np.zeros(which.size) for which in (rows, columns)] for _ in range(2))
    for cells in _some_cells(codes):
        sides = [sp.csc_array(cells[:, which], dtype=np.float64) for which in (rows, columns)]
        product += (sides[0].T @ sides[1]).toarray()
        for i, side in enumerate(sides):
            sums[i] += side.sum(axis=0)
            squares[i] += side.power(2).sum(axis=0)
    means = [total / n for total in sums]
    sds = [np.sqrt(np.maximum(square / n - mean**2, 0.0)) for square, mean in zip(squares, means, strict=True)]
    covariance, scale = product / n - np.outer(*means), np.outer(*sds)
    out: NDArray[np.float64] = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return out


def _some_cells(codes: sp.csc_array) -> Iterator[sp.sparray]:
    """The codes some cells at a time: in double precision, and squared, all of them would be several copies."""
    if codes.shape[0] <= _CELLS:
        yield codes
        return
    by_cell = codes.tocsr()
    for start in range(0, codes.shape[0], _CELLS):
        yield by_cell[start : start + _CELLS]


def twins(codes: sp.csc_array) -> NDArray[np.int64]:
    """For each feature the earlier one whose activations it follows most closely, at r >= 0.8; -1 for none."""
    n = codes.shape[1]
    out = np.full(n, -1, dtype=np.int64)
    every = np.arange(n)
    for start in range(0, n, _BLOCK):
        rows = every[start : start + _BLOCK]
        r = _correlations(codes, rows, every[: rows[-1] + 1])
        r[every[None, : rows[-1] + 1] >= rows[:, None]] = -1.0
        nearest = r.argmax(axis=1)
        close = r[np.arange(rows.size), nearest] >= _TWINS
        out[rows[close]] = nearest[close]
    return out


def without_twins(codes: sp.csc_array, ranked: Sequence[int], n: int, r: float = _TWINS) -> list[int]:
    """The first ``n`` features of a ranking, each left out that follows a better one that is kept at ``r`` or more."""
    kept: list[int] = []
    for f in ranked:
        if len(kept) == n:
            break
        if not kept or _correlations(codes, np.array([f]), np.array(kept)).max() < r:
            kept.append(int(f))
    return kept
