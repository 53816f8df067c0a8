"""Compiled loops behind Benjamini-Hochberg q values of sorted tests, a stretch of them at a time."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import chebyshev
from scipy import special

from cellprism.stats.kernels import vector_njit

__all__ = ["LOG_P", "TAIL", "P", "Z", "least_log_q", "log_one_sided", "log_q"]

Z, P, LOG_P = 0, 1, 2
"""What the sorted keys are: -|z| of two-sided tests, p values, natural logs of p values."""
_SPAN = 512
_LN2 = 0.6931471805599453


def _tail_polynomial(degree: int = 20) -> np.ndarray:
    """Coefficients of log(erfcx(x) / t) in y = 2 t - 1, t = 2 / (2 + x): log p without a logarithm of a tiny number.

    The function is smooth on all of 0 < t <= 1, so that one polynomial serves every x; its error is about 1e-13.
    """
    y = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    t = (y + 1.0) / 2.0
    fitted = chebyshev.chebfit(y, np.log(special.erfcx(2.0 / t - 2.0) / t), degree)
    out: np.ndarray = chebyshev.cheb2poly(fitted)
    return out


TAIL = _tail_polynomial()


@vector_njit
def _log(x: np.ndarray, bits: np.ndarray, exponent: np.ndarray) -> None:
    """Natural logarithm in place of positive normal numbers; ``bits`` is the same memory seen as int64."""
    for j in range(x.size):
        whole = bits[j]
        exponent[j] = np.float64((whole >> 52) - 1023)
        bits[j] = (whole & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000
    for j in range(x.size):
        m = x[j]
        large = m > 1.4142135623730951
        m = 0.5 * m if large else m
        s = (m - 1.0) / (m + 1.0)
        q = s * s
        tail = q * (1 / 11 + q * (1 / 13 + q * (1 / 15 + q * (1 / 17 + q * (1 / 19)))))
        series = 1.0 + q * (1 / 3 + q * (1 / 5 + q * (1 / 7 + q * (1 / 9 + tail))))
        x[j] = _LN2 * (exponent[j] + (1.0 if large else 0.0)) + 2.0 * s * series


@vector_njit
def _values(
    keys: np.ndarray,
    start: int,
    n_tests: int,
    kind: int,
    tail: np.ndarray,
    out: np.ndarray,
    bits: np.ndarray,
    more: np.ndarray,
) -> None:
    """``log p + log(tests / rank)`` of keys ``start`` ... ``start + out.size``."""
    n = out.size
    for j in range(n):
        out[j] = n_tests / (start + j + 1.0)
    if kind == 0:
        for j in range(n):
            x = -np.float64(keys[start + j]) * 0.7071067811865476
            out[j] *= 2.0 / (2.0 + x)
        _log(out, bits, more)
        for j in range(n):
            x = -np.float64(keys[start + j]) * 0.7071067811865476
            y = 4.0 / (2.0 + x) - 1.0
            s = tail[20]
            for c in range(19, -1, -1):
                s = s * y + tail[c]
            out[j] += s - x * x
    elif kind == 1:
        for j in range(n):
            p = np.float64(keys[start + j])
            out[j] = math.log(p * out[j]) if p > 0.0 else -np.inf
    else:
        _log(out, bits, more)
        for j in range(n):
            out[j] += keys[start + j]


@vector_njit
def least_log_q(keys: np.ndarray, start: int, stop: int, kind: int, tail: np.ndarray) -> float:
    """The least of ``log p + log(tests / rank)`` among sorted keys ``start`` ... ``stop``."""
    buffer, more = np.empty(_SPAN), np.empty(_SPAN)
    bits = buffer.view(np.int64)
    least = np.inf
    for a in range(start, stop, _SPAN):
        n = min(_SPAN, stop - a)
        _values(keys, a, keys.size, kind, tail, buffer[:n], bits[:n], more[:n])
        for j in range(n):
            least = min(least, buffer[j])
    return least


@vector_njit
def log_q(keys: np.ndarray, start: int, stop: int, kind: int, tail: np.ndarray, after: float, out: np.ndarray) -> None:
    """Log q values of sorted keys ``start`` ... ``stop``; ``after`` is the least value among the keys behind them."""
    buffer, more = np.empty(_SPAN), np.empty(_SPAN)
    bits = buffer.view(np.int64)
    running = min(after, 0.0)
    spans = -(-(stop - start) // _SPAN)
    for i in range(spans - 1, -1, -1):
        a = start + i * _SPAN
        n = min(_SPAN, stop - a)
        _values(keys, a, keys.size, kind, tail, buffer[:n], bits[:n], more[:n])
        for j in range(n - 1, -1, -1):
            running = min(running, buffer[j])
            out[a - start + j] = running


@vector_njit
def log_one_sided(z: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Natural logs of one-sided normal p values of (rows, items) z: (rows, 2, items), up then down.

    On the side that z does not point to, where p lies above one half, 0 is given.
    """
    n_rows, n = z.shape
    out = np.empty((n_rows, 2, n))
    value, more = np.empty(n), np.empty(n)
    bits = value.view(np.int64)
    for i in range(n_rows):
        for j in range(n):
            value[j] = 1.0 / (2.0 + abs(z[i, j]) * 0.7071067811865476)
        _log(value, bits, more)
        for j in range(n):
            x = abs(z[i, j]) * 0.7071067811865476
            y = 4.0 / (2.0 + x) - 1.0
            s = tail[20]
            for c in range(19, -1, -1):
                s = s * y + tail[c]
            log_p = value[j] + s - x * x
            out[i, 0, j] = log_p if z[i, j] >= 0.0 else 0.0
            out[i, 1, j] = 0.0 if z[i, j] > 0.0 else log_p
    return out
