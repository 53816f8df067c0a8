"""What must hold for an embedding, whoever brings it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from cellprism.errors import InputError

__all__ = ["check_embedding"]

_CHUNK = 65_536


def check_embedding(
    X: ArrayLike, cells: Sequence[str] | None = None, *, constant_dimensions: bool = True
) -> NDArray[Any]:
    """The embedding as a two-dimensional array; a memory map stays one and is read in chunks.

    Parameters
    ----------
    X
        Anything that numpy reads as (cells, d).
    cells
        Names for the messages.
    constant_dimensions
        Whether single dimensions without variance are accepted.

    Raises
    ------
    InputError
        If it is not (cells, d) of numbers, has fewer than two cells, values that are not finite, or no variance.
    """
    if sparse.issparse(X):
        raise InputError("an embedding is dense", f"a sparse {type(X).__name__}", "give X.toarray()")
    array = X if isinstance(X, np.ndarray) and not isinstance(X, np.matrix) else np.asarray(X)
    if array.ndim != 2 or array.shape[1] < 1:
        raise InputError("an embedding is an array (cells, dimensions)", f"shape {array.shape}", "give one row a cell")
    if array.dtype.kind not in "fiu":
        raise InputError("an embedding holds numbers", f"dtype {array.dtype}", "leave out columns of text")
    if len(array) < 2:
        raise InputError("an embedding needs at least two cells", f"{len(array)}", "give more cells")
    values = rows = 0
    largest = float(np.finfo(np.float32).max)
    first: int | None = None
    varies = np.zeros(array.shape[1], dtype=bool)
    for start in range(0, len(array), _CHUNK):
        block = np.asarray(array[start : start + _CHUNK])
        bad = ~np.isfinite(block) | (np.abs(block) > largest)
        if bad.any():
            of_row = bad.any(axis=1)
            values, rows = values + int(bad.sum()), rows + int(of_row.sum())
            first = start + int(of_row.argmax()) if first is None else first
        varies |= (block != array[0]).any(axis=0)
    if first is not None:
        raise InputError(
            "an embedding must be finite",
            f"{values} NaN or infinite values in {rows} cells, the first in "
            + (f"cell {cells[first]!r}" if cells is not None else f"row {first}"),
            "drop those cells or embed them again",
        )
    if not varies.any():
        raise InputError("an embedding must vary between cells", "the same values in every cell", "check the embedding")
    if not varies.all() and not constant_dimensions:
        constant = np.flatnonzero(~varies)
        raise InputError(
            "every dimension of an embedding must vary between cells",
            f"{len(constant)} constant of {array.shape[1]}, the first {constant[0]}",
            "drop these dimensions: X = X[:, X.std(axis=0) > 0]",
        )
    return array
