"""How alike the features of two dictionaries are, and how alike they would be by chance.

A feature is a row: of its activations over cells, its direction, its statistics over genes, or the gene sets that it has.
Every score is made from the product of the two tables of rows, so all are computed in blocks of rows, and of very wide
dictionaries only the strongest of each feature are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

__all__ = ["Likeness", "Mirrors", "Permutations", "Rows", "correlation", "cosine", "jaccard"]

Word = Literal["correlation", "cosine", "jaccard"]
_BLOCK: Final = 2**23  # scores held at a time: 64 MiB
_DENSE: Final = 0.05  # share of entries above which a dense product is faster
_MANY: Final = 2**24  # pairs beyond which only the strongest of each feature are kept
_KEPT: Final = 64
_AXES: Final = 512
_NONE: Final = 1e-12  # a score up to it is none


class Rows:
    """A row a feature, with what the scores need of it.

    Parameters
    ----------
    values
        (features, columns), sparse or dense.
    """

    def __init__(self, values: Any) -> None:
        given = sp.csr_array(values, dtype=np.float64)
        self.n, self.columns = given.shape
        self.total = np.asarray(given.sum(axis=1), dtype=np.float64)
        self.square = np.asarray(given.multiply(given).sum(axis=1), dtype=np.float64)
        self.positive = bool((given.data >= 0).all())
        self.values = given.toarray() if given.nnz > _DENSE * max(1, self.n * self.columns) else given

    def permuted(self, order: NDArray[np.intp]) -> Rows:
        """The same rows with their columns in another order."""
        return Rows(self.values[:, order])

    @property
    def centre(self) -> NDArray[np.float64]:
        """(features,) mean of each row."""
        return np.asarray(self.total / max(1, self.columns))


Array = NDArray[np.float64]
At = NDArray[np.intp]
Finish = Callable[[Array, "Rows", At, "Rows", At], Array]
"""Scores out of products of rows: of some (i, j), or of a block where i is a column and j a row."""


def _scaled(product: Array, scale: Array) -> Array:
    return np.clip(np.divide(product, scale, out=np.zeros_like(product), where=scale > 0), -1.0, 1.0)


def _spread(rows: Rows) -> Array:
    """Root of the summed squares about the mean; 0 where that is rounding."""
    about = rows.square - rows.columns * rows.centre**2
    return np.sqrt(np.where(about > 1e-12 * rows.square, about, 0.0))


def correlation(product: Array, a: Rows, i: At, b: Rows, j: At) -> Array:
    """Pearson's r over columns; 0 for rows that do not vary."""
    return _scaled(product - a.columns * a.centre[i] * b.centre[j], _spread(a)[i] * _spread(b)[j])


def cosine(product: Array, a: Rows, i: At, b: Rows, j: At) -> Array:
    """Cosine; 0 for rows of zeros."""
    return _scaled(product, np.sqrt(a.square)[i] * np.sqrt(b.square)[j])


def jaccard(product: Array, a: Rows, i: At, b: Rows, j: At) -> Array:
    """Share of the columns that both have among those that either has, of rows of ones and zeros."""
    return _scaled(product, a.total[i] + b.total[j] - product)


_FINISH: Final[dict[Word, Finish]] = {"correlation": correlation, "cosine": cosine, "jaccard": jaccard}


@dataclass(frozen=True)
class Permutations:
    """The columns of the second dictionary in random order, each within its group."""

    groups: NDArray[np.intp]
    """(columns,) number of the group of each."""

    def draw(self, rng: np.random.Generator) -> NDArray[np.intp]:
        """Which column stands where."""
        order = np.argsort(self.groups, kind="stable")
        shuffled = np.lexsort((rng.random(len(order)), self.groups))
        out = np.empty_like(order)
        out[order] = shuffled
        return out


@dataclass(frozen=True)
class Mirrors:
    """The second dictionary mirrored along random principal axes of the first.

    Rows that lie together keep doing so, and so does what their columns share (genes that go together, dimensions of unlike
    variance): only that the two dictionaries point the same way is lost.
    """


