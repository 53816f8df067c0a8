"""Whole epochs of ReLU and topk autoencoders on up to four dimensions: what a sweep over thousands of short steps needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.activation import TopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.narrow.kernels import TILE, Bars, Batch, Rows, narrow_epoch
from cellprism.sae.steps.shared.epochs import (
    Batches,
    Biases,
    Learned,
    adam,
    finished,
    objective,
    told,
    weights,
)
from cellprism.sae.steps.way import Setting, Stateless, StepResult

__all__ = ["NarrowEpoch", "takes_narrow_epoch"]

Array = NDArray[Any]
_MOST_DIMENSIONS = 4
_DENSE = 16  # from one active feature in so many on
_NEVER = -1e30  # encoder bias of a feature that only fills up a vector


def takes_narrow_epoch(config: SAEConfig, r: int) -> bool:
    """Whether :class:`NarrowEpoch` knows this objective and pays at ``r`` dimensions."""
    # Here every feature of a cell is touched; few active ones are better followed one by one, where no penalty asks for more.
    many = config.activation == "topk" and (config.l1_weight > 0 or (config.k or 1) * _DENSE >= config.width)
    # In one dimension cells tie on half of all features, and a bar lets equal values through together.
    known = config.activation == "relu" or (many and r > 1)
    return known and not config.matryoshka and config.p_end is None and r <= _MOST_DIMENSIONS


class NarrowEpoch(Stateless):
    """Makes all steps of an epoch of a ReLU or topk autoencoder.

    Parameters follow those of :class:`~cellprism.sae.steps.dense.DenseStep` up to rounding.

    Parameters
    ----------
    setting
        Its cells lie in memory on the CPU.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        x = setting.cells.all().numpy()
        r = x.shape[1]
        self._x = np.zeros((len(x), r + -r % 4), np.float32)
        self._x[:, :r] = x
        self._memory = np.zeros(len(x), np.float32)

    def __call__(self, order: Tensor, rates: NDArray[np.float64]) -> StepResult:
        """Train on all cells in this order, a learning rate a step; the clock of silent cells is kept."""
        setting, R = self._setting, self._x.shape[1]
        sae = setting.sae
        mine, left = weights(setting), told(setting)
        w, r = sae.decoder.shape
        padded = w + -w % TILE
        if padded % 1024 == 0:
            padded += TILE  # rows at a multiple of a page's length would crowd in the same places of the cache
        P, G = _zeros(2 * R + 2, padded), _zeros(2 * R + 2, padded)
        P[R, w:] = _NEVER
        M, V = _zeros(2 * R + 1, padded), _zeros(2 * R + 1, padded)
        dictionary = (mine.encoder, mine.encoder_bias, mine.decoder)
        turned = [
            (P, [p.value for p in dictionary]), (M, [p.mean for p in dictionary]), (V, [p.square for p in dictionary])
        ]  # fmt: skip
        for rows, arrays in turned:
            _fill(rows, arrays, R)
        biases = Biases(*(Learned(*(_padded(v, R) for v in p)) for p in mine.biases))
        k = sae.activation.k if isinstance(sae.activation, TopK) else 0
        batch = setting.batch
        narrow_epoch(
            Batches(self._x, order.numpy(), batch),
            Rows(Learned(P, G, M, V), biases, r, w),
            objective(setting),
            Bars(0 if k >= w else k, self._memory),
            adam(setting, rates),
            Batch(
                np.zeros((batch + 1, R), np.float32), np.zeros((batch + 1, R), np.float32),
                np.zeros(batch + 1, np.float32), _zeros(20, TILE).ravel(), _zeros(1, padded).ravel(), np.zeros(R, np.float32),
            ),
            left,
        )  # fmt: skip
        for rows, arrays in turned:
            _take(rows, arrays, R)
        for p, q in zip(mine.biases, biases, strict=True):
            for theirs, values in zip(p, q, strict=True):
                theirs[:] = values[:r]
        return finished(setting, len(rates), left)


def _padded(values: Array, R: int) -> Array:
    """Zeros behind the values: what :func:`numpy.pad` does, in a tenth of its time."""
    longer = np.zeros(R, np.float32)
    longer[: len(values)] = values
    return longer


def _zeros(rows: int, width: int) -> NDArray[np.float32]:
    """Zeros on cache lines, which numpy's own do not keep to."""
    return torch.zeros(rows, width).numpy()


def _views(rows: Array, arrays: list[Array], R: int) -> list[tuple[Array, Array]]:
    """The rows of each array, beside the array turned to lie like them."""
    encoder, bias, decoder = arrays
    w, r = decoder.shape
    return [(rows[:r, :w], encoder.T), (rows[R, :w], bias), (rows[R + 1 : R + 1 + r, :w], decoder.T)]


def _fill(rows: Array, arrays: list[Array], R: int) -> None:
    for mine, theirs in _views(rows, arrays, R):
        mine[...] = theirs


def _take(rows: Array, arrays: list[Array], R: int) -> None:
    for mine, theirs in _views(rows, arrays, R):
        theirs[...] = mine
