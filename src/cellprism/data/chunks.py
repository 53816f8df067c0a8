"""Pieces: how many cells are looked at at a time, and whether a store has all of its chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cellprism.errors import InputError

__all__ = ["CHUNK_BYTES", "MOST_ROWS", "chunks", "refuse_lost_chunks", "rows_at_a_time"]

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


def refuse_lost_chunks(matrix: Any, where: str) -> None:
    """Refuse a sparse matrix on Zarr of which a file of values is gone: it would be read as zeros.

    Of its columns a chunk may well be all zeros, which Zarr does not write; where one is lost, rows name column 0 twice.

    Parameters
    ----------
    matrix
        Its group; anything else passes.
    """
    if not (hasattr(matrix, "store") and hasattr(matrix, "keys") and "data" in matrix and "indptr" in matrix):
        return
    values = matrix["data"]
    lost = int(values.nchunks) - int(values.nchunks_initialized)
    if lost > 0 and values.fill_value in (0, None):
        raise InputError(
            "a store holds all its chunks",
            f"{lost:,} of {int(values.nchunks):,} chunks of values missing in {where}",
            "copy it again, or write it again",
        )
