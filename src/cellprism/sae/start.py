"""Where training starts from: parts of the start that look at the data."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cellprism.sae.activation import JumpReLU
from cellprism.sae.model import SAE

__all__ = ["geometric_median", "level_reached", "start_from_data"]

_START_ELEMENTS = 2**24


@torch.no_grad()
def geometric_median(x: Tensor, iterations: int = 50) -> Tensor:
    """(r,) point with the least summed distance to the rows of x (Weiszfeld's iteration)."""
    centre = x.mean(dim=0)
    for _ in range(iterations):
        weight = 1 / (x - centre).norm(dim=1, keepdim=True).clamp_min(1e-6)
        centre = (weight * x).sum(dim=0) / weight.sum()
    return centre


def level_reached(values: Tensor, share: float) -> Tensor:
    """(columns,) number of each column that about this share of its numbers reach."""
    rank = min(len(values), max(1, round((1 - share) * len(values))))
    # Not quantile, which refuses more than 2**24 values; NumPy takes a third of kthvalue's time.
    if values.device.type != "cpu":
        return values.kthvalue(rank, dim=0).values
    ordered = np.partition(values.T.contiguous().numpy(), rank - 1, axis=1)
    return torch.from_numpy(ordered[:, rank - 1].copy())


@torch.no_grad()
def start_from_data(sae: SAE, x: Tensor) -> None:
    """Set the decoder's bias and the sparsity at the start, as the config asks.

    Parameters
    ----------
    sae
        Changed in place.
    x
        (cells, r) scaled cells.
    """
    config = sae.config
    if config.bias_init == "geometric_median":
        sae.decoder_bias.copy_(geometric_median(x))
    if config.start_active is None or config.activation not in ("relu", "gated", "jumprelu"):
        return
    pre = sae.pre_activations(x[: max(256, _START_ELEMENTS // config.width)])
    level = level_reached(pre, config.start_active)
    if isinstance(sae.activation, JumpReLU):
        sae.activation.log_threshold.copy_(level.clamp_min(1e-3).log())
    else:
        sae.encoder_bias.sub_(level)
