"""Expression that may be larger than memory: one CSR matrix whose values lie in memory, or in temporary files.

What walks such a matrix in blocks of rows works on either, and gives the same numbers: blocks are the same, wherever it lies.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator

import numpy as np
import scipy.sparse as sp

from cellprism.data.scratch import Growing
from cellprism.data.sparse import stacked

__all__ = ["HELD", "Gathering", "changed", "on_disk", "pieces", "row_blocks", "rows_of"]

HELD = 2**30
"""Bytes of a matrix that are held in memory, where nothing else is asked for."""
_ENTRIES = 2**22
"""Stored values of a block: 32 MiB."""


def on_disk(values: sp.csr_array) -> bool:
    """Whether the values of a matrix are mapped from a file."""
    base = values.data
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap):
            return True
        base = base.base
    return isinstance(base, mmap.mmap)


def pieces(size: int) -> Iterator[slice]:
    """Stretches of a long array, so short that what is made of one is small."""
    return (slice(start, min(start + _ENTRIES, size)) for start in range(0, size, _ENTRIES))


def row_blocks(values: sp.csr_array, most: int | None = None) -> Iterator[sp.csr_array]:
    """The rows in order, as many at a time as hold about four million values, at most ``most``; copies of nothing but pointers."""
    n, ptr = values.shape[0], values.indptr
    start = 0
    while start < n:
        stop = int(np.searchsorted(ptr, ptr[start] + _ENTRIES, side="right")) - 1
        stop = min(max(stop, start + 1), n, n if most is None else start + most)
        here = slice(int(ptr[start]), int(ptr[stop]))
        block = sp.csr_array((stop - start, values.shape[1]), dtype=values.dtype)
        block.data, block.indices = values.data[here], values.indices[here]
        block.indptr = (ptr[start : stop + 1] - ptr[start]).astype(block.indices.dtype)
        block.has_sorted_indices = block.has_canonical_format = True
        yield block
        start = stop


class Gathering:
    """Blocks of rows put below each other within a ``with``: in memory up to so many bytes, in temporary files beyond.

    Parameters
    ----------
    columns
        Of the matrix.
    limit
        Bytes of values and their columns; 0: all into files.
    """

    def __init__(self, columns: int, limit: float) -> None:
        self._columns, self._limit = columns, limit
        self._held: list[sp.csr_array] = []
        self._bytes = 0
        self._files: tuple[Growing, Growing] | None = None
        self._lengths = [np.zeros(1, np.int64)]

    def __enter__(self) -> Gathering:
        return self

    def __exit__(self, *error: object) -> None:
        self._held.clear()
        for file in self._files or ():
            file.__exit__(*error)

    def add(self, block: sp.csr_array) -> None:
        """Put canonical rows of float32 below those that are there."""
        self._bytes += 8 * block.nnz
        self._lengths.append(np.diff(block.indptr))
        self._held.append(block)
        if self._bytes <= self._limit:
            return
        if self._files is None:
            self._files = Growing(np.float32), Growing(np.int32)
        for one in self._held:
            self._files[0].append(one.data)
            self._files[1].append(one.indices)
        self._held.clear()

    def matrix(self) -> sp.csr_array:
        """What was gathered."""
        if self._files is None:
            return stacked(_emptying(self._held), self._columns)
        ptr = np.cumsum(np.concatenate(self._lengths))
        out = sp.csr_array((ptr.size - 1, self._columns), dtype=np.float32)
        # as they are: a constructor may copy
        out.data, out.indices = self._files[0].array(), self._files[1].array()
        out.indptr = ptr.astype(np.int32) if ptr[-1] <= np.iinfo(np.int32).max else ptr
        out.has_sorted_indices = out.has_canonical_format = True
        return out


def changed(values: sp.csr_array, change: Callable[[sp.csr_array], sp.csr_array]) -> sp.csr_array:
    """The matrix after a change that minds each row by itself; what lies in files is changed block by block, into others."""
    if not on_disk(values):
        return change(values)
    with Gathering(values.shape[1], 0) as out:
        for block in row_blocks(values):
            out.add(change(block))
        return out.matrix()


def rows_of(values: sp.csr_array, rows: np.ndarray) -> sp.csr_array:
    """Some rows, given upwards; of what lies in files they lie in files too."""
    if not on_disk(values):
        return values[rows]
    start = 0
    with Gathering(values.shape[1], 0) as out:
        for block in row_blocks(values):
            first, last = np.searchsorted(rows, [start, start + block.shape[0]])
            out.add(block[rows[first:last] - start])
            start += block.shape[0]
        return out.matrix()


def _emptying(blocks: list[sp.csr_array]) -> Iterator[sp.csr_array]:
    blocks.reverse()
    while blocks:
        yield blocks.pop()
