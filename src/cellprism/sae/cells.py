"""The cells an SAE is trained on: checked, split, and read batch by batch in the model's scaled units."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.data.chunks import MOST_ROWS, rows_at_a_time
from cellprism.sae.model import SAE

__all__ = ["Cells", "split_cells"]

_WINDOW_BYTES = 2**24  # of the batches that are read together, while those before are trained on


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
        Bytes that the scaled cells may take. Where they need more, batches are read from ``X``, a few ahead of training.
    """

    def __init__(self, sae: SAE, X: NDArray[Any], rows: NDArray[np.intp], memory_limit: float = np.inf) -> None:
        self._sae, self._X, self._rows = sae, X, rows
        self.in_memory = len(rows) * sae.decoder.shape[1] * 4 <= memory_limit
        self._x = self._read(rows) if self.in_memory else None
        self._turned: NDArray[np.float32] | None = None
        self._lock = Lock()

    def _read(self, rows: NDArray[np.intp]) -> Tensor:
        step = rows_at_a_time(self._X.shape[1])
        if len(rows) <= step:
            return self._scaled(self._X[rows])
        # Chunk by chunk, so that the unscaled cells never stand beside the scaled ones as a whole.
        scaled = torch.empty((len(rows), self._sae.decoder.shape[1]), device=self.device)
        for start in range(0, len(rows), step):
            scaled[start : start + step] = self._scaled(self._X[rows[start : start + step]])
        return scaled

    @torch.no_grad()
    def _scaled(self, values: NDArray[Any]) -> Tensor:
        return self._sae.scale(torch.as_tensor(np.ascontiguousarray(values, dtype=np.float32), device=self.device))

    def _window(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Unscaled cells in this order, read in the order in which they lie."""
        order = np.argsort(rows)
        values = np.empty((len(rows), self._X.shape[1]), dtype=np.float32)
        values[order] = self._X[rows[order]]
        return values

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

    def batches(
        self, order: Tensor, size: int, first: int = 0, share: Callable[[Tensor], Tensor] = lambda cells: cells
    ) -> Iterator[Tensor]:
        """Batches of ``size`` cells in this order, from batch ``first`` on; of each the ``share`` that is seen here."""
        if self._x is not None:
            order = order.to(self.device)  # once, and not with every batch
            for start in range(first * size, len(order), size):
                yield self._x[share(order[start : start + size])]
            return
        batches = [
            self._rows[share(order[start : start + size]).numpy()] for start in range(first * size, len(order), size)
        ]
        together = max(1, _WINDOW_BYTES // (4 * self._X.shape[1] * size))
        parts = [batches[start : start + together] for start in range(0, len(batches), together)]
        with ThreadPoolExecutor(1, "cellprism-read") as reader:
            ahead = [reader.submit(self._window, np.concatenate(part)) for part in parts[:1]]
            for i, part in enumerate(parts):
                values = ahead.pop().result()
                ahead = [reader.submit(self._window, np.concatenate(following)) for following in parts[i + 1 : i + 2]]
                ends = np.cumsum([len(rows) for rows in part])
                for rows, end in zip(part, ends, strict=True):
                    yield self._scaled(values[end - len(rows) : end])

    def chunks(self, size: int = MOST_ROWS) -> Iterator[Tensor]:
        """All cells in order, so many at a time."""
        for start in range(0, len(self), size):
            yield self.batch(torch.arange(start, min(start + size, len(self))))

    def some(self, count: int, generator: torch.Generator) -> Tensor:
        """A random choice of ``count`` cells, or all of them in order where there are no more."""
        if count >= len(self):
            return self.batch(torch.arange(len(self)))
        return self.batch(torch.randperm(len(self), generator=generator)[:count])
