"""A matrix that lies in a file by genes (CSC), turned to lie by cells, some values at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.scratch import Growing
from cellprism.data.sparse import as_csr

__all__ = ["turned"]

_ENTRIES = 2**22
"""Stored values that are read at a time, and that a stretch of cells holds: 48 MiB."""
_STRETCHES = 64  # most stretches: each has three open files


def turned(matrix: Any, where: str) -> Iterator[sp.csr_array]:
    """The cells of a stored CSC matrix in order, some at a time, canonical CSR float32.

    The file is read twice, in order: once to count each cell's values, once to deal the values out to temporary files, each
    of a stretch of cells. A stretch holds about four million values, or a 64th of all where these are more than that.

    Parameters
    ----------
    matrix
        (cells, genes), a backed sparse dataset.
    where
        Where it lies, for messages.

    Raises
    ------
    InputError
        Where the disk has no room for 12 bytes a stored value.
    ValueError
        For cells that there are not, and a gene that names a cell twice.
    """
    n, width = int(matrix.shape[0]), int(matrix.shape[1])
    ptr = np.asarray(matrix.group["indptr"][:]).astype(np.int64)
    if ptr.size != width + 1 or ptr[0] != 0 or (np.diff(ptr) < 0).any():
        raise ValueError(f"{ptr.size - 1:,} columns of {width:,}, and their bounds do not go upwards")
    count = np.zeros(n, np.int64)
    for cells, _ in _pieces(matrix, int(ptr[-1]), "indices"):
        if cells.size and (cells.min() < 0 or cells.max() >= n):
            raise ValueError(f"values of cell {int(cells.max()):,}, of {n:,}")
        count += np.bincount(cells, minlength=n)
    bounds = _stretches(count)
    of_cell = np.repeat(np.arange(bounds.size - 1), np.diff(bounds))
    with ExitStack() as stack:
        kinds = (np.int32, np.int32, np.float32)
        files = [tuple(stack.enter_context(Growing(kind)) for kind in kinds) for _ in bounds[1:]]
        start = 0
        for cells, values in _pieces(matrix, int(ptr[-1]), "indices", "data"):
            genes = np.searchsorted(ptr, np.arange(start, start + cells.size), side="right") - 1
            start += cells.size
            stretch = of_cell[cells]
            order = np.argsort(stretch, kind="stable")  # genes stay in order
            for i, part in enumerate(np.split(order, np.searchsorted(stretch[order], np.arange(1, len(files))))):
                for file, of_all in zip(files[i], (cells, genes, values), strict=True):
                    file.append(of_all[part])
        for (cells_of, genes_of, values_of), first, last in zip(files, bounds[:-1], bounds[1:], strict=True):
            at = cells_of.array() - int(first), genes_of.array()
            block = sp.coo_array((values_of.array(), at), (int(last - first), width)).tocsr()
            if block.nnz != values_of.size:
                raise ValueError("a gene names a cell twice")
            yield as_csr(block, where)


def _pieces(matrix: Any, size: int, *parts: str) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """The first and the last of these arrays, some values at a time."""
    for start in range(0, size, _ENTRIES):
        found = [np.asarray(matrix.group[part][start : min(start + _ENTRIES, size)]) for part in parts]
        if any(one.size != min(_ENTRIES, size - start) for one in found):
            raise ValueError(f"fewer values than the {size:,} that its columns say")
        yield found[0], found[-1]


def _stretches(count: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bounds of stretches of cells that hold about as many values each."""
    total = np.cumsum(count)
    most = max(_ENTRIES, -(-int(total[-1]) // _STRETCHES)) if total.size else _ENTRIES
    ends = np.searchsorted(total, np.arange(most, int(total[-1]) if total.size else 0, most))
    return np.unique(np.concatenate([[0], ends, [count.size]]))
