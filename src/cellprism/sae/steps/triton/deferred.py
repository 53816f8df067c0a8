"""The result of a step that a GPU is still taking."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["DeferredResult"]


class DeferredResult:
    """What :class:`~cellprism.sae.steps.way.StepResult` says, read from the device when it is asked for.

    Reading a number waits until the device has come to it; until then the next step can be sent.

    Parameters
    ----------
    losses
        (2,) mean squared error and weighted auxiliary loss, on the device.
    fired
        (width,) bool: active in at least one cell of the batch.
    """

    penalty = 0.0
    """Steps that answer so know no sparsity penalty."""
    late = True
    """Reading waits for the device."""

    def __init__(self, losses: Tensor, fired: Tensor) -> None:
        self.fired = fired
        self._arrived: torch.cuda.Event | None = None
        self._losses = losses
        if losses.device.type == "cuda":
            # The copy is sent now, behind what makes the numbers, and is not held up by later steps.
            self._losses = torch.empty(losses.shape, dtype=losses.dtype, pin_memory=True)
            self._losses.copy_(losses, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record()

    def _read(self, i: int) -> float:
        if self._arrived is not None:
            self._arrived.synchronize()
        return float(self._losses[i])

    @property
    def reconstruction(self) -> float:
        """Mean squared error."""
        return self._read(0)

    @property
    def auxiliary(self) -> float:
        """Weighted auxiliary loss."""
        return self._read(1)

    @property
    def total(self) -> float:
        """What was minimised; NaN or infinite when training has diverged."""
        return self.reconstruction + self.auxiliary
