"""The cells an SAE is trained on: checked, split, and read batch by batch in the model's scaled units."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cellprism.errors import InputError
from cellprism.sae.model import SAE

__all__ = ["Cells", "check_embedding", "split_cells"]

_CHUNK = 65_536


def check_embedding(X: ArrayLike) -> NDArray[Any]:
    """The embedding as a two-dimensional array, or an :class:`InputError` that says what is wrong with it.

    A memory map stays one: it is read in chunks.
    """
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.ndim != 2 or array.shape[1] < 1:
        raise InputError("an embedding is an array (cells, dimensions)", f"shape {array.shape}", "give one row a cell")
    if array.dtype.kind not in "fiu":
        raise InputError("an embedding holds numbers", f"dtype {array.dtype}", "leave out columns of text")
    if len(array) < 2:
        raise InputError("an embedding needs at least two cells", f"{len(array)}", "give more cells")
    values = cells = 0
    first: int | None = None
    varies = False
    for start in range(0, len(array), _CHUNK):
        block = np.asarray(array[start : start + _CHUNK])
        bad = ~np.isfinite(block)
        if bad.any():
            rows = bad.any(axis=1)
            values, cells = values + int(bad.sum()), cells + int(rows.sum())
            first = start + int(rows.argmax()) if first is None else first
        varies = varies or bool((block != array[0]).any())
    if first is not None:
        raise InputError(
            "an embedding must be finite",
            f"{values} NaN or infinite values in {cells} cells, the first in row {first}",
            "drop those cells or embed them again",
        )
    if not varies:
        raise InputError("an embedding must vary between cells", "the same values in every cell", "check the embedding")
    return array


def split_cells(n: int, holdout: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Held-out and training cells, sorted; at least two cells stay in training."""
    n_held = min(round(n * holdout), n - 2)
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:n_held]), np.sort(order[n_held:])


class Cells:
    """Some rows of an embedding, in the scaled units of an SAE.

    Parameters
    ----------
    sae
        Gives the scaling and the device.
    X
        Embedding (cells, d), an array or a memory map.
    rows
        Which cells.
    memory_limit
        Bytes that the scaled cells may take. Where they need more, each batch is read from ``X`` when it is asked for.
    """

    def __init__(self, sae: SAE, X: NDArray[Any], rows: NDArray[np.intp], memory_limit: float = np.inf) -> None:
        self._sae, self._X, self._rows = sae, X, rows
        self.in_memory = len(rows) * sae.decoder.shape[1] * 4 <= memory_limit
        self._x = self._read(rows) if self.in_memory else None

    @torch.no_grad()
    def _read(self, rows: NDArray[np.intp]) -> Tensor:
        values = np.ascontiguousarray(self._X[rows], dtype=np.float32)
        return self._sae.scale(torch.as_tensor(values, device=self._sae.mean.device))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        """Where batches lie."""
        return self._sae.mean.device

    def batch(self, index: Tensor) -> Tensor:
        """(cells, r) scaled cells at these positions."""
        if self._x is not None:
            return self._x[index.to(self.device)]
        return self._read(self._rows[index.numpy()])

    def chunks(self, size: int = _CHUNK) -> Iterator[Tensor]:
        """All cells in order, so many at a time."""
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self))))

    def some(self, count: int, generator: torch.Generator) -> Tensor:
        """A random choice of ``count`` cells, or all of them in order where there are no more."""
        if count >= len(self):
            return self.batch(torch.arange(len(self)))
        return self.batch(torch.randperm(len(self), generator=generator)[:count])
