"""Expression that stays in its file (h5ad, Zarr): read in order, some cells at a time, brought to depth-normalised log1p."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.arrays import readable
from cellprism.data.beyond_memory import HELD, Gathering
from cellprism.data.lost_chunks import DenseChunks, refuse_lost_chunks
from cellprism.data.sparse import as_csr
from cellprism.data.state import State, Totals, check_sign, row_totals, stated, to_log1p, totals_of, whole
from cellprism.data.turned import turned
from cellprism.errors import InputError

__all__ = ["StoredExpression", "gathered", "is_stored", "stored_expression"]

_ENTRIES = 2**22
"""Stored values of a block: 32 MiB."""
_LOOKED_AT = 2_000
_REMEDY = "copy the file again, or write it again; it may have been cut short"


def is_stored(matrix: Any) -> bool:
    """Whether a matrix lies in a file that is read when it is sliced: a backed sparse matrix, an array of HDF5 or Zarr."""
    return hasattr(matrix, "group") or hasattr(matrix, "file") or hasattr(matrix, "store")


class StoredExpression:
    """Depth-normalised log1p values of a stored matrix, block by block; made by :func:`stored_expression`."""

    def __init__(self, matrix: Any, state: State, totals: Totals, where: str) -> None:
        self._matrix, self.state, self._totals, self._where = matrix, state, totals, where

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""
        return int(self._matrix.shape[0]), int(self._matrix.shape[1])

    def blocks(self) -> Iterator[sp.csr_array]:
        """Log1p values of some cells at a time, in order."""
        for values in self._raw():
            yield to_log1p(values, self.state, self._totals)

    def depth(self) -> NDArray[np.float64] | None:
        """(cells,) total counts, read once more; None where these are no counts."""
        return np.concatenate([row_totals(values) for values in self._raw()]) if self.state == "counts" else None

    def _raw(self) -> Iterator[sp.csr_array]:
        start = 0
        for values in _blocks(self._matrix, self._where):
            stop = start + values.shape[0]
            check_sign(values, self._where, _REMEDY)
            if self.state == "counts" and self._totals.whole and not whole(values):
                raise InputError(
                    "counts are whole numbers in all cells, or in none",
                    f"fractions in cells {start:,} to {stop:,} of {self._where}, none in {_LOOKED_AT:,} cells looked at",
                    "say what the values are with `expression_state=`",
                )
            yield values
            start = stop


def stored_expression(
    matrix: Any, *, state: str | Mapping[str, str] | None = None, modality: str = "rna", where: str = "X"
) -> StoredExpression:
    """A matrix on disk as expression that :func:`cellprism.annotate` takes without holding it.

    Parameters
    ----------
    matrix
        (cells, genes), sparse by rows or dense: ``X`` or a layer of ``ad.read_h5ad(path, backed="r")``,
        ``ad.io.sparse_dataset(group)`` of HDF5 or Zarr, an array of either.
    state
        What the values are; None = decided by the evidence of 2,000 cells spread over all.
    modality, where
        Its name, and where it lies, for messages.

    Raises
    ------
    InputError
        If it is stored by columns, cut short, or holds what is no expression; of cells that were not looked at, when
        they are read.

    Examples
    --------
    >>> from cellprism.data.stored import stored_expression
    >>> backed = ad.read_h5ad("cells.h5ad", backed="r")
    >>> stored_expression(backed.X).state
    'counts'
    """
    if getattr(matrix, "format", "csr") == "csc":
        raise InputError(
            "expression is read from disk cell by cell",
            f"{where} stored by genes (CSC)",
            "store it by cells: adata.X = adata.X.tocsr(), then write it again",
        )
    with _readable(where):
        refuse_lost_chunks(getattr(matrix, "group", None), where)
    n = int(matrix.shape[0])
    rows = np.unique(np.linspace(0, max(n - 1, 0), min(n, _LOOKED_AT)).astype(np.int64))
    sample = _read(matrix, rows, where)
    found = stated(state, modality, sample, where, "give the layer that holds counts or log1p values")
    return StoredExpression(matrix, found, totals_of(sample, found), where)


def gathered(matrix: Any, where: str, limit: float = HELD) -> sp.csr_array:
    """A stored matrix as canonical CSR float32, read in order: in memory up to so many bytes, in temporary files beyond.

    One that is stored by genes (CSC) is turned on its way (:mod:`cellprism.data.turned`).

    Raises
    ------
    InputError
        If it is cut short, or a part of it is gone.
    """
    with _readable(where):
        refuse_lost_chunks(getattr(matrix, "group", None), where)
    by_genes = getattr(matrix, "format", "csr") == "csc"
    with _readable(where), Gathering(int(matrix.shape[1]), limit) as rows:
        for block in turned(matrix, where) if by_genes else _blocks(matrix, where):
            rows.add(block)
        return rows.matrix()


def _blocks(matrix: Any, where: str) -> Iterator[sp.csr_array]:
    """All cells in order, some at a time; refused where a dense array on Zarr lacks a chunk."""
    dense = hasattr(matrix, "store") and not (hasattr(matrix, "group") or hasattr(matrix, "dask"))
    seen = DenseChunks(matrix, where) if dense else None
    for start, stop in _spans(matrix, where):
        block = _read(matrix, slice(start, stop), where)
        if seen is not None:
            seen.add(start, block)
        yield block
    if seen is not None:
        seen.refuse_lost()


def _spans(matrix: Any, where: str) -> Iterator[tuple[int, int]]:
    """Stretches of cells that hold about :data:`_ENTRIES` values."""
    n, width = int(matrix.shape[0]), int(matrix.shape[1])
    if not hasattr(matrix, "group"):
        step = max(1, _ENTRIES // max(width, 1))
        yield from ((start, min(start + step, n)) for start in range(0, n, step))
        return
    with _readable(where):
        indptr = np.asarray(matrix.group["indptr"][:])
        lengths = {name: int(matrix.group[name].shape[0]) for name in ("data", "indices")}
    if indptr.size != n + 1 or (np.diff(indptr) < 0).any() or any(m != indptr[-1] for m in lengths.values()):
        raise InputError(
            "the parts of a sparse matrix fit each other",
            f"{where}: {indptr.size - 1:,} rows of {n:,}, ending at {int(indptr[-1]):,} of {lengths['data']:,} values and "
            f"{lengths['indices']:,} columns",
            _REMEDY,
        )
    start = 0
    while start < n:
        stop = int(np.searchsorted(indptr, indptr[start] + _ENTRIES, side="right")) - 1
        stop = min(max(stop, start + 1), n)
        yield start, stop
        start = stop


def _read(matrix: Any, rows: Any, where: str) -> sp.csr_array:
    with _readable(where):
        block = matrix[rows]
        if sp.issparse(block) and block.nnz:
            csr = sp.csr_array(block, copy=False)
            csr.check_format(full_check=True)
            csr.sort_indices()
            if not csr.has_canonical_format:
                raise ValueError("a column twice in a row")
        return as_csr(block, where)


def _readable(where: str) -> AbstractContextManager[None]:
    return readable(Path(where), "stored expression must be readable", _REMEDY)
