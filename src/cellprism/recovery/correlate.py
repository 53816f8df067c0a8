"""Correlation and AUROC of every feature with every variable, sparse codes kept sparse."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

__all__ = ["MIN_CELLS", "auroc", "correlations", "eta_squared", "is_sparse", "largest_other"]

MIN_CELLS = 30
"""Fewer visible cells than this say nothing about a correlation: the best of thousands of features is then chance."""

_DENSE_ABOVE = 0.05  # share of non-zero codes from which a BLAS product beats the sparse one
_BLOCK = 2_048  # features made dense at once

Codes: TypeAlias = Any  # NDArray (cells, features) or scipy.sparse.csc_array; their common methods have no common type


def is_sparse(array: Any) -> bool:
    """Tell whether an array is sparse, as a plain bool: the type checker narrows ``issparse`` to a class without methods."""
    return bool(sparse.issparse(array))


def correlations(codes: Codes, values: NDArray[Any], visible: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
    """Correlate all features with all variables, each among the cells where the variable is visible.

    Parameters
    ----------
    codes
        (cells, features), dense or CSC.
    values
        (cells, variables).
    visible
        (cells, variables); None: all cells for all.

    Returns
    -------
    Pearson r, (features, variables). 0 for a feature constant among these cells; NaN for a variable that is constant
    or visible in fewer than :data:`MIN_CELLS` cells.
    """
    T = values - values.mean(axis=0, dtype=np.float64)
    M = None if visible is None else visible.astype(np.float64)
    n = np.full(T.shape[1], len(T), dtype=np.float64) if M is None else M.sum(axis=0)
    MT = T if M is None else M * T
    s_t, s_tt = MT.sum(axis=0), (MT * T).sum(axis=0)
    count = np.maximum(n, 1)
    ss_t = s_tt - s_t**2 / count
    usable = (ss_t > 1e-9 * np.maximum(s_tt, 1e-30)) & (ss_t > 1e-12 * count)
    if visible is not None:
        usable &= n >= MIN_CELLS
    out = np.full((codes.shape[1], T.shape[1]), np.nan, dtype=np.float32)
    for block in _blocks(codes):
        C = _block(codes, block)
        squares = C.multiply(C) if is_sparse(C) else C * C
        s_ct = C.T @ MT
        if M is None:
            s_c, s_cc = _column_sums(C)[:, None], _column_sums(squares)[:, None]
        else:
            s_c, s_cc = C.T @ M, squares.T @ M
        ss_c = s_cc - s_c**2 / count
        # Centred sums of squares below rounding of the raw ones are zero: the feature is constant here.
        varies = ss_c > 1e-10 * np.maximum(s_cc, 1e-30)
        with np.errstate(divide="ignore", invalid="ignore"):
            r = (s_ct - s_c * s_t / count) / np.sqrt(ss_c * ss_t)
        r = np.where(varies, np.clip(r, -1, 1), 0)
        out[block] = np.where(usable, r, np.nan)
    return out


def auroc(codes: Codes, indicators: NDArray[Any]) -> NDArray[np.float32]:
    """Score every feature as detector of every category, ties counted half.

    Parameters
    ----------
    codes
        (cells, features), dense or CSC; sparse codes must be positive where stored.
    indicators
        (cells, categories), 0 or 1.

    Returns
    -------
    P(feature higher in the category than outside), (features, categories); NaN for a category with all cells or none.
    """
    inside = indicators.sum(axis=0, dtype=np.float64)
    outside = len(indicators) - inside
    out = np.empty((codes.shape[1], indicators.shape[1]), dtype=np.float32)
    for block in _blocks(codes):
        C = _block(codes, block)
        if is_sparse(C):
            ranks, floor = _sparse_ranks(C)
            rank_sum = ranks.T @ indicators + floor[:, None] * inside
        else:
            rank_sum = rankdata(C, axis=0).T @ indicators
        with np.errstate(divide="ignore", invalid="ignore"):
            out[block] = (rank_sum - inside * (inside + 1) / 2) / (inside * outside)
    return out


def eta_squared(codes: Codes, indicators: NDArray[Any]) -> NDArray[np.float32]:
    """Compute the share of each feature's variance that lies between categories.

    Parameters
    ----------
    codes
        (cells, features), dense or CSC.
    indicators
        (cells, categories), one 1 a row.

    Returns
    -------
    Eta squared a feature, (features,); 0 for a constant feature.
    """
    inside = np.maximum(indicators.sum(axis=0, dtype=np.float64), 1)
    out = np.empty(codes.shape[1], dtype=np.float32)
    for block in _blocks(codes):
        C = _block(codes, block)
        total, by_category = _column_sums(C), C.T @ indicators
        squares = _column_sums(C.multiply(C) if is_sparse(C) else C * C)
        ss_total = squares - total**2 / len(indicators)
        ss_between = (by_category**2 / inside).sum(axis=1) - total**2 / len(indicators)
        varies = ss_total > 1e-10 * np.maximum(squares, 1e-30)
        out[block] = np.where(varies, ss_between / np.where(varies, ss_total, 1), 0)
    return out


def largest_other(codes: Codes) -> NDArray[np.float32]:
    """Find each feature's largest |r| with another feature, (features,); never with itself; 0 for a lone feature."""
    n = codes.shape[1]
    out = np.zeros(n, dtype=np.float32)
    if n < 2:
        return out
    if is_sparse(codes) and codes.nnz <= _DENSE_ABOVE * codes.shape[0] * n:
        for block in _blocks(codes):
            r = np.abs(correlations(codes, _dense(codes, block)))
            r[np.arange(block.start, block.stop), np.arange(block.stop - block.start)] = 0
            out[block] = np.nan_to_num(r).max(axis=0)
        return out
    unit = np.empty(codes.shape, dtype=np.float32)
    for block in _blocks(codes):
        dense = _dense(codes, block)
        raw = np.einsum("ij,ij->j", dense, dense)
        dense -= dense.mean(axis=0)
        squares = np.einsum("ij,ij->j", dense, dense)
        varies = squares > 1e-10 * np.maximum(raw, 1e-30)
        unit[:, block] = dense * np.where(varies, 1 / np.sqrt(np.where(varies, squares, 1)), 0)
    for block in _blocks(codes, _BLOCK // 4):  # each pair once: a feature with those from its block on
        r = np.abs(unit[:, block].T @ unit[:, block.start :])
        r[np.arange(len(r)), np.arange(len(r))] = 0
        out[block] = np.maximum(out[block], r.max(axis=1))
        out[block.start :] = np.maximum(out[block.start :], r.max(axis=0))
    return np.minimum(out, 1)


def _blocks(codes: Codes, size: int = _BLOCK) -> list[slice]:
    n = codes.shape[1]
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _block(codes: Codes, block: slice) -> Any:
    """Give a block in float64: sparse where that is cheaper, else dense and centred (which no score sees but rounding)."""
    if is_sparse(codes):
        part = codes[:, block]
        if part.nnz <= _DENSE_ABOVE * part.shape[0] * part.shape[1] and (part.nnz == 0 or part.data.min() > 0):
            return part.astype(np.float64)
    dense = _dense(codes, block)
    return dense - dense.mean(axis=0)


def _dense(codes: Codes, block: slice) -> NDArray[np.float64]:
    part = codes[:, block]
    return np.asarray(part.toarray() if is_sparse(part) else part, dtype=np.float64)


def _column_sums(C: Any) -> NDArray[np.float64]:
    return np.asarray(C.sum(axis=0), dtype=np.float64).ravel()


def _sparse_ranks(C: sparse.csc_array) -> tuple[sparse.csc_array, NDArray[np.float64]]:
    """Rank positive codes within columns: stored rank minus the rank of a zero, and that rank of a zero."""
    n, per_column = C.shape[0], np.diff(C.indptr)
    floor = (n - per_column + 1) / 2
    column = np.repeat(np.arange(C.shape[1]), per_column)
    order = np.lexsort((C.data, column))
    data, column = C.data[order], column[order]
    new = np.ones(len(data), dtype=bool)
    new[1:] = (column[1:] != column[:-1]) | (data[1:] != data[:-1])
    starts = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    last = np.append(starts[1:], len(data)) - 1
    middle = (starts + last)[run] / 2 if len(data) else np.empty(0)
    ranks = np.empty(len(data))
    ranks[order] = middle - C.indptr[column] + 1 + (n - per_column)[column] - floor[column]
    return sparse.csc_array((ranks, C.indices, C.indptr), shape=C.shape), floor