@dataclass(frozen=True)
class Likeness:
    """Scores between the features of two dictionaries."""

    word: Word
    """What the score is."""
    first: Rows
    second: Rows
    null: Permutations | Mirrors

    def blocks(self, second: Rows | None = None) -> Iterator[tuple[int, Array | sp.csr_array]]:
        """First row, and (rows, features of the second) scores, block by block.

        Rows without negative values that never meet score at most 0, so where both are sparse, so are the scores.
        """
        b = self.second if second is None else second
        right: Any = b.values.T
        sparse = sp.issparse(self.first.values) and sp.issparse(right) and self.first.positive and b.positive
        step = max(1, _BLOCK // max(1, b.n))
        every = np.arange(b.n)[None]
        for start in range(0, self.first.n, step):
            part = slice(start, min(start + step, self.first.n))
            product: Any = self.first.values[part] @ right
            if sparse:
                i, j = (at.astype(np.intp) for at in sp.coo_array(product).coords)
                score = _FINISH[self.word](product.tocoo().data, self.first, start + i, b, j)
                yield start, sp.csr_array((score, (i, j)), shape=product.shape)
                continue
            product = product.toarray() if sp.issparse(product) else np.asarray(product)
            yield start, _FINISH[self.word](product, self.first, np.arange(part.start, part.stop)[:, None], b, every)

    def scores(self, many: int = _MANY, kept: int = _KEPT) -> sp.csr_array:
        """(features, features of the second) scores above 0.

        Of more than ``many`` pairs the ``kept`` strongest of each feature of either dictionary.
        """
        if self.first.n * self.second.n <= many:
            return self._strongest(self.second.n)
        turned = Likeness(self.word, self.second, self.first, self.null)
        return sp.csr_array(self._strongest(kept).maximum(turned._strongest(kept).T))

    def _strongest(self, kept: int) -> sp.csr_array:
        parts = []
        for _, block in self.blocks():
            found = sp.csr_array(block)
            found.data[found.data <= _NONE] = 0.0
            found.eliminate_zeros()
            if kept < block.shape[1]:
                row = np.repeat(np.arange(found.shape[0]), np.diff(found.indptr))
                order = np.lexsort((-found.data, row))
                rank = np.arange(len(order)) - found.indptr[row]  # rows stand together, the strongest first
                best = order[rank < kept]
                found = sp.csr_array((found.data[best], (row[best], found.indices[best])), shape=found.shape)
            parts.append(found)
        return sp.csr_array(sp.vstack(parts, format="csr")) if parts else sp.csr_array((0, self.second.n))

    def by_chance(self, n: int, seed: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Of ``n`` draws of the null: the best score of each feature of the first, and of each of the second."""
        rng = np.random.default_rng(seed)
        if isinstance(self.null, Permutations):
            for _ in range(n):
                yield _largest(self.blocks(self.second.permuted(self.null.draw(rng))), self.first.n, self.second.n)
            return
        axes = self._axes()
        a, b = self._along(self.first, axes), self._along(self.second, axes)
        for _ in range(n):
            # A mirror is s0 (I - V V') + V diag(s) V': what lies beyond the axes has one sign of its own.
            rest, signs = rng.choice((-1.0, 1.0)), rng.choice((-1.0, 1.0), axes.shape[1])
            turned = a * (signs - rest)
            found = (
                (start, rest * _dense(one) + turned[start : start + one.shape[0]] @ b.T) for start, one in self.blocks()
            )
            yield _largest(found, self.first.n, self.second.n)

    def _axes(self) -> NDArray[np.float64]:
        """(columns, axes) principal axes of the first dictionary's rows, each row of length one."""
        chosen = np.random.default_rng(0).permutation(self.first.n)[: 2 * _AXES]
        rows = self._unit(self.first, np.sort(chosen))
        _, size, axes = np.linalg.svd(rows, full_matrices=False)
        return np.asarray(axes[(size > 1e-9 * size.max(initial=1e-300))][:_AXES].T)

    def _unit(self, rows: Rows, at: NDArray[np.intp]) -> NDArray[np.float64]:
        part = rows.values[at]
        dense = part.toarray() if sp.issparse(part) else np.array(part)
        if self.word == "correlation":
            dense -= rows.centre[at][:, None]
        return np.asarray(dense / np.linalg.norm(dense, axis=1, keepdims=True).clip(1e-300))

    def _along(self, rows: Rows, axes: NDArray[np.float64]) -> NDArray[np.float64]:
        """(features, axes) rows of length one along the axes, in blocks."""
        step = max(1, _BLOCK // max(1, rows.columns))
        every = np.arange(rows.n)
        parts = [self._unit(rows, every[i : i + step]) @ axes for i in range(0, rows.n, step)]
        return np.concatenate(parts) if parts else np.empty((0, axes.shape[1]))


def _largest(blocks: Iterator[tuple[int, Array | sp.csr_array]], n: int, m: int) -> tuple[Array, Array]:
    rows, columns = np.zeros(n), np.zeros(m)
    for start, block in blocks:
        for axis, out in ((1, rows[start : start + block.shape[0]]), (0, columns)):
            found = block.max(axis=axis)
            np.maximum(out, found.toarray().ravel() if sp.issparse(block) else found, out=out)
    return rows, columns


def _dense(block: Array | sp.csr_array) -> Array:
    return block if isinstance(block, np.ndarray) else np.asarray(block.toarray())
