"""Compiled loops of the over-representation test."""

from __future__ import annotations

import math

import numpy as np

from cellprism.stats.kernels import njit

__all__ = ["beta_binomial_tail", "log_factorials", "matched_tail", "overlap_pvalues", "pair_counts"]

_FEW = 8  # genes of a set in one bin up to which distributions are computed once a list
_MORE_TERMS = 40  # terms of a small tail that are summed beyond the overlap
_MUCH_WORK = 2000  # products above which a tail is first judged by a binomial of the same mean and variance


@njit
def pair_counts(r: np.ndarray, n: int) -> np.ndarray:
    """How many pairs, of the upper triangle of a matrix of correlations, lie at each of ``n`` equally spaced arcsines.

    A pair between two of them counts for each by its nearness.
    """
    out = np.zeros(n)
    for i in range(r.shape[0]):
        for j in range(i + 1, r.shape[0]):
            place = (math.asin(min(max(float(r[i, j]), -1.0), 1.0)) / math.pi + 0.5) * (n - 1)
            low = min(int(place), n - 2)
            out[low] += 1.0 - (place - low)
            out[low + 1] += place - low
    return out


def log_factorials(n: int) -> np.ndarray:
    """(n + 1,) natural log of 0! ... n!."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, n + 1.0)))])


@njit
def _log_choose(table: np.ndarray, n: int, k: int) -> float:
    out: float = table[n] - table[k] - table[n - k]
    return out


@njit
def _hypergeometric(table: np.ndarray, n: int, m: int, length: int, out: np.ndarray) -> int:
    """Probabilities of 0 ... min(m, length) marked genes among ``length`` of n, m of them marked; the last index."""
    low, top = max(0, length + m - n), min(m, length)
    mode = min(max((length + 1) * (m + 1) // (n + 2), low), top)
    out[: top + 1] = 0.0
    out[mode] = math.exp(
        _log_choose(table, m, mode) + _log_choose(table, n - m, length - mode) - _log_choose(table, n, length)
    )
    for j in range(mode, top):
        out[j + 1] = out[j] * ((m - j) * (length - j) / ((j + 1.0) * (n - m - length + j + 1.0)))
    for j in range(mode, low, -1):
        out[j - 1] = out[j] * (j * (n - m - length + j) / ((m - j + 1.0) * (length - j + 1.0)))
    return top


@njit
def _few_marked(drawn: np.ndarray, sizes: np.ndarray, table: np.ndarray, known: np.ndarray) -> None:
    """Fill (bins, marked genes, count) with the distributions of up to ``_FEW`` marked genes a bin."""
    for b in range(sizes.size):
        if drawn[b] > 0:
            for m in range(1, min(_FEW, sizes[b]) + 1):
                _hypergeometric(table, sizes[b], m, drawn[b], known[b, m])


@njit
def _add_bins(
    start: int,
    stop: int,
    bins: np.ndarray,
    marked: np.ndarray,
    drawn: np.ndarray,
    sizes: np.ndarray,
    table: np.ndarray,
    known: np.ndarray,
    most: int,
    total: np.ndarray,
    part: np.ndarray,
) -> int:
    """Distribution of a sum of independent hypergeometric counts up to ``most``; the largest index filled."""
    total[0] = 1.0
    filled = 0
    for i in range(start, stop):
        b, m = bins[i], marked[i]
        if drawn[b] == 0:
            continue
        top = min(m, drawn[b])
        last = min(filled + top, most)
        if m <= _FEW:  # the same loop twice: a view of either array would cost more than the loop
            for j in range(last, -1, -1):
                value = 0.0
                for g in range(max(0, j - filled), min(top, j) + 1):
                    value += known[b, m, g] * total[j - g]
                total[j] = value
        else:
            _hypergeometric(table, sizes[b], m, drawn[b], part)
            for j in range(last, -1, -1):
                value = 0.0
                for g in range(max(0, j - filled), min(top, j) + 1):
                    value += part[g] * total[j - g]
                total[j] = value
        filled = last
    return filled


@njit
def _binomial_tail(k: int, mean: float, variance: float) -> float:
    """P(X >= k) of the binomial with this mean and variance (the number of trials need not be whole)."""
    p = max(1.0 - variance / mean, 1e-9)
    n = mean / p
    if k >= n + 1.0:
        return 0.0
    log_p = math.lgamma(n + 1.0) - math.lgamma(k + 1.0) - math.lgamma(n - k + 1.0)
    term = math.exp(log_p + k * math.log(p) + (n - k) * math.log1p(-p))
    total = term
    j = float(k)
    while j < n:
        term *= (n - j) / (j + 1.0) * p / (1.0 - p)
        total += term
        j += 1.0
        if term < 1e-9 * total:
            break
    return min(total, 1.0)


@njit
def _matched_tail(
    k: int,
    start: int,
    stop: int,
    bins: np.ndarray,
    marked: np.ndarray,
    drawn: np.ndarray,
    sizes: np.ndarray,
    table: np.ndarray,
    known: np.ndarray,
    total: np.ndarray,
    part: np.ndarray,
) -> float:
    """:func:`matched_tail` for k > 0, with the set's bins in a part of two lists, and room for intermediate results."""
    most = 0
    for i in range(start, stop):
        most += min(marked[i], drawn[bins[i]])
    if k > most:
        return 0.0
    if k * most > _MUCH_WORK:
        mean, variance = 0.0, 0.0
        for i in range(start, stop):
            n, length = sizes[bins[i]], drawn[bins[i]]
            share = marked[i] / n
            mean += length * share
            variance += length * share * (1.0 - share) * (n - length) / max(n - 1.0, 1.0)
        if k > mean and _binomial_tail(k, mean, variance) > 0.1:
            return _binomial_tail(k, mean, variance)
    filled = _add_bins(start, stop, bins, marked, drawn, sizes, table, known, k - 1, total, part)
    below = 0.0
    for j in range(filled + 1):
        below += total[j]
    if below < 0.999:
        return max(1.0 - below, 0.0)
    # what is left of 1 would be rounding: sum the tail itself
    filled = _add_bins(start, stop, bins, marked, drawn, sizes, table, known, min(most, k + _MORE_TERMS), total, part)
    tail = 0.0
    for j in range(k, filled + 1):
        tail += total[j]
    return min(tail, 1.0)


