"""What must hold for an embedding, whoever brings it, and what is said of one that is odd."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from cellprism.data.chunks import rows_at_a_time
from cellprism.data.table import dimensions
from cellprism.errors import EmbeddingRemark, InputError, warn

__all__ = ["already_told", "check_embedding", "check_numbers", "remarks", "tells_remarks"]

P = ParamSpec("P")
R = TypeVar("R")

_SMALLEST, _LARGEST = 1e-15, 1e15
"""Squares of what lies beyond, summed over cells, leave the range of float32."""
_DOMINANT = 0.95
_FAR = 20.0


def check_numbers(X: ArrayLike, cells: Sequence[str] | None = None) -> NDArray[Any]:
    """Real, finite numbers as a two-dimensional array; a memory map stays one and is read in chunks.

    Raises
    ------
    InputError
        If it is not (cells, d) of numbers, or holds values that are not finite in float32.
    """
    X = dimensions(X)
    if sparse.issparse(X):
        raise InputError("an embedding is dense", f"a sparse {type(X).__name__}", "give X.toarray()")
    if isinstance(X, np.ma.MaskedArray):
        raise InputError("an embedding holds a number in each place", "a masked array", "fill it, or drop those cells")
    array = X if isinstance(X, np.ndarray) and not isinstance(X, np.matrix) else np.asarray(X)
    if array.ndim != 2 or array.shape[1] < 1:
        raise InputError("an embedding is an array (cells, dimensions)", f"shape {array.shape}", "give one row a cell")
    if array.dtype.kind not in "fiu":
        raise InputError("an embedding holds numbers", f"dtype {array.dtype}", "leave out text and imaginary parts")
    values = rows = 0
    largest = float(np.finfo(np.float32).max)
    first: int | None = None
    for start, block in _blocks(array):
        block = block.astype(np.float64) if block.dtype == np.float16 else block  # which does not hold `largest`
        bad = ~np.isfinite(block) | (np.abs(block) > largest)
        if bad.any():
            of_row = bad.any(axis=1)
            values, rows = values + int(bad.sum()), rows + int(of_row.sum())
            first = start + int(of_row.argmax()) if first is None else first
    if first is not None:
        raise InputError(
            "an embedding must be finite",
            f"{values} NaN or infinite values in {rows} cells, the first in "
            + (f"cell {cells[first]!r}" if cells is not None else f"row {first}"),
            "drop those cells or embed them again",
        )
    return array


def check_embedding(X: ArrayLike, cells: Sequence[str] | None = None) -> NDArray[Any]:
    """The embedding as a two-dimensional array; a memory map stays one and is read in chunks.

    Parameters
    ----------
    X
        Anything that numpy reads as (cells, d).
    cells
        Names for the messages.

    Raises
    ------
    InputError
        If it is not (cells, d) of numbers, has fewer than two cells, values that are not finite, no variance, or a scale
        that float32 cannot square.
    """
    array = check_numbers(X, cells)
    if len(array) < 2:
        raise InputError("an embedding needs at least two cells", f"{len(array)}", "give more cells")
    low, high = (np.asarray(array[0], dtype=np.float64) for _ in range(2))
    for _, block in _blocks(array):
        columns = np.ascontiguousarray(block.T)  # NumPy goes through a few long rows in a tenth of the time
        low, high = np.minimum(low, columns.min(axis=1)), np.maximum(high, columns.max(axis=1))
    spread, size = float((high - low).max()), float(np.maximum(np.abs(low), np.abs(high)).max())
    if spread == 0:
        raise InputError("an embedding must vary between cells", "the same values in every cell", "check the embedding")
    if spread < _SMALLEST or size > _LARGEST:
        met = f"differences of {spread:.3g} at most" if spread < _SMALLEST else f"values up to {size:.3g}"
        raise InputError(
            f"an embedding has values between {_SMALLEST:g} and {_LARGEST:g}, as it is trained on in float32",
            met,
            "rescale it: X / X.std()",
        )
    return array


def remarks(X: NDArray[Any], cells: Sequence[str] | None = None) -> list[str]:
    """What is odd about an embedding that can be used: constant or dominant dimensions, cells far from all others.

    Parameters
    ----------
    X
        (cells, d), finite.
    cells
        Names for the messages.
    """
    n, d = X.shape
    mean = np.sum([np.ones(len(block)) @ block.astype(np.float64) for _, block in _blocks(X)], axis=0) / n
    square, distance = np.zeros(d), np.empty(n)
    for start, block in _blocks(X):
        centred = (block - mean) ** 2
        square += np.ones(len(block)) @ centred
        distance[start : start + len(block)] = np.sqrt(centred @ np.ones(d))
    said = []
    constant = np.flatnonzero(square <= 1e-12 * square.max())
    if constant.size:
        said.append(
            f"{constant.size} of {d} dimensions of the embedding are constant, or nearly so (the first: {constant[0]}): they "
            "say nothing"
        )
    share = square / square.sum()
    if d > 1 and share.max() > _DOMINANT:
        said.append(
            f"dimension {int(share.argmax())} holds {share.max():.1%} of the variance of the embedding: features will "
            "describe little else; if it is no dimension (a row number, depth), leave it out, else scale the dimensions alike"
        )
    typical = float(np.median(distance))
    far = np.flatnonzero(distance > _FAR * typical)
    if 0 < far.size <= 0.1 * n:
        worst = int(far[distance[far].argmax()])
        name = repr(cells[worst]) if cells is not None else f"row {worst}"
        lie = "1 cell lies" if far.size == 1 else f"{far.size:,} cells lie"
        said.append(
            f"{lie} more than {_FAR:.0f} times as far from the centre of the embedding as the median cell (the farthest: "
            f"{name}): training minds them above all others; leave them out if they are no biology"
        )
    return said


_TOLD: ContextVar[bool] = ContextVar("told", default=False)


@contextmanager
def already_told() -> Iterator[None]:
    """Within, nothing is warned of an embedding: :func:`remarks` of it were shown, or it was made here."""
    before = _TOLD.set(True)
    try:
        yield
    finally:
        _TOLD.reset(before)


def tells_remarks(argument: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A public function that warns of what is odd about the embedding it is given, once however many it calls.

    Parameters
    ----------
    argument
        The name of its embedding.
    """

    def telling(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> R:
            if _TOLD.get():
                return function(*args, **kwargs)
            for remark in remarks(check_embedding(signature.bind(*args, **kwargs).arguments[argument])):
                warn(remark, EmbeddingRemark)
            with already_told():
                return function(*args, **kwargs)

        return told

    return telling


def _blocks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    rows = rows_at_a_time(array.shape[1])
    for start in range(0, len(array), rows):
        yield start, np.asarray(array[start : start + rows])
