"""Whole epochs of topk and batchtopk models on embeddings of few dimensions, prefixes of matryoshka included."""

from __future__ import annotations

from threading import Thread

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.activation import BatchTopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.coded.kernels import PARTS, Residuals, coded_epoch
from cellprism.sae.steps.coded.select import Bars, Entries, Selection, Team
from cellprism.sae.steps.shared.epochs import Batches, Biases, adam, finished, objective, told, weights
from cellprism.sae.steps.shared.vectors import ROWS
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
        setting, activation = self._setting, self._setting.sae.activation
        config, batch = setting.sae.config, setting.batch
        mine, left = weights(setting), told(setting)
        for p in (mine.encoder, mine.encoder_bias, mine.decoder):
            p.gradient[:] = 0  # rows of features without entries
        w, r = mine.encoder.value.shape
        whole, k = isinstance(activation, BatchTopK), config.k or 1
        if isinstance(activation, BatchTopK):
            self._bars[2] = float(activation.threshold)
        threads = max(1, min(torch.get_num_threads(), PARTS, batch * w * r // _WORTH))
        cells = Batches(self._x, order.numpy(), batch)
        rest = (
            objective(setting),
            adam(setting, rates),
            Selection(k, whole, activation.momentum if isinstance(activation, BatchTopK) else 0.0),
            _entries(batch, w if whole else min(w, max(4 * k, k + _LEAST_ENTRIES)), r),
            _residuals(config, batch, r),
            bars := Bars(self._bars, self._memory, np.zeros(threads, np.int64)),
            left,
        )
        counter = np.zeros(1, np.int64)

        def run(thread: int) -> None:
            own = Biases(*(p._replace(gradient=np.zeros(r, np.float32)) for p in mine.biases))
            coded_epoch(Team(thread, threads, counter), cells, mine._replace(biases=own), *rest)

        helpers = [Thread(target=run, args=(i,)) for i in range(1, threads)]
        for helper in helpers:
            helper.start()
        run(0)
        for helper in helpers:
            helper.join()
        if isinstance(activation, BatchTopK):
            activation.threshold.fill_(float(self._bars[2]))
        share = bars.missed.sum() / len(order)
        self._bars[1] = self._bars[1] * 0.8 if share > _MISSES else min(self._bars[1] * 1.05, _DARED)
        return finished(setting, len(rates), left)


def _entries(batch: int, most: int, r: int) -> Entries:
    """Room for so many entries a cell."""
    floats = [np.empty((batch, width), np.float32) for width in (most, most, r, r)]
    return Entries(np.empty((batch, most), np.int32), floats[0], floats[1], np.zeros(batch, np.int64), *floats[2:])


def _residuals(config: SAEConfig, batch: int, r: int) -> Residuals:
    """Room for the errors of a batch."""
    return Residuals(
        np.array(config.prefix_of_feature, dtype=np.int64),
        np.empty((batch, len(config.prefixes), r), np.float32),
        np.zeros(batch, np.float32),
        np.zeros((PARTS, r + 1), np.float32),
    )
