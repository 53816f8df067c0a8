"""Sparse columns over cells as bytes: which cells, and how strongly, in 255 levels of the column's largest value."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellprism.report.pack import varint

__all__ = ["LEVELS", "level_columns"]

LEVELS: Final = 255


def level_columns(matrix: sparse.csc_array, start: int, stop: int) -> dict[str, NDArray[Any]]:
    """Pack columns `start` to `stop` of a non-negative matrix with sorted indices.

    Returns
    -------
    ``cell_ptr`` (columns + 1) and ``byte_ptr`` (columns + 1), where each column begins among the values and the bytes;
    ``gap``, the distance of each cell from the one before (the first: from cell 0) as LEB128; ``level``, a value's share
    of its column's largest in 1..255, so that no value becomes a zero.
    """
    at = matrix.indptr[start : stop + 1].astype(np.int64)
    inside = slice(int(at[0]), int(at[-1]))
    ptr = at - at[0]
    cell = matrix.indices[inside].astype(np.int64)
    value = matrix.data[inside]
    counts = np.diff(ptr)
    column = np.repeat(np.arange(stop - start), counts)
    before = np.concatenate([[0], cell[:-1]]) if len(cell) else cell
    before[ptr[:-1][counts > 0]] = 0
    gap = cell - before
    largest = np.zeros(stop - start, dtype=value.dtype)
    np.maximum.at(largest, column, value)
    level = np.rint(value / np.maximum(largest[column], 1e-30) * LEVELS)
    n_bytes = 1 + (gap >= 1 << 7) + (gap >= 1 << 14) + (gap >= 1 << 21)
    return {
        "cell_ptr": ptr.astype(np.uint32),
        "byte_ptr": np.concatenate([[0], np.cumsum(n_bytes)])[ptr].astype(np.uint32),
        "gap": varint(gap),
        "level": np.clip(level, 1, LEVELS).astype(np.uint8),
    }
