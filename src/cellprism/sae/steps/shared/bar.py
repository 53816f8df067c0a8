"""A bar that exactly k of some values exceed, found by counting."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled

__all__ = ["bar_of", "count_over"]

_SEARCHES = 100
_INTERPOLATIONS = 16


@compiled(fastmath=FASTMATH)
def count_over(a: Any, w: int, bar: Any) -> int:
    """How many of the w values exceed the bar."""
    n = np.float32(0)  # in the values' own lanes; integers would be widened
    for f in range(w):
        n += np.float32(1) if a[f] > bar else np.float32(0)
    return int(n)


@compiled(fastmath=FASTMATH)
def _mean_positive(a: Any, w: int, positive: int) -> Any:
    s = np.float32(0)
    for f in range(w):
        s += a[f] if a[f] > np.float32(0) else np.float32(0)
    return s / np.float32(positive)


@compiled()
def bar_of(a: Any, w: int, k: int, last: Any) -> Any:
    """A bar that exactly k of the w values exceed; 0 where no more than k are positive.

    The values stay where they are: counting those over a guess takes a cycle for a vector of them, so a few guesses cost
    less than any sorting. ``last``, the cell's bar an epoch ago (0: none), is the first; from there steps grow until the bar
    lies between two guesses, and the next are interpolated.
    """
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    positive = count_over(a, w, zero)
    if positive <= k:
        return zero
    lo, n_lo, hi, n_hi = zero, positive, zero, 0  # hi 0: not known
    guess = last if last > 0 else _mean_positive(a, w, positive)
    reach = np.float32(0.01) if last > 0 else np.float32(0.3)
    for turn in range(_SEARCHES):
        n = count_over(a, w, guess)
        if n == k:
            return guess
        if n > k:
            lo, n_lo = guess, n
        else:
            hi, n_hi = guess, n
        if hi == 0:
            guess = guess * (one + reach)
            reach *= np.float32(3)
            continue
        if lo == 0 and reach < one:
            guess = guess * (one - reach)
            reach *= np.float32(3)
            continue
        share = np.float32(n_lo - k) / np.float32(n_lo - n_hi)
        guess = lo + (hi - lo) * min(max(share, np.float32(0.02)), np.float32(0.98))
        if turn > _INTERPOLATIONS or turn % 4 == 3:  # long tails are halved by their order of magnitude
            guess = np.sqrt(lo) * np.sqrt(hi) if hi > np.float32(4) * lo > 0 else (lo + hi) / two
        if not lo < guess < hi:
            break  # equal values: all of them stay
    return lo
