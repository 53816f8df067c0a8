"""Adam's running moments, for the steps that update them by themselves."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["start_moments"]


def start_moments(optimiser: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> None:
    """Give parameters that have none the state that Adam's first step would begin with."""
    for p in parameters:
        state = optimiser.state[p]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
