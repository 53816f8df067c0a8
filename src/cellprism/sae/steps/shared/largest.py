"""The k largest of a list, for all that cuts lists of entries."""

from __future__ import annotations

from typing import Any

from cellprism.numba_cache import compiled

__all__ = ["keep_largest"]


@compiled()
def keep_largest(value: Any, feature: Any, n: int, k: int) -> None:
    """Move the k largest of the first n entries to the front (quickselect)."""
    lo, hi = 0, n - 1
    while lo < hi:
        pivot = value[(lo + hi) // 2]
        i, j = lo, hi
        while i <= j:
            while value[i] > pivot:
                i += 1
            while value[j] < pivot:
                j -= 1
            if i <= j:
                value[i], value[j] = value[j], value[i]
                feature[i], feature[j] = feature[j], feature[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            hi = j
        elif k - 1 >= i:
            lo = i
        else:
            break
