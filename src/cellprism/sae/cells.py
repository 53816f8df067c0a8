"""The cells an SAE is trained on: checked, split, and read batch by batch in the model's scaled units."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.model import SAE

__all__ = ["Cells", "split_cells"]

_CHUNK = 65_536


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
        self._turned: NDArray[np.float32] | None = None
        self._lock = Lock()

    @torch.no_grad()
    def _read(self, rows: NDArray[np.intp]) -> Tensor:
        if len(rows) <= _CHUNK:
            values = np.ascontiguousarray(self._X[rows], dtype=np.float32)
            return self._sae.scale(torch.as_tensor(values, device=self.device))
        # Chunk by chunk, so that the unscaled cells never stand beside the scaled ones as a whole.
        scaled = torch.empty((len(rows), self._sae.decoder.shape[1]), device=self.device)
        for start in range(0, len(rows), _CHUNK):
            scaled[start : start + _CHUNK] = self._read(rows[start : start + _CHUNK])
        return scaled

    def all(self) -> Tensor:
        """(cells, r) all cells in order: those in memory themselves, not a copy."""
        return self.batch(torch.arange(len(self))) if self._x is None else self._x

    def by_dimension(self) -> NDArray[np.float32]:
        """(r, cells) all cells in memory on the CPU, made once for all models that ask."""
        with self._lock:
            if self._turned is None:
                self._turned = np.ascontiguousarray(self.all().numpy().T)
            return self._turned

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