@njit
def matched_tail(k: int, marked: np.ndarray, drawn: np.ndarray, sizes: np.ndarray, table: np.ndarray) -> float:
    """P(overlap >= k) of a set with a list, given how both spread over bins of genes.

    Within each bin the list's genes are a random draw, so the overlap is a sum of independent hypergeometric counts;
    with one bin it is the hypergeometric test. The sum is exact, except that a long one whose tail is above 0.1 by the
    binomial of the same mean and variance keeps that value.

    Parameters
    ----------
    marked, drawn, sizes
        (bins,) genes of the set, of the list, and of the background.
    table
        :func:`log_factorials` of at least the largest bin.
    """
    if k <= 0:
        return 1.0
    known = np.zeros((sizes.size, _FEW + 1, _FEW + 1))
    _few_marked(drawn, sizes, table, known)
    room = int(drawn.sum()) + 1
    bins = np.flatnonzero(marked)
    return _matched_tail(
        k, 0, bins.size, bins, marked[bins], drawn, sizes, table, known, np.zeros(room), np.zeros(room)
    )


@njit
def beta_binomial_tail(k: int, m: int, a: float, b: float, table: np.ndarray) -> float:
    """P(X >= k) of a beta-binomial with m trials."""
    if k <= 0:
        return 1.0
    log_p = (
        _log_choose(table, m, k)
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


@njit
def overlap_pvalues(
    hits: np.ndarray,
    length: np.ndarray,
    drawn: np.ndarray,
    set_ptr: np.ndarray,
    set_bins: np.ndarray,
    set_counts: np.ndarray,
    sizes: np.ndarray,
    table: np.ndarray,
    variance: np.ndarray,
    length_of: np.ndarray,
    noise: np.ndarray,
) -> np.ndarray:
    """The larger of the matched hypergeometric and the calibrated beta-binomial tail, (features, sets).

    ``drawn`` (features, bins) says how lists spread over bins of genes, ``set_ptr``, ``set_bins`` and ``set_counts``
    (compressed rows) how sets do, ``sizes`` how large the bins are.
    """
    out = np.ones(hits.shape)
    n_genes = sizes.sum()
    known = np.zeros((sizes.size, _FEW + 1, _FEW + 1))
    room = int(length.max()) + 1
    total, part = np.zeros(room), np.zeros(room)
    for i in range(hits.shape[0]):
        if length[i] == 0:
            continue
        share = length[i] / n_genes
        here = drawn[i]
        share_of = here / sizes
        _few_marked(here, sizes, table, known)
        for s in range(hits.shape[1]):
            k = hits[i, s]
            if k == 0:
                continue
            start, stop = set_ptr[s], set_ptr[s + 1]
            p = _matched_tail(k, start, stop, set_bins, set_counts, here, sizes, table, known, total, part)
            m, expected = 0, 0.0
            for j in range(start, stop):
                m += set_counts[j]
                expected += set_counts[j] * share_of[set_bins[j]]
            plain = m * share * (1.0 - share)
            mu = expected / m
            excess = noise[i] * max(variance[length_of[i], s] / plain - 1.0, 0.0)
            rho = min(excess / (m - 1.0), 0.99)  # variance of a beta-binomial = binomial * (1 + (m - 1) rho)
            if rho > 1e-6 and 0.0 < mu < 1.0:
                scale = 1.0 / rho - 1.0
                p = max(p, beta_binomial_tail(k, m, mu * scale, (1.0 - mu) * scale, table))
            out[i, s] = p
    return out
