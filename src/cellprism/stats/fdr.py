"""Benjamini-Hochberg q values within a stated family of tests, for millions of tests at once."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cellprism.stats import fdr_kernels
from cellprism.stats.kernels import last_not_above, log_two_sided, stretch_starts
from cellprism.stats.parallel import for_chunks
from cellprism.stats.sorting import sort_up

__all__ = ["Family", "benjamini_hochberg", "two_sided_log_p"]

_STEP = 1 << 20
_STRETCH = 1 << 15


def two_sided_log_p(z: np.ndarray) -> np.ndarray:
    """Natural log of two-sided normal p values; any shape, NaN kept, finite where z is finite."""
    flat = np.ascontiguousarray(z, dtype=np.float64).ravel()
    out = np.empty(flat.size)

    def part(span: slice) -> None:
        out[span] = log_two_sided(flat[span])

    for_chunks(part, flat.size, _STEP)
    return out.reshape(np.shape(z))


class Family:
    """All tests among which a false discovery rate is controlled (Benjamini & Hochberg, 1995).

    Only the sorted tests are kept, and one number for each stretch of them: q values are computed for the stretches that
    are asked for, so that tables of a few findings need no array of q values for all tests. Tests given in single
    precision are kept so.

    Parameters
    ----------
    tests
        z statistics of two-sided tests, p values, or natural logs of p values; any shape. NaN was not tested and does
        not count.
    kind
        "z", "p" or "log p".
    """

    def __init__(self, tests: np.ndarray, kind: Literal["z", "p", "log p"] = "p") -> None:
        self._kind = {"z": fdr_kernels.Z, "p": fdr_kernels.P, "log p": fdr_kernels.LOG_P}[kind]
        given = np.asarray(tests).ravel()
        keys = np.empty_like(given)

        def take(span: slice) -> None:
            part = keys[span]
            if self._kind == fdr_kernels.Z:
                np.negative(np.abs(given[span], out=part), out=part)
            else:
                part[:] = given[span]

        for_chunks(take, given.size, _STEP)
        sort_up(keys)
        keys = keys[: int(np.searchsorted(keys, keys.dtype.type(np.nan)))]  # NaN sorts last
        self._keys = keys
        n = -(-keys.size // _STRETCH)
        least = np.full(n + 1, np.inf)

        def part(span: slice) -> None:
            for i in range(span.start, span.stop):
                stop = min((i + 1) * _STRETCH, keys.size)
                least[i] = fdr_kernels.least_log_q(keys, i * _STRETCH, stop, self._kind, fdr_kernels.TAIL)

        for_chunks(part, n, 16)
        self._least = np.minimum.accumulate(least[::-1])[::-1]

    def _log_q(self, stretch: int, out: np.ndarray) -> None:
        """Fill the log q values of one stretch."""
        start = stretch * _STRETCH
        after = float(self._least[stretch + 1])
        fdr_kernels.log_q(self._keys, start, start + out.size, self._kind, fdr_kernels.TAIL, after, out)

    def q(self, tests: np.ndarray) -> np.ndarray:
        """Look up q values of some of the family's tests (of the same kind as the family was given)."""
        asked = np.asarray(tests, dtype=self._keys.dtype)
        out = np.full(asked.size, np.nan)
        size = self._keys.size
        if size == 0 or asked.size == 0:
            return out.reshape(asked.shape)
        keys = (-np.abs(asked) if self._kind == fdr_kernels.Z else asked).ravel()
        place = np.empty(keys.size, dtype=np.int64)
        starts, scale = _stretches(self._keys)

        def find(span: slice) -> None:
            # equal tests share the q value of the last of them
            place[span] = last_not_above(self._keys, starts, scale, keys[span])

        for_chunks(find, keys.size, _STEP)
        touched = np.flatnonzero(np.bincount(place // _STRETCH, minlength=self._least.size - 1))
        # untouched stretches of this array are never written and take no memory
        log_q = np.empty(int(touched[-1] + 1) * _STRETCH, dtype=self._keys.dtype)

        def fill(span: slice) -> None:
            for i in touched[span].tolist():
                self._log_q(i, log_q[i * _STRETCH : min((i + 1) * _STRETCH, size)])

        for_chunks(fill, touched.size, 4)

        def look_up(span: slice) -> None:
            out[span] = np.exp(log_q[place[span]].astype(np.float64))

        for_chunks(look_up, keys.size, _STEP)
        out[np.isnan(keys)] = np.nan
        return out.reshape(asked.shape)

    def critical(self, level: float) -> float:
        """The weakest test with a q value of at most ``level``: its p, log p or |z| (-inf or inf when none has)."""
        limit = np.log(level)
        stretch = int(np.searchsorted(self._least[:-1], limit, side="right")) - 1
        if stretch < 0:
            return float("inf") if self._kind == fdr_kernels.Z else float("-inf")
        start = stretch * _STRETCH
        log_q = np.empty(min(_STRETCH, self._keys.size - start))
        self._log_q(stretch, log_q)
        last = float(self._keys[start + int(np.searchsorted(log_q, limit, side="right")) - 1])
        return -last if self._kind == fdr_kernels.Z else last


def _stretches(keys: np.ndarray) -> tuple[np.ndarray, float]:
    """Where stretches of equal width begin among the sorted keys, and the inverse of that width."""
    if keys.size == 0 or not np.isfinite(keys[0]) or keys[-1] <= keys[0]:
        return np.array([0, keys.size], dtype=np.int64), 0.0
    n = int(min(max(keys.size // 16, 1), 1 << 20))
    scale = n / (float(keys[-1]) - float(keys[0]))
    return stretch_starts(keys, scale, n), scale


def benjamini_hochberg(pval: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q values over every entry of an array, whatever its shape; NaN stays NaN and is no test.

    Examples
    --------
    >>> from cellprism.stats.fdr import benjamini_hochberg
    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, np.nan])).round(3)
    array([0.03, 0.04, 0.04,  nan])
    """
    return Family(pval).q(np.asarray(pval, dtype=np.float64))
