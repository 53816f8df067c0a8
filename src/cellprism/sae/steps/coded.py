"""Whole epochs of topk and batchtopk models on embeddings of few dimensions, prefixes of matryoshka included."""

from __future__ import annotations

from threading import Thread
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.activation import BatchTopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.coded_kernels import PARTS, coded_epoch
from cellprism.sae.steps.moments import start_moments
from cellprism.sae.steps.vectors import ROWS
from cellprism.sae.steps.way import Setting, State, StepResult

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
    """Makes all steps of an epoch.

    Adam is the dense one; parameters follow those of :class:`~cellprism.sae.steps.dense.DenseStep` up to rounding.

    Parameters
    ----------
    setting
        Its cells lie in memory on the CPU.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._x = np.ascontiguousarray(setting.cells.all().numpy())
        self._bars = np.array([0.0, _DARED, -1.0])
        self._memory = np.zeros(len(self._x), np.float32)

    def state(self) -> State:
        """The bars, and each cell's k-th largest value when it was last seen."""
        return State({"memory": torch.from_numpy(self._memory)}, {"state": self._bars.tolist()})

    def restore(self, saved: State) -> None:
        """Go on from a state of this epoch."""
        self._memory[:] = saved.tensors["memory"].numpy()
        self._bars[:] = saved.numbers["state"]

    def __call__(self, order: Tensor, rates: NDArray[np.float64]) -> StepResult:
        """Train on all cells in this order, a learning rate a step; the clock of silent cells is kept."""
        sae, optimiser, options, _, clock, batch = self._setting
        config = sae.config
        w, r = sae.decoder.shape
        nothing = torch.zeros(r)
        free = sae.input_bias is not None
        parameters = [sae.encoder, sae.encoder_bias, sae.decoder, sae.decoder_bias]
        parameters += [sae.input_bias] if sae.input_bias is not None else []
        state = optimiser.state
        start_moments(optimiser, parameters)
        moments = [state[p][name] for p in parameters for name in ("exp_avg", "exp_avg_sq")]
        values: list[Tensor] = list(parameters)
        if not free:
            moments += [nothing, nothing]
            values.append(nothing)
        activation = sae.activation
        whole = isinstance(activation, BatchTopK)
        k = config.k or 1
        if isinstance(activation, BatchTopK):
            self._bars[2] = float(activation.threshold)
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
        after = (clock.silent.numpy(), fired, self._bars, self._memory, missed, result)
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
            state[p]["step"] += len(rates)
        if isinstance(activation, BatchTopK):
            activation.threshold.fill_(float(self._bars[2]))
        share = missed.sum() / len(order)
        self._bars[1] = self._bars[1] * 0.8 if share > _MISSES else min(self._bars[1] * 1.05, _DARED)
        error = float(result[0])
        return StepResult(error, error, 0.0, 0.0, torch.as_tensor(fired))
