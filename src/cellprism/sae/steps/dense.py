"""A training step by automatic differentiation: every variant, any device, and the oracle of the faster steps."""

from __future__ import annotations

import torch
from torch import Tensor

from cellprism.sae.loss import objective
from cellprism.sae.model import SAE
from cellprism.sae.steps.way import Stateless, StepResult
from cellprism.sae.training import TrainingOptions

__all__ = ["DenseStep", "dense_errors"]


class DenseStep(Stateless):
    """Forward, backward and Adam.

    Parameters
    ----------
    sae
        Changed in place.
    optimiser
        Adam over the SAE's parameters.
    options
        ``max_grad_norm`` is read.
    """

    def __init__(self, sae: SAE, optimiser: torch.optim.Adam, options: TrainingOptions) -> None:
        self.sae, self.optimiser, self.options = sae, optimiser, options

    def __call__(self, x: Tensor, dead: Tensor | None, p: float, lr: float) -> StepResult:
        """One step on a batch (cells, r) at this learning rate and penalty exponent."""
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        loss = objective(self.sae, x, dead, p)
        loss.total.backward()  # type: ignore[no-untyped-call]
        self.sae.ranks.add_gradients(self.sae)
        self._update()
        total, *parts = torch.stack([loss.total, loss.reconstruction, loss.penalty, loss.auxiliary]).detach().tolist()
        return StepResult(total, parts[0], parts[1], parts[2], self.sae.ranks.fired(loss.codes))

    def errors(self, x: Tensor) -> tuple[float, float]:
        """Summed squared error of cells (cells, r) and their active codes, as in inference."""
        return dense_errors(self.sae, x)

    @torch.no_grad()
    def _update(self) -> None:
        decoder, unit_norm = self.sae.decoder, self.sae.config.unit_norm
        if unit_norm and decoder.grad is not None:
            # The norm is held, so only turning counts: take off the gradient's part along each row.
            decoder.grad -= (decoder.grad * decoder).sum(dim=1, keepdim=True) * decoder
        if self.options.max_grad_norm is not None:
            self.sae.ranks.cut_gradients(self.sae, self.options.max_grad_norm)
        self.optimiser.step()
        if unit_norm:
            decoder.div_(decoder.norm(dim=1, keepdim=True).clamp_min(1e-12))


@torch.no_grad()
def dense_errors(sae: SAE, x: Tensor) -> tuple[float, float]:
    """Summed squared error of cells (cells, r) and their active codes, from all codes of all cells at once."""
    codes = sae.activation(sae.pre_activations(x))
    error, active = (x - sae.reconstruct(codes)).square().double().sum(), sae.ranks.over_features((codes > 0).sum())
    error, active = sae.ranks.total(torch.stack([error, active.double()])).tolist()
    return error, active
