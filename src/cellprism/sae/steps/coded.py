"""Whole epochs of topk and batchtopk models on embeddings of few dimensions, prefixes of matryoshka included."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.activation import BatchTopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.coded_kernels import PARTS, coded_epoch
from cellprism.sae.steps.dense import StepResult
from cellprism.sae.steps.moments import start_moments
from cellprism.sae.steps.vectors import ROWS

if TYPE_CHECKING:
    from cellprism.sae.trainer import Trainer

__all__ = ["CodedEpoch", "takes_coded_epoch"]

_MOST_DIMENSIONS = 64
_LEAST_ENTRIES = 16
_WORTH = 2**21  # products a step for each thread: with less, meeting costs more than is shared
_DARED = 0.9  # of a cell's last k-th largest value: where the search for its k largest starts
_MISSES = 0.02  # share of cells with fewer than k beyond that from which on less is dared


def takes_coded_epoch(config: SAEConfig, r: int) -> bool:
    """Whether :class:`CodedEpoch` knows this objective and pays at ``r`` dimensions."""
    known = config.activation in ("topk", "batchtopk") and not config.l1_weight
    return known and r <= _MOST_DIMENSIONS and config.width >= ROWS


class CodedEpoch:
    """Makes all steps of an epoch, as :meth:`cellprism.sae.trainer.Trainer.epoch` asks.

    Adam is the dense one; parameters follow those of :class:`~cellprism.sae.steps.dense.DenseStep` up to rounding.

    Parameters
    ----------
    x
        (cells, r) scaled training cells.
    """

    def __init__(self, x: NDArray[np.float32]) -> None:
        self._x = np.ascontiguousarray(x)
        self.state = np.array([0.0, _DARED, -1.0])
        self.memory = np.zeros(len(x), np.float32)

    def __call__(self, trainer: Trainer, order: Tensor) -> StepResult:
        """Train on all cells in this order, without the auxiliary loss; the clock of silent cells is kept."""
        sae, options, config = trainer.sae, trainer.options, trainer.sae.config
        w, r = sae.decoder.shape
        nothing = torch.zeros(r)
        free = sae.input_bias is not None
        parameters = [sae.encoder, sae.encoder_bias, sae.decoder, sae.decoder_bias]
        parameters += [sae.input_bias] if sae.input_bias is not None else []
        state = trainer.optimiser.state
        start_moments(trainer.optimiser, parameters)
        moments = [state[p][name] for p in parameters for name in ("exp_avg", "exp_avg_sq")]
        values: list[Tensor] = list(parameters)
        if not free:
            moments += [nothing, nothing]
            values.append(nothing)
        rates = np.array([trainer.learning_rate(trainer.done + i) for i in range(trainer.per_epoch)])
        activation = sae.activation
        whole = isinstance(activation, BatchTopK)
        k, batch = config.k or 1, trainer.batch
        if isinstance(activation, BatchTopK):
            self.state[2] = float(activation.threshold)
        most = w if whole else min(w, max(4 * k, k + _LEAST_ENTRIES))
        segment = np.array(config.prefix_of_feature, dtype=np.int64)
        by_cell: list[Any] = [np.empty((batch, most), np.int32)]
        by_cell += [np.empty((batch, most), np.float32) for _ in range(2)]
        by_cell += [np.zeros(batch, np.int64), np.empty((batch, len(config.prefixes), r), np.float32)]
        by_cell += [np.empty((batch, r), np.float32) for _ in range(2)] + [np.zeros(batch, np.float32)]
        gradients = [np.zeros((w, r), np.float32), np.zeros(w, np.float32), np.zeros((w, r), np.float32)]
        fired, result = np.zeros(w, np.bool_), np.zeros(1)
        threads = max(1, min(torch.get_num_threads(), PARTS, batch * w * r // _WORTH))
        counter = np.zeros(1, np.int64)
        arguments: tuple[Any, ...] = (
            threads, counter, self._x, order.numpy(), batch, rates,
            int(state[sae.encoder]["step"]), *options.betas, options.max_grad_norm or 0.0,
            *(v.detach().numpy() for v in values), *(m.numpy() for m in moments),
            config.pre_bias == "tied", free, config.unit_norm, k, whole,
            activation.momentum if isinstance(activation, BatchTopK) else 0.0, segment, *by_cell,
            np.zeros((PARTS, r + 1), np.float32), *gradients,
        )  # fmt: skip
        missed = np.zeros(threads, np.int64)
        after = (trainer.clock.silent.numpy(), fired, self.state, self.memory, missed, result)
        run: Any = coded_epoch
        helpers = [
            Thread(target=run, args=(i, *arguments, np.zeros(w + 2, np.int64), *after)) for i in range(1, threads)
        ]
        for helper in helpers:
            helper.start()
        run(0, *arguments, np.zeros(w + 2, np.int64), *after)
        for helper in helpers:
            helper.join()
        for p in parameters:
            state[p]["step"] += trainer.per_epoch
        if isinstance(activation, BatchTopK):
            activation.threshold.fill_(float(self.state[2]))
        share = missed.sum() / len(order)
        self.state[1] = self.state[1] * 0.8 if share > _MISSES else min(self.state[1] * 1.05, _DARED)
        error = float(result[0])
        return StepResult(error, error, 0.0, 0.0, torch.as_tensor(fired))
