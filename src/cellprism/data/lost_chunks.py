"""Whether a Zarr store has all of its chunks: one that is gone reads as zeros, as does one of zeros, which Zarr does not write."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import scipy.sparse as sp

from cellprism.errors import InputError

__all__ = ["DenseChunks", "refuse_lost_chunks"]

EXPECTED: Final = 50.0
"""Values that a chunk without any would hold, by those of its cells and of its genes, from which on it counts as lost."""


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


class DenseChunks:
    """How many values each chunk of a dense array on Zarr holds, counted as its cells are read.

    Parameters
    ----------
    matrix
        The array.
    where
        How it is called in messages.
    """

    def __init__(self, matrix: Any, where: str) -> None:
        self.matrix, self.where = matrix, where
        n, width = (int(size) for size in matrix.shape)
        grid = getattr(matrix, "shards", None) or matrix.chunks
        self.height, self.breadth = int(grid[0]), int(grid[1])
        self.values = np.zeros((-(-n // self.height), -(-width // self.breadth)), dtype=np.int64)

    def add(self, start: int, rows: sp.csr_array) -> None:
        """Count the values of cells from ``start`` on."""
        cell = start + np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
        place = cell // self.height * self.values.shape[1] + rows.indices // self.breadth
        self.values += np.bincount(place, minlength=self.values.size).reshape(self.values.shape)

    def refuse_lost(self) -> None:
        """Refuse the array where a chunk that holds nothing can be one that is gone.

        A store that has all its chunks passes. Of one that has not, a chunk of whole cells without a value is refused, and
        one of some genes where its cells and its genes lead to expect :data:`EXPECTED` values or more, as if the two were
        independent; under that a chunk may well be all zeros.

        Raises
        ------
        InputError
            Names cells and genes of the first.
        """
        n, width = (int(size) for size in self.matrix.shape)
        if getattr(self.matrix, "shards", None) is None and self.matrix.nchunks_initialized == self.matrix.nchunks:
            return
        cells, genes = self.values.sum(axis=1), self.values.sum(axis=0)
        expected = np.outer(cells, genes / max(int(genes.sum()), 1))
        expected[cells == 0] = np.inf
        for i, j in np.argwhere((self.values == 0) & (expected >= EXPECTED)):
            rows = range(i * self.height, min((i + 1) * self.height, n))
            columns = range(j * self.breadth, min((j + 1) * self.breadth, width))
            if cells[i] == 0 and len(rows) == 1:  # an empty cell
                continue
            some = "" if cells[i] == 0 else f" and columns {columns.start:,} to {columns.stop - 1:,}"
            raise InputError(
                "a store holds all its chunks",
                f"not a value in cells {rows.start:,} to {rows.stop - 1:,}{some} of {self.where}, a chunk of it",
                "copy it again, or write it again; where these values are zeros, write it under "
                "zarr.config.set({'array.write_empty_chunks': True})",
            )
