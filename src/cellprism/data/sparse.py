"""Matrices of any stored form as the one form that the statistics take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellprism.data.arrays import check_sparse
from cellprism.errors import InputError

__all__ = ["as_csr", "as_dense", "stacked"]


def as_csr(stored: Any, what: str = "expression") -> sp.csr_array:
    """A matrix of any form as canonical CSR float32, without explicit zeros; what is given stays as it is.

    Dense, any scipy format, array or matrix, any width of indices, read-only, backed by a file, lazy (dask), a table.

    Raises
    ------
    InputError
        If it is not two-dimensional or does not hold numbers.
    """
    plain = _in_memory(stored)
    if not sp.issparse(plain):
        plain = np.asarray(plain)
    if plain.dtype.kind not in "fiub":
        raise InputError(f"{what} holds real numbers", f"dtype {plain.dtype}", "store it as float32")
    if plain.ndim != 2:
        raise InputError(f"{what} is a matrix with a row a cell", f"shape {plain.shape}", "give (cells, columns)")
    if sp.issparse(plain):
        check_sparse(plain, what)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
        values = sp.csr_array(plain, dtype=np.float32)
    wide = np.int64 if max(values.nnz, *values.shape) > np.iinfo(np.int32).max else np.int32
    values = sp.csr_array(
        (values.data, values.indices.astype(wide, copy=False), values.indptr.astype(wide)), values.shape
    )
    if not values.has_canonical_format or not values.data.all():
        values = values.copy()
        values.sum_duplicates()
        values.eliminate_zeros()
    return values


def as_dense(stored: Any) -> np.ndarray:
    """A matrix of any form as a dense array of its own type."""
    plain = _in_memory(stored)
    return np.asarray(plain.toarray() if sp.issparse(plain) else plain)


def stacked(blocks: Iterable[sp.csr_array], columns: int) -> sp.csr_array:
    """Blocks of rows below each other, as CSR float32; the values stand twice at most, one array at a time."""
    data, indices, lengths = [], [], [np.zeros(1, np.int64)]
    for block in blocks:
        data.append(block.data.astype(np.float32, copy=False))
        indices.append(block.indices.astype(np.int32, copy=False))
        lengths.append(np.diff(block.indptr))
    indptr = np.cumsum(np.concatenate(lengths))
    wide = np.int64 if indptr[-1] > np.iinfo(np.int32).max else np.int32
    values = np.concatenate(data) if data else np.empty(0, np.float32)
    data.clear()
    places = np.concatenate(indices) if indices else np.empty(0, np.int32)
    indices.clear()
    return sp.csr_array((values, places.astype(wide, copy=False), indptr.astype(wide)), (indptr.size - 1, columns))


def _in_memory(stored: Any) -> Any:
    if isinstance(stored, np.ma.MaskedArray):
        raise InputError("matrices hold a number in each place", "a masked array", "fill it: X.filled(0)")
    if hasattr(stored, "obs_names"):
        raise InputError(
            "a matrix is an array, a sparse matrix or a table",
            f"a whole {type(stored).__name__}",
            "give one of its matrices, such as adata.X, or use the functions of cellprism.tl",
        )
    if hasattr(stored, "to_memory"):  # a backed sparse matrix
        stored = stored.to_memory()
    if hasattr(stored, "compute"):  # a dask array
        stored = stored.compute()
    if hasattr(stored, "to_numpy"):  # a table
        return stored.to_numpy()
    if sp.issparse(stored) or isinstance(stored, np.ndarray):
        return stored
    return stored[:] if hasattr(stored, "file") or hasattr(stored, "store") else stored
