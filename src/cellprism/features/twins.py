"""Features of nearly the same activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["twins", "without_twins"]

_TWINS = 0.8  # correlation of activations over cells from which on two features are called alike
_BLOCK = 512


def _correlations(codes: sp.csc_array, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pearson's r of some features with others; 0 where one of them is constant."""

    def moments(which: NDArray[np.int64]) -> tuple[sp.csc_array, NDArray[np.float64], NDArray[np.float64]]:
        part = sp.csc_array(codes[:, which], dtype=np.float64)
        mean = part.sum(axis=0) / codes.shape[0]
        sd = np.sqrt(np.maximum(part.power(2).sum(axis=0) / codes.shape[0] - mean**2, 0.0))
        return part, mean, sd

    (a, mean_a, sd_a), (b, mean_b, sd_b) = moments(rows), moments(columns)
    covariance = (a.T @ b).toarray() / codes.shape[0] - np.outer(mean_a, mean_b)
    scale = np.outer(sd_a, sd_b)
    out: NDArray[np.float64] = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    return out


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
