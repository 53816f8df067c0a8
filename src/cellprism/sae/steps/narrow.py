"""Whole epochs of ReLU and topk autoencoders on up to four dimensions: what a sweep over thousands of short steps needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.activation import TopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.moments import start_moments
from cellprism.sae.steps.narrow_kernels import TILE, narrow_epoch
from cellprism.sae.steps.way import Setting, Stateless, StepResult

__all__ = ["NarrowEpoch", "takes_narrow_epoch"]

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
        sae, optimiser, options, _, clock, batch = self._setting
        config = sae.config
        w, r = sae.decoder.shape
        R = self._x.shape[1]
        dictionary = (sae.encoder, sae.encoder_bias, sae.decoder)
        biases = (sae.decoder_bias, *([] if sae.input_bias is None else [sae.input_bias]))
        state = optimiser.state
        start_moments(optimiser, (*dictionary, *biases))
        padded = w + -w % TILE
        if padded % 1024 == 0:
            padded += TILE  # rows at a multiple of a page's length would crowd in the same places of the cache
        P, G = _zeros(2 * R + 2, padded), _zeros(2 * R + 2, padded)
        P[R, w:] = _NEVER
        M, V = _zeros(2 * R + 1, padded), _zeros(2 * R + 1, padded)
        moments = [[state[p][name] for p in dictionary] for name in ("exp_avg", "exp_avg_sq")]
        for rows, tensors in zip((P, M, V), (dictionary, *moments), strict=True):
            _fill(rows, tensors, R)
        short = [[p, state[p]["exp_avg"], state[p]["exp_avg_sq"]] for p in biases]
        if len(short) == 1:
            short.append([torch.zeros(r) for _ in range(3)])
        ends = [np.pad(v.detach().numpy(), (0, R - r)) for group in short for v in group]
        k = sae.activation.k if isinstance(sae.activation, TopK) else 0
        fired, result = np.zeros(w, np.bool_), np.zeros(2)
        run: Any = narrow_epoch
        run(
            self._x, order.numpy(), batch, rates, int(state[sae.encoder]["step"]), *options.betas,
            options.max_grad_norm or 0.0, r, w, P, M, V, G, *ends, config.pre_bias == "tied", sae.input_bias is not None,
            config.unit_norm, config.penalty_reduction == "sum", config.l1_weight, 0 if k >= w else k, self._memory,
            _zeros(20, TILE).ravel(), _zeros(1, padded).ravel(), clock.silent.numpy(), fired, result,
        )  # fmt: skip
        for rows, tensors in zip((P, M, V), (dictionary, *moments), strict=True):
            _take(rows, tensors, R)
        for tensor, values in zip([v for group in short for v in group], ends, strict=True):
            tensor.detach().numpy()[:] = values[:r]
        for p in (*dictionary, *biases):
            state[p]["step"] += len(rates)
        reconstruction, penalty = map(float, result)
        return StepResult(reconstruction + penalty, reconstruction, penalty, 0.0, torch.as_tensor(fired))


def _zeros(rows: int, width: int) -> NDArray[np.float32]:
    """Zeros on cache lines, which numpy's own do not keep to."""
    return torch.zeros(rows, width).numpy()


def _views(rows: NDArray[np.float32], tensors: Any, R: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The rows of each tensor, beside the tensor turned to lie like them."""
    encoder, bias, decoder = (t.detach().numpy() for t in tensors)
    w, r = decoder.shape
    return [(rows[:r, :w], encoder.T), (rows[R, :w], bias), (rows[R + 1 : R + 1 + r, :w], decoder.T)]


def _fill(rows: NDArray[np.float32], tensors: Any, R: int) -> None:
    for mine, theirs in _views(rows, tensors, R):
        mine[...] = theirs


def _take(rows: NDArray[np.float32], tensors: Any, R: int) -> None:
    for mine, theirs in _views(rows, tensors, R):
        theirs[...] = mine
