"""Whole epochs of small ReLU autoencoders: what a sweep over thousands of short steps needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.fused.kernels import Batch, fused_epoch
from cellprism.sae.steps.shared.epochs import Batches, adam, finished, objective, room, told, weights
from cellprism.sae.steps.way import Setting, Stateless, StepResult

__all__ = ["FusedEpoch", "takes_fused_epoch"]

_MOST_DIMENSIONS = 32


def takes_fused_epoch(config: SAEConfig, r: int) -> bool:
    """Whether :class:`FusedEpoch` knows this objective and pays at ``r`` dimensions."""
    return config.activation == "relu" and not config.matryoshka and config.p_end is None and r <= _MOST_DIMENSIONS


class FusedEpoch(Stateless):
    """Makes all steps of an epoch of a ReLU autoencoder.

    Parameters
    ----------
    setting
        Its cells lie in memory on the CPU.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._x = setting.cells.by_dimension()
        r, batch = len(self._x), setting.batch
        self._room = Batch(room(r, batch), room(r, batch), room(batch), room(batch), room(r))

    def __call__(self, order: Tensor, rates: NDArray[np.float64]) -> StepResult:
        """Train on all cells in this order, a learning rate a step; the clock of silent cells is kept."""
        setting = self._setting
        mine, left = weights(setting), told(setting)
        cells = Batches(self._x, order.numpy(), setting.batch)
        fused_epoch(cells, mine, objective(setting), adam(setting, rates), self._room, left)
        return finished(setting, len(rates), left)
