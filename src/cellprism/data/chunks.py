"""Pieces: how many cells are looked at at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHUNK_BYTES", "MOST_ROWS", "chunks", "rows_at_a_time"]

MOST_ROWS: Final = 65_536
CHUNK_BYTES: Final = 2**25
"""Of a chunk in double precision, of which what is computed holds a handful of copies."""


def rows_at_a_time(columns: int) -> int:
    """Rows of so many columns whose copies in double precision stay small: 65,536, fewer above 64 columns.

    Examples
    --------
    >>> from cellprism.data.chunks import rows_at_a_time
    >>> rows_at_a_time(50), rows_at_a_time(512)
    (65536, 8192)
    """
    return max(1, min(MOST_ROWS, CHUNK_BYTES // (8 * max(columns, 1))))


def chunks(X: NDArray[Any], rows: NDArray[np.intp] | None = None, columns: int = 0) -> Iterator[NDArray[np.float64]]:
    """Some rows of an embedding (None: all) in double precision, a chunk at a time: a memory map is never held whole.

    Parameters
    ----------
    columns
        Numbers that are made of each row, where these are more than it has.
    """
    step = rows_at_a_time(max(X.shape[1], columns))
    for start in range(0, len(X) if rows is None else len(rows), step):
        part = slice(start, start + step)
        yield np.asarray(X[part] if rows is None else X[rows[part]], dtype=np.float64)
