"""What the trainer knows of a way to train: a step on a batch, or all steps of an epoch."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.cells import Cells
from cellprism.sae.dead import FiringClock
from cellprism.sae.model import SAE
from cellprism.sae.training import TrainingOptions

__all__ = ["EpochWay", "Result", "Setting", "State", "Stateless", "StepResult", "StepWay"]


class Result(Protocol):
    """Loss of one batch before the step, and who fired."""

    @property
    def total(self) -> float:
        """What was minimised; NaN or infinite when training has diverged."""

    @property
    def reconstruction(self) -> float:
        """Mean squared error."""

    @property
    def penalty(self) -> float:
        """Weighted sparsity penalty."""

    @property
    def auxiliary(self) -> float:
        """Weighted auxiliary loss."""

    @property
    def fired(self) -> Tensor:
        """(width,) bool: active in at least one cell of the batch."""

    @property
    def late(self) -> bool:
        """Whether reading the numbers waits for a device: better after the next step has been sent."""


class StepResult(NamedTuple):
    """A :class:`Result` whose numbers are there."""

    total: float
    reconstruction: float
    penalty: float
    auxiliary: float
    fired: Tensor

    @property
    def late(self) -> bool:
        """They never wait."""
        return False


class State(NamedTuple):
    """What a way keeps from step to step beside the model and Adam's moments.

    A checkpoint holds it beside the trainer's own numbers, so names are of the whole file.
    """

    tensors: dict[str, Tensor]
    numbers: dict[str, Any]


class Setting(NamedTuple):
    """What a way works on, the same for a whole training."""

    sae: SAE
    """Changed in place."""
    optimiser: torch.optim.Adam
    """Over the SAE's parameters; its moments are used and changed."""
    options: TrainingOptions
    """``kernel`` and ``precision`` choose; ``max_grad_norm`` and ``betas`` are read in every step."""
    cells: Cells
    """Training cells."""
    clock: FiringClock
    """Epochs tick it themselves; after a step the trainer does."""
    batch: int
    """Cells a step."""


class StepWay(Protocol):
    """Makes one step at a time."""

    def __call__(self, x: Tensor, dead: Tensor | None, p: float, lr: float) -> Result:
        """One step on a batch (cells, r) at this learning rate and penalty exponent."""

    def errors(self, x: Tensor) -> tuple[float, float]:
        """Summed squared error of cells (cells, r) and their active codes, as in inference."""

    def state(self) -> State:
        """What the next step depends on."""

    def restore(self, saved: State) -> None:
        """Go on from a state of this way."""


class EpochWay(Protocol):
    """Makes all steps of an epoch, without the auxiliary loss."""

    def __call__(self, order: Tensor, rates: NDArray[np.float64]) -> Result:
        """Train on all cells in this order, a learning rate a step; the result is the last step's."""

    def state(self) -> State:
        """What the next epoch depends on."""

    def restore(self, saved: State) -> None:
        """Go on from a state of this way."""


class Stateless:
    """A way that keeps nothing from step to step."""

    def state(self) -> State:
        """Nothing."""
        return State({}, {})

    def restore(self, saved: State) -> None:
        """Nothing to be restored."""
