"""How many cells are looked at at a time: the one rule of all that goes through an embedding piece by piece."""

from __future__ import annotations

from typing import Final

__all__ = ["CHUNK_BYTES", "MOST_ROWS", "rows_at_a_time"]

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
