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
        self.values = given.toarray() if given.nnz > _DENSE * max(1, self.n * self.columns) else given

    def permuted(self, order: NDArray[np.intp]) -> Rows:
        """The same rows with their columns in another order."""
        return Rows(self.values[:, order])

    @property
    def centre(self) -> NDArray[np.float64]:
        """(features,) mean of each row."""
        return np.asarray(self.total / max(1, self.columns))


Finish = Callable[[NDArray[np.float64], Rows, slice, Rows], NDArray[np.float64]]


def _scaled(product: NDArray[np.float64], a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    scale = np.outer(a, b)
    return np.clip(np.divide(product, scale, out=np.zeros_like(product), where=scale > 0), -1.0, 1.0)


def _spread(rows: Rows) -> NDArray[np.float64]:
    """Root of the summed squares about the mean; 0 where that is rounding."""
    about = rows.square - rows.columns * rows.centre**2
    return np.sqrt(np.where(about > 1e-12 * rows.square, about, 0.0))


def correlation(product: NDArray[np.float64], a: Rows, part: slice, b: Rows) -> NDArray[np.float64]:
    """Pearson's r over columns; 0 for rows that do not vary."""
    return _scaled(product - a.columns * np.outer(a.centre[part], b.centre), _spread(a)[part], _spread(b))


def cosine(product: NDArray[np.float64], a: Rows, part: slice, b: Rows) -> NDArray[np.float64]:
    """Cosine; 0 for rows of zeros."""
    return _scaled(product, np.sqrt(a.square[part]), np.sqrt(b.square))


def jaccard(product: NDArray[np.float64], a: Rows, part: slice, b: Rows) -> NDArray[np.float64]:
    """Share of the columns that both have among those that either has, of rows of ones and zeros."""
    either = a.total[part][:, None] + b.total[None] - product
    return np.divide(product, either, out=np.zeros_like(product), where=either > 0)


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

    def blocks(self, second: Rows | None = None) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """First row, and (rows, features of the second) scores, block by block."""
        b = self.second if second is None else second
        right: Any = b.values.T
        step = max(1, _BLOCK // max(1, b.n))
        for start in range(0, self.first.n, step):
            part = slice(start, min(start + step, self.first.n))
            product: Any = self.first.values[part] @ right
            product = product.toarray() if sp.issparse(product) else np.asarray(product)
            yield start, _FINISH[self.word](product, self.first, part, b)

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
            if kept < block.shape[1]:
                at = np.argpartition(block, -kept, axis=1)[:, -kept:]
                value = np.take_along_axis(block, at, axis=1)
                row = np.repeat(np.arange(len(block)), kept)
                found = sp.csr_array((value.ravel(), (row, at.ravel())), shape=block.shape)
            else:
                found = sp.csr_array(block)
            found.data[found.data <= 1e-12] = 0.0
            found.eliminate_zeros()
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
            found = ((start, rest * one + turned[start : start + len(one)] @ b.T) for start, one in self.blocks())
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


def _largest(
    blocks: Iterator[tuple[int, NDArray[np.float64]]], n: int, m: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rows, columns = np.zeros(n), np.zeros(m)
    for start, block in blocks:
        if block.size:
            rows[start : start + len(block)] = block.max(axis=1)
            np.maximum(columns, block.max(axis=0), out=columns)
    return np.maximum(rows, 0.0), columns
