"""Compiled loops of the over-representation test."""

from __future__ import annotations

import math

import numba
import numpy as np

from cellprism.stats.kernels import njit

__all__ = ["overlap_pvalues", "top_lists"]


@njit(parallel=True)
def _top(z: np.ndarray, ptr: np.ndarray) -> np.ndarray:
    out = np.empty(ptr[-1], dtype=np.int64)
    for i in numba.prange(z.shape[0]):
        k = ptr[i + 1] - ptr[i]
        if k > 0:
            row = z[i]
            # only the genes at or above the k-th value need an order; ties at the edge go to the first gene
            edge = np.partition(row, row.size - k)[row.size - k]
            above = np.flatnonzero(row > edge)
            level = np.flatnonzero(row == edge)
            order = np.argsort(-row[above], kind="mergesort")
            out[ptr[i] : ptr[i] + above.size] = above[order]
            out[ptr[i] + above.size : ptr[i + 1]] = level[: k - above.size]
    return out


def top_lists(z: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the largest values of each row: row pointers and positions."""
    ptr = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    return ptr, _top(z, ptr)


@njit(parallel=False)
def _log_choose(n: float, k: float) -> float:
    return math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)


@njit(parallel=False)
def hypergeometric_tail(k: int, n_genes: int, m: int, length: int) -> float:
    """P(overlap >= k) of a set of m with a list among n_genes genes."""
    if k <= 0:
        return 1.0
    top = min(m, length)
    if k > top or k < 0:
        return 0.0
    low = max(k, length + m - n_genes)
    log_p = _log_choose(m, low) + _log_choose(n_genes - m, length - low) - _log_choose(n_genes, length)
    term = math.exp(log_p)
    total = term
    for j in range(low, top):
        term *= (m - j) * (length - j) / ((j + 1.0) * (n_genes - m - length + j + 1.0))
        total += term
        if term < 1e-12 * total:
            break
    return min(total, 1.0)


@njit(parallel=False)
def beta_binomial_tail(k: int, m: int, a: float, b: float) -> float:
    """P(X >= k) of a beta-binomial with m trials."""
    if k <= 0:
        return 1.0
    log_p = (
        _log_choose(m, k)
        + math.lgamma(k + a)
        + math.lgamma(m - k + b)
        - math.lgamma(m + a + b)
        + math.lgamma(a + b)
        - math.lgamma(a)
        - math.lgamma(b)
    )
    term = math.exp(log_p)
    total = term
    for j in range(k, m):
        term *= (m - j) * (j + a) / ((j + 1.0) * (m - j - 1.0 + b))
        total += term
        if term < 1e-12 * total:
            break
    return min(total, 1.0)


@njit(parallel=True)
def overlap_pvalues(
    hits: np.ndarray,
    length: np.ndarray,
    sizes: np.ndarray,
    n_genes: int,
    mean: np.ndarray,
    variance: np.ndarray,
    bin_of: np.ndarray,
    length_of: np.ndarray,
    noise: np.ndarray,
) -> np.ndarray:
    """The larger of the hypergeometric and the matched beta-binomial tail, (features, sets)."""
    out = np.ones(hits.shape)
    for i in numba.prange(hits.shape[0]):
        if length[i] == 0:
            continue
        for s in range(hits.shape[1]):
            k = hits[i, s]
            if k == 0:
                out[i, s] = 1.0
                continue
            m = sizes[s]
            p = hypergeometric_tail(k, n_genes, m, length[i])
            share = length[i] / n_genes
            plain = m * share * (1.0 - share)
            mu = max(mean[bin_of[i], length_of[i], s], m * share) / m
            excess = noise[i] * max(variance[bin_of[i], length_of[i], s] / plain - 1.0, 0.0)
            rho = min(excess / (m - 1.0), 0.99)  # variance of a beta-binomial = binomial * (1 + (m - 1) rho)
            if rho > 1e-6 and 0.0 < mu < 1.0:
                scale = 1.0 / rho - 1.0
                p = max(p, beta_binomial_tail(k, m, mu * scale, (1.0 - mu) * scale))
            out[i, s] = p
    return out
