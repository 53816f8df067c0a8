"""Features that stopped firing: who they are, and how they get a second life."""

from __future__ import annotations

import torch
from torch import Tensor

from cellprism.sae.activation import BatchTopK, JumpReLU, TopK
from cellprism.sae.model import SAE
from cellprism.sae.start import level_reached

__all__ = ["FiringClock", "resample_dead"]

_FIRING = 0.05  # share of cells in which a restarted feature with a threshold fires, where the config says none
_QUIET = 0.2  # encoder norm of a restarted feature over that of the live ones, so that it does not disturb them


class FiringClock:
    """Counts, for each feature, the cells seen since it last fired."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.silent = torch.zeros(width, dtype=torch.long, device=device)

    def tick(self, cells: int, fired: Tensor) -> None:
        """Take in one batch: how many cells, and (width,) which features fired in them."""
        self.silent += cells
        self.silent.masked_fill_(fired, 0)

    def dead(self, after: int) -> Tensor:
        """(width,) bool: silent for at least ``after`` cells."""
        return self.silent >= after


@torch.no_grad()
def resample_dead(
    sae: SAE, x: Tensor, dead: Tensor, optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> int:
    """Restart dead features from cells that are badly reconstructed (Bricken et al. 2023).

    Parameters
    ----------
    sae
        Changed in place.
    x
        (cells, r) scaled embedding to draw from; a cell is drawn with probability proportional to its squared loss.
    dead
        (width,) bool.
    optimiser
        Adam; its moments of the restarted features are set to 0.
    generator
        Source of the draw.

    Returns
    -------
    int
        Number of restarted features.
    """
    indices = dead.nonzero().squeeze(1)
    if not len(indices):
        return 0
    residual = x - sae.reconstruct(sae.activation(sae.pre_activations(x)))
    weight = residual.square().sum(1).square().cpu()
    # Two features from one cell would be twins for good.
    again = len(indices) > len(x)
    drawn = torch.multinomial(weight.clamp_min(1e-12), len(indices), again, generator=generator).to(x.device)
    direction = residual[drawn] / residual[drawn].norm(dim=1, keepdim=True).clamp_min(1e-12)
    alive = ~dead
    gain = sae.encoder[alive].norm(dim=1).mean() if bool(alive.any()) else sae.encoder.new_tensor(1.0)
    if not isinstance(sae.activation, TopK | BatchTopK):
        gain = gain * _QUIET  # where features compete for k places, a quiet one would lose again
    sae.decoder[indices] = direction
    sae.encoder[indices] = direction * gain
    sae.encoder_bias[indices] = 0
    restarted = [sae.encoder, sae.encoder_bias, sae.decoder]
    if isinstance(sae.activation, JumpReLU):
        # The threshold that a feature fell silent under would keep it so.
        level = level_reached(sae.pre_activations(x)[:, indices], sae.config.start_active or _FIRING)
        sae.activation.log_threshold[indices] = level.clamp_min(1e-3).log()
        restarted.append(sae.activation.log_threshold)
    for parameter in restarted:
        state = optimiser.state.get(parameter, {})
        for moment in ("exp_avg", "exp_avg_sq"):
            if moment in state:
                state[moment][indices] = 0
    return len(indices)
