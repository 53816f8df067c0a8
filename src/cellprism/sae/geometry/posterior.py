"""Posterior of sparse codes under noise: each code off, or on with a truncated normal value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_ndtr

from cellprism.numba_cache import FASTMATH, compiled
from cellprism.sae.steps.shared.threads import spread

__all__ = ["Posterior", "Prior", "posterior"]

_CELLS = 64  # at a time, so that what they leave unexplained stays in the nearest cache
_LOWEST, _HIGHEST, _PER_UNIT = -16.0, 9.0, 32
_GRID = np.arange(_LOWEST, _HIGHEST + 1 / _PER_UNIT, 1 / _PER_UNIT)
_LOG_CDF = log_ndtr(_GRID)
_MILLS = np.exp(-(_GRID**2) / 2 - _LOG_CDF) / np.sqrt(2 * np.pi)  # density over distribution function


class Prior(NamedTuple):
    """Spike and slab of each feature."""

    share: NDArray[np.floating]
    """(p, regions): probability of being on."""
    mean: NDArray[np.float64]
    """(p,): of the normal distribution that is truncated at zero."""
    sd: NDArray[np.float64]
    """(p,)."""


class Posterior(NamedTuple):
    """(cells, p) each."""

    mean: NDArray[np.float32]
    square: NDArray[np.float32]
    """Second moment."""
    on: NDArray[np.float32]
    """Probability of being on."""


def posterior(
    X: NDArray[np.float32],
    start: NDArray[np.float32],
    D: NDArray[np.float64],
    c: NDArray[np.float64],
    prior: Prior,
    noise: float,
    sweeps: int,
    region: NDArray[np.integer] | None = None,
) -> Posterior:
    """Mean-field posterior of the codes of ``x = s D + c + noise``, feature by feature.

    Parameters
    ----------
    X, start
        (cells, d) and (cells, p): embedding, and the codes' means to start from.
    D, c
        (p, d) and (d,).
    prior
        Of the codes.
    noise
        Variance a dimension.
    sweeps
        Times that all features are gone through.
    region
        (cells,) column of the prior's shares for each cell; None = the first.
    """
    gram = np.ascontiguousarray(D @ D.T / noise, dtype=np.float32)
    mean = np.array(start, dtype=np.float32, order="C")
    left = np.asarray((X - c) @ D.T / noise, dtype=np.float32) - mean @ gram
    v = 1 / np.diag(gram).astype(np.float64).clip(1e-12)
    variance = np.square(prior.sd)
    base = np.log(prior.share / (1 - prior.share)).T - log_ndtr(prior.mean / prior.sd) - np.log1p(variance / v) / 2
    where = np.zeros(len(X), np.int64) if region is None else np.asarray(region, dtype=np.int64)
    square, on = np.empty_like(mean), np.empty_like(mean)
    spread(
        _sweep, len(X), left, gram, v, variance, np.asarray(prior.mean, dtype=np.float64), np.ascontiguousarray(base), where,
        sweeps, _LOG_CDF, _MILLS, mean, square, on, threads=torch.get_num_threads(),
    )  # fmt: skip
    return Posterior(mean, square, on)


@compiled(inline="always")
def _log_cdf_and_mills(a: float, log_cdf: Any, mills: Any) -> tuple[float, float]:
    """Logarithm of the normal distribution function, and density over distribution function: a Taylor series each."""
    if a <= _LOWEST:  # asymptotic series
        i = 1 / (a * a)
        series = 1 - i * (1 - 3 * i * (1 - 5 * i * (1 - 7 * i)))
        return -a * a / 2 - 0.9189385332046727 + np.log(series / -a), -a / series
    if a >= _HIGHEST:
        return 0.0, 0.0
    at = int((a - _LOWEST) * _PER_UNIT + 0.5)
    h = a - (_LOWEST + at / _PER_UNIT)
    centre = _LOWEST + at / _PER_UNIT
    r = mills[at]
    # Derivatives of the ratio r: r' = -r (a + r), and so on.
    first = -r * (centre + r)
    second = -first * (centre + 2 * r) - r
    third = -second * (centre + 2 * r) - 2 * first * (1 + first)
    return (
        log_cdf[at] + h * (r + h * (first / 2 + h * (second / 6 + h * third / 24))),
        r + h * (first + h * (second / 2 + h * third / 6)),
    )


@compiled(fastmath=FASTMATH)
def _sweep(
    lo: int, hi: int, left: Any, gram: Any, v: Any, variance: Any, centre: Any, base: Any, region: Any, sweeps: int,
    log_cdf: Any, mills: Any, mean: Any, square: Any, on: Any,
) -> None:  # fmt: skip
    """Fill ``square`` and ``on`` and renew ``mean`` for the cells ``lo:hi``; ``left`` is (x - c - s D) D' / noise."""
    p = len(gram)
    rest, codes = np.empty((p, _CELLS), np.float32), np.empty((p, _CELLS), np.float32)
    squares, shares = np.empty((p, _CELLS), np.float32), np.empty((p, _CELLS), np.float32)
    change = np.empty(_CELLS, np.float32)
    for begin in range(lo, hi, _CELLS):
        n = min(_CELLS, hi - begin)
        for i in range(n):
            for j in range(p):
                rest[j, i], codes[j, i] = left[begin + i, j], mean[begin + i, j]
        for _ in range(sweeps):
            for j in range(p):
                vj, wj, cj = v[j], variance[j], centre[j]
                both = vj + wj
                s = np.sqrt(wj * vj / both)
                for i in range(n):
                    z = rest[j, i] * vj + codes[j, i]  # where the rest of the dictionary leaves this code
                    m = (z * wj + cj * vj) / both
                    log_phi, ratio = _log_cdf_and_mills(m / s, log_cdf, mills)
                    log_odds = base[region[begin + i], j] + log_phi + z * z / (2 * vj) - (z - cj) ** 2 / (2 * both)
                    q = 1 / (1 + np.exp(-min(max(log_odds, -30.0), 30.0)))
                    new = q * (m + s * ratio)
                    squares[j, i], shares[j, i] = q * (m * m + s * s + m * s * ratio), q
                    change[i] = np.float32(new) - codes[j, i]
                    codes[j, i] = new
                for other in range(p):
                    g = gram[j, other]
                    for i in range(n):
                        rest[other, i] -= g * change[i]
        for i in range(n):
            for j in range(p):
                mean[begin + i, j], square[begin + i, j], on[begin + i, j] = codes[j, i], squares[j, i], shares[j, i]
