"""What training minimises: reconstruction, sparsity and the auxiliary loss of dead features.

All functions are pure. Embeddings are in the model's scaled units.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cellprism.sae.activation import Gated, JumpReLU
from cellprism.sae.model import SAE
from cellprism.sae.ranks.face import ALONE, Ranks

__all__ = ["LEAST_RESIDUAL", "Loss", "auxiliary_loss", "mse", "objective", "sparsity_penalty"]

LEAST_RESIDUAL = 1e-4
"""Share of a batch's mean square under which the auxiliary loss takes no residual for its unit."""


class Loss(NamedTuple):
    """One batch's loss, its parts and what the training loop needs besides."""

    total: Tensor
    """Scalar that is differentiated."""
    reconstruction: Tensor
    """Mean squared error over cells and dimensions (averaged over matryoshka prefixes)."""
    penalty: Tensor
    """Weighted sparsity penalty."""
    auxiliary: Tensor
    """Weighted auxiliary loss."""
    codes: Tensor
    """(cells, width) codes of the batch."""


def mse(x: Tensor, x_hat: Tensor, ranks: Ranks = ALONE) -> Tensor:
    """``mean over cells and dimensions of (x - x_hat)^2``."""
    return ranks.mean((x - x_hat).square())


def _mean(codes: Tensor, norms: Tensor | None, ranks: Ranks) -> Tensor:
    """Over cells, of the sum over features where they are weighted by norms, else of their mean."""
    return ranks.mean(codes, of_codes=True) if norms is None else ranks.mean(ranks.over_features(codes.sum(-1)))


def _lp(codes: Tensor, norms: Tensor | None, p: float, ranks: Ranks) -> Tensor:
    """``sum or mean of |codes|^p``, rescaled to the value of p = 1 so that annealing p keeps the penalty's strength."""
    weighted = codes if norms is None else codes * norms
    total = _mean(weighted, norms, ranks)
    if p == 1:
        return total
    # The gradient of |f|^p has no bound at 0: the smallest codes are held off it.
    powered = _mean(torch.where(weighted > 0, weighted.clamp_min(1e-6) ** p, 0.0), norms, ranks)
    return powered * (total / powered.clamp_min(1e-12)).detach()


def sparsity_penalty(sae: SAE, pre: Tensor, codes: Tensor, p: float = 1.0) -> Tensor:
    """Weighted sparsity penalty of a batch, by the model's config.

    relu, topk: ``l1 * sum_j codes_j * |D_j| / sqrt(r)`` averaged over cells (``penalty_reduction="sum"``), or
    ``l1 * mean(codes)`` (``"mean"``, as published). gated: the same of ``relu(pre)``. jumprelu: ``l0 * L0`` or
    ``l0 * (L0 / k - 1)^2``.
    """
    config = sae.config
    if isinstance(sae.activation, JumpReLU):
        active = sae.ranks.mean(sae.ranks.over_features(sae.activation.active(pre).sum(-1)))
        return config.l0_weight * (active if config.k is None else (active / config.k - 1).square())
    if not config.l1_weight:
        return pre.new_zeros(())
    norms = sae.decoder.norm(dim=1) / math.sqrt(sae.decoder.shape[1]) if config.penalty_reduction == "sum" else None
    target = torch.relu(pre) if isinstance(sae.activation, Gated) else codes
    return config.l1_weight * _lp(target, norms, p, sae.ranks)


def auxiliary_loss(sae: SAE, pre: Tensor, residual: Tensor, dead: Tensor, least: float = 1e-12) -> Tensor:
    """Normalised error of the residual's reconstruction by the strongest dead features (Gao et al. 2024, section 2.4).

    Parameters
    ----------
    sae
        The model.
    pre
        (cells, width) pre-activations.
    residual
        (cells, r) reconstruction error of the live features; no gradient flows into it.
    dead
        (width,) bool.
    least
        Mean square that the residual is taken to have at least.
    """
    residual = residual.detach()
    k = min(sae.config.aux_k or max(1, residual.shape[1] // 2), int(dead.sum()))
    indices = sae.ranks.features(dead).nonzero().squeeze(1)
    codes = sae.ranks.keep_largest(torch.relu(pre[:, indices]), k)
    error = mse(residual, sae.ranks.over_features(codes @ sae.decoder[indices]), sae.ranks)
    loss = error / torch.maximum(sae.ranks.mean(residual.square()), residual.new_tensor(least).clamp_min(1e-12))
    # A diverged auxiliary loss must not spoil the main one.
    return torch.nan_to_num(loss, nan=0.0, posinf=0.0)


def _reconstruction(sae: SAE, x: Tensor, codes: Tensor) -> Tensor:
    return torch.stack([mse(x, sae.reconstruct(codes, m), sae.ranks) for m in sae.config.prefixes]).mean()


def objective(sae: SAE, x: Tensor, dead: Tensor | None = None, p: float = 1.0) -> Loss:
    """Loss of one batch.

    Parameters
    ----------
    sae
        The model.
    x
        (cells, r) scaled embedding.
    dead
        (width,) bool, features to be revived by the auxiliary loss; None = no such loss.
    p
        Exponent of the sparsity penalty (p-annealing).
    """
    config = sae.config
    pre = sae.pre_activations(x)
    codes = sae.activation.training_codes(pre)
    reconstruction = _reconstruction(sae, x, codes)
    if isinstance(sae.activation, Gated):
        # The gate is trained through a reconstruction of its own, with the decoder frozen (arXiv 2404.16014, eq. 8).
        gate_hat = sae.ranks.over_features(torch.relu(pre) @ sae.decoder.detach()) + sae.decoder_bias.detach()
        reconstruction = reconstruction + mse(x, gate_hat, sae.ranks)
    penalty = sparsity_penalty(sae, pre, codes, p)
    auxiliary = x.new_zeros(())
    if config.aux_weight and dead is not None and bool(dead.any()):
        residual = x - sae.reconstruct(codes.detach())
        least = LEAST_RESIDUAL * float(sae.ranks.mean(x.square()))
        auxiliary = config.aux_weight * auxiliary_loss(sae, pre, residual, dead, least)
    return Loss(reconstruction + penalty + auxiliary, reconstruction, penalty, auxiliary, codes)
