"""SAEs that could not learn, or could learn only in part: what a dictionary is held against."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.activation import BatchTopK
from cellprism.sae.cells import Cells, split_cells
from cellprism.sae.config import SAEConfig
from cellprism.sae.fit import training_options
from cellprism.sae.front import fit
from cellprism.sae.model import SAE
from cellprism.sae.scaling import AffineScaling, fit_scaling
from cellprism.sae.trainer import Trainer

__all__ = ["SOFT_COSINE", "Part", "partly_trained", "trained_on_shuffled", "untrained"]

Part = Literal["decoder", "soft_decoder", "encoder"]

SOFT_COSINE = 0.8
"""Cosine that each row of a softly held decoder keeps to its start."""


def untrained(X: NDArray[Any], cfg: SAEConfig, *, seed: int = 0, scaling: AffineScaling | None = None) -> SAE:
    """SAE at its random start.

    Parameters
    ----------
    X
        (cells, d) embedding: gives the scaling, and of batchtopk the threshold at which k features a cell are active.
    cfg
        Its shape.
    seed
        Of the start.
    scaling
        To be used in place of that of X.
    """
    sae = SAE(cfg, scaling or fit_scaling(X, cfg.scaling, cfg.whiten_power), torch.Generator().manual_seed(seed))
    if isinstance(sae.activation, BatchTopK):
        with torch.no_grad():
            sae.activation.calibrate(sae.pre_activations(sae.scale(torch.as_tensor(np.array(X, dtype=np.float32)))))
    return sae.eval()


def trained_on_shuffled(X: NDArray[Any], cfg: SAEConfig | None, *, seed: int = 0, **options: Any) -> SAE:
    """SAE of an embedding (cells, d) whose columns are permuted apart: every margin, and no structure between them.

    ``options`` are those of :func:`cellprism.fit`.
    """
    columns = np.random.default_rng(seed).permuted(np.asarray(X), axis=0)
    return fit(columns, cfg, seed=seed, **options).sae


def partly_trained(X: NDArray[Any], cfg: SAEConfig, part: Part, *, seed: int = 0, **options: Any) -> SAE:
    """SAE of which one part stays at a random start with the covariance of the embedding, while the rest is trained.

    On language models such SAEs come close to trained ones (Korznikov et al. 2026, arXiv 2602.14111), so that what they
    reach is no evidence of learned features.

    Parameters
    ----------
    X
        (cells, d) embedding.
    cfg
        Its shape; any activation with random starts.
    part
        What is held. ``decoder``: its directions. ``soft_decoder``: they may turn as long as the cosine to their start is
        at least 0.8. ``encoder``: its directions and biases.
    seed
        Of the start, the held-out cells and their order.
    options
        As for :func:`cellprism.fit`: epochs, batch_size, lr, …
    """
    training = training_options({"kernel": "dense"} | options)
    held, kept = split_cells(len(X), training.holdout, seed)
    scaling = fit_scaling(X, cfg.scaling, cfg.whiten_power, kept)
    generator = torch.Generator().manual_seed(seed)
    sae = SAE(cfg, scaling, generator)
    cells, out = Cells(sae, X, kept), Cells(sae, X, held)
    start = _covariance_rows(cells.all(), cfg.width, generator)
    with torch.no_grad():
        sae.decoder.copy_(start)
        sae.encoder.copy_(start)
    frozen = {"decoder": (sae.decoder,), "encoder": (sae.encoder, sae.encoder_bias), "soft_decoder": ()}[part]
    for parameter in frozen:
        parameter.requires_grad_(False)
    order = torch.Generator().manual_seed(seed + 2**40)
    trainer = Trainer(sae, cells, out, training, order, seed)
    if part == "soft_decoder":
        trainer.optimiser.register_step_post_hook(lambda *_: _turn_back(sae.decoder, start))
    trainer.train()
    return sae.eval()


def _covariance_rows(x: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """(width, r) random unit rows with the covariance of scaled cells (cells, r)."""
    centred = x - x.mean(dim=0)
    rows: Tensor = torch.randn(width, len(x), generator=generator) @ centred
    return rows.div_(rows.norm(dim=1, keepdim=True).clamp_min(1e-12))


@torch.no_grad()
def _turn_back(rows: Tensor, start: Tensor) -> None:
    """Give each row, at its own norm, the nearest direction with the least cosine to its unit start that is allowed."""
    along = (rows * start).sum(dim=1, keepdim=True)
    norm = rows.norm(dim=1, keepdim=True).clamp_min(1e-12)
    across = rows - along * start
    across /= across.norm(dim=1, keepdim=True).clamp_min(1e-12)
    turned = norm * (SOFT_COSINE * start + (1 - SOFT_COSINE**2) ** 0.5 * across)
    rows.copy_(torch.where(along < SOFT_COSINE * norm, turned, rows))
