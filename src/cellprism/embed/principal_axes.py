"""Principal axes of a matrix that is walked in blocks of rows, so that it may be larger than memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import eigh
from scipy.sparse.linalg import LinearOperator, eigsh

from cellprism.data.chunks import CHUNK_BYTES
from cellprism.numba_cache import FASTMATH, compiled
from cellprism.stats.parallel import for_chunks

__all__ = ["Axes", "principal_axes"]

Walk = Callable[[], Iterator[sparse.csr_array]]
"""Gives all rows from the first on, some at a time, each time it is called."""

_SQUARE = 4_096
"""Columns up to which their products are summed once (128 MiB); with more the rows are walked at each step of a solver."""

_SPARSE = 0.25
"""Share of stored values under which products are taken of these alone; above, dense products are faster."""


_PARTS = 4
"""Parts of a block that are multiplied side by side; a fixed number, so that sums do not depend on that of the threads."""


class Axes(NamedTuple):
    """Principal axes, the first first."""

    mean: NDArray[np.float64]
    """(columns,)."""
    axes: NDArray[np.float64]
    """(d, columns), of unit length, the largest entry of each positive."""
    explained: NDArray[np.float64]
    """(d,) share of the variance."""


def principal_axes(walk: Walk, shape: tuple[int, int], d: int, seed: int = 0) -> Axes:
    """Principal axes of all rows, exact to rounding.

    Up to 4,096 columns the products of columns are summed in double precision over one walk, and their matrix is solved. With
    more columns Lanczos iterations (ARPACK) take their products with the rows instead, a walk each, to machine precision.

    Parameters
    ----------
    walk
        The rows.
    shape
        Theirs.
    d
        Number of axes.
    seed
        Of the first vector of the iterations.
    """
    n, columns = shape
    total, square = np.zeros(columns), np.zeros(columns)
    for block in walk():
        values = block.data.astype(np.float64)
        total += np.bincount(block.indices, values, columns)
        square += np.bincount(block.indices, values**2, columns)
    mean = total / n
    variance = float(np.maximum(square / n - mean**2, 0.0).sum()) * n
    if columns <= _SQUARE:
        last = (columns - d, columns - 1)
        found, vectors = eigh(_products(walk, columns) - n * np.outer(mean, mean), subset_by_index=last, driver="evr")
    else:
        operator = LinearOperator((columns, columns), matvec=lambda v: _times(walk, mean, v), dtype=np.float64)
        start = np.random.default_rng(seed).uniform(-1, 1, columns)
        found, vectors = eigsh(operator, k=d, v0=start)
    order = np.argsort(-found, kind="stable")
    axes = vectors[:, order].T
    axes *= np.sign(axes[np.arange(d), np.abs(axes).argmax(axis=1)])[:, None]
    return Axes(mean, axes, found[order] / variance if variance > 0 else np.zeros(d))


def _products(walk: Walk, columns: int) -> NDArray[np.float64]:
    """(columns, columns) sums over rows of products of columns."""
    out = np.zeros((columns, columns))
    upper = np.zeros((columns, columns))
    rows = max(1, CHUNK_BYTES // (8 * columns))
    for block in walk():
        if block.nnz < _SPARSE * block.shape[0] * columns:
            _add_products(block.indptr, block.indices, block.data, upper)
            continue
        for start in range(0, block.shape[0], rows):
            dense = block[start : start + rows].toarray().astype(np.float64)
            out += dense.T @ dense
    out += upper
    out += np.triu(upper, 1).T
    return out


@compiled()
def _add_products(
    ptr: NDArray[Any], columns: NDArray[Any], values: NDArray[np.float32], out: NDArray[np.float64]
) -> None:
    """Add the products of the values of each row, whose columns go upwards, to the upper triangle."""
    for row in range(ptr.size - 1):
        for p in range(ptr[row], ptr[row + 1]):
            value = np.float64(values[p])
            into = out[columns[p]]
            for q in range(p, ptr[row + 1]):
                into[columns[q]] += value * values[q]


def _times(walk: Walk, mean: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of the columns' scatter with a vector."""
    v = np.ascontiguousarray(vector, dtype=np.float64).ravel()
    middle = float(mean @ v)
    out, total = np.zeros((_PARTS, mean.size)), np.zeros(_PARTS)
    for block in walk():
        cuts = np.linspace(0, block.shape[0], _PARTS + 1).astype(np.intp)

        def add(parts: slice, block: sparse.csr_array = block, cuts: NDArray[np.intp] = cuts) -> None:
            for part in range(parts.start, parts.stop):
                ptr = block.indptr[cuts[part] : cuts[part + 1] + 1]
                total[part] += _add_scatter(ptr, block.indices, block.data, v, middle, out[part])

        for_chunks(add, _PARTS, 1)
    return np.asarray(out.sum(axis=0) - mean * total.sum())


@compiled(error_model="numpy", fastmath=FASTMATH)
def _add_scatter(
    ptr: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[np.float32],
    v: NDArray[np.float64],
    middle: float,
    out: NDArray[np.float64],
) -> float:
    """Add each row times its score (its product with ``v`` less ``middle``) to ``out``; returns the sum of the scores."""
    total = 0.0
    for row in range(ptr.size - 1):
        mine, x = columns[ptr[row] : ptr[row + 1]], values[ptr[row] : ptr[row + 1]]
        score = 0.0  # summed in any order: in one order each product would wait for the sum before it
        for p in range(mine.size):
            q = np.uint64(p)  # unsigned positions need no test for counting from the end
            score += v[np.uint32(mine[q])] * x[q]
        score -= middle
        total += score
        for p in range(mine.size):
            q = np.uint64(p)
            out[np.uint32(mine[q])] += score * x[q]
    return total
