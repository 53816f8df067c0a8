"""Benjamini-Hochberg q values within a stated family of tests, for millions of tests at once."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cellprism.stats.kernels import last_not_above, log_two_sided, stretch_starts
from cellprism.stats.parallel import for_chunks

__all__ = ["Family", "benjamini_hochberg", "two_sided_log_p"]

_STEP = 1 << 20


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

    Only the sorted tests are kept: the q value of any of them is looked up, so that tables of a few findings need no
    array of q values for all tests. Tests given in single precision are kept so.

    Parameters
    ----------
    tests
        z statistics of two-sided tests, p values, or natural logs of p values; any shape. NaN was not tested and does
        not count.
    kind
        "z", "p" or "log p".
    """

    def __init__(self, tests: np.ndarray, kind: Literal["z", "p", "log p"] = "p") -> None:
        self._kind = kind
        keys = np.asarray(tests).ravel()
        keys = keys[~np.isnan(keys)]
        if kind == "z":
            np.negative(np.abs(keys, out=keys), out=keys)
        keys.sort()
        log_q = np.empty_like(keys)

        def part(span: slice) -> None:
            with np.errstate(divide="ignore"):
                log_p = (
                    keys[span] if kind == "log p" else log_two_sided(keys[span]) if kind == "z" else np.log(keys[span])
                )
            rank = np.arange(span.start + 1, span.stop + 1)
            log_q[span] = np.minimum(log_p + np.log(keys.size / rank), 0.0)

        for_chunks(part, keys.size, _STEP)
        np.minimum.accumulate(log_q[::-1], out=log_q[::-1])
        self._keys, self._log_q = keys, log_q
        self._start, self._scale = _stretches(keys)

    def q(self, tests: np.ndarray) -> np.ndarray:
        """Look up q values of some of the family's tests (of the same kind as the family was given)."""
        asked = np.asarray(tests, dtype=self._keys.dtype)
        out = np.full(asked.size, np.nan)
        if self._keys.size == 0:
            return out.reshape(asked.shape)
        keys = (-np.abs(asked) if self._kind == "z" else asked).ravel()

        def part(span: slice) -> None:
            # equal tests share the q value of the last of them
            position = last_not_above(self._keys, self._start, self._scale, keys[span])
            out[span] = np.exp(self._log_q[position].astype(np.float64))

        for_chunks(part, keys.size, _STEP)
        out[np.isnan(keys)] = np.nan
        return out.reshape(asked.shape)

    def critical(self, level: float) -> float:
        """The weakest test with a q value of at most ``level``: its p, log p or |z| (-inf or inf when none has)."""
        passing = int(np.searchsorted(self._log_q, np.log(level), side="right"))
        if self._kind == "z":
            return float(-self._keys[passing - 1]) if passing else float("inf")
        return float(self._keys[passing - 1]) if passing else float("-inf")


def _stretches(keys: np.ndarray) -> tuple[np.ndarray, float]:
    """Where stretches of equal width begin among the sorted keys, and the inverse of that width."""
    if keys.size == 0 or not np.isfinite(keys[0]) or keys[-1] <= keys[0]:
        return np.array([0, keys.size], dtype=np.int64), 0.0
    n = int(min(max(keys.size // 16, 1), 1 << 20))
    scale = n / (float(keys[-1]) - float(keys[0]))
    return stretch_starts(keys, scale, n), scale


def benjamini_hochberg(pval: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q values over every entry of an array, whatever its shape; NaN stays NaN and is no test."""
    return Family(pval).q(np.asarray(pval, dtype=np.float64))
