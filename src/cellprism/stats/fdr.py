"""Benjamini-Hochberg q values within a stated family of tests, for millions of tests at once."""

from __future__ import annotations

import numpy as np

from cellprism.stats.kernels import log_two_sided
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
    array of q values for all tests.

    Parameters
    ----------
    tests
        p values, or z statistics of two-sided tests; any shape. NaN was not tested and does not count.
    kind
        "p" or "z".
    """

    def __init__(self, tests: np.ndarray, kind: str = "p") -> None:
        self._kind = kind
        keys = np.asarray(tests, dtype=np.float64).ravel()
        keys = keys[~np.isnan(keys)]
        if kind == "z":
            keys = -np.abs(keys)
        keys.sort()
        with np.errstate(divide="ignore"):
            log_q = two_sided_log_p(keys) if kind == "z" else np.log(keys)
        log_q += np.log(max(keys.size, 1)) - np.log(np.arange(1, keys.size + 1))
        self._keys = keys
        self._log_q = np.minimum.accumulate(log_q[::-1])[::-1] if keys.size else log_q

    def q(self, tests: np.ndarray) -> np.ndarray:
        """Look up q values of some of the family's tests (p values or z statistics, as the family was given)."""
        asked = np.asarray(tests, dtype=np.float64)
        keys = -np.abs(asked) if self._kind == "z" else asked
        if self._keys.size == 0:
            return np.full(asked.shape, np.nan)
        # equal tests share the q value of the last of them
        position = np.searchsorted(self._keys, keys, side="right") - 1
        q = np.exp(np.minimum(self._log_q[np.clip(position, 0, self._keys.size - 1)], 0.0))
        out: np.ndarray = np.where(np.isnan(keys), np.nan, q)
        return out

    def critical(self, level: float) -> float:
        """The weakest test with a q value of at most ``level``: its p value or |z| (-inf or inf when none has)."""
        passing = int(np.searchsorted(self._log_q, np.log(level), side="right"))
        if self._kind == "z":
            return float(-self._keys[passing - 1]) if passing else float("inf")
        return float(self._keys[passing - 1]) if passing else float("-inf")


def benjamini_hochberg(pval: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q values over every entry of an array, whatever its shape; NaN stays NaN and is no test."""
    return Family(pval).q(np.asarray(pval, dtype=np.float64))
