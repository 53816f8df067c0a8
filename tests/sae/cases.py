"""Configs and data that several tests of the SAE share."""

from __future__ import annotations

import numpy as np
import torch

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.scaling import fit_scaling

WIDTH, DIM = 12, 5

VARIANTS = {
    "relu": SAEConfig(WIDTH, "relu", l1=0.2),
    "relu-p": SAEConfig(WIDTH, "relu", l1=0.2, p_end=0.5),
    "topk": SAEConfig(WIDTH, "topk", k=3),
    "batchtopk": SAEConfig(WIDTH, "batchtopk", k=3),
    "jumprelu": SAEConfig(WIDTH, "jumprelu", k=3, l0=0.7),
    "jumprelu-l0": SAEConfig(WIDTH, "jumprelu", l0=0.1, bandwidth=0.6),
    "gated": SAEConfig(WIDTH, "gated", l1=0.2),
    "matryoshka-relu": SAEConfig(WIDTH, "relu", l1=0.2, matryoshka=(4, 8)),
    "matryoshka-topk": SAEConfig(WIDTH, "topk", k=3, matryoshka=(4, 8)),
    "matryoshka-batchtopk": SAEConfig(WIDTH, "batchtopk", k=3, matryoshka=(4, 8)),
    "matryoshka-jumprelu": SAEConfig(WIDTH, "jumprelu", k=3, matryoshka=(4, 8)),
    "matryoshka-gated": SAEConfig(WIDTH, "gated", l1=0.2, matryoshka=(4, 8)),
    "paper-vanilla": SAEConfig.paper("vanilla", WIDTH, l1=0.1),
    "paper-relu": SAEConfig.paper("relu", WIDTH, l1=0.1),
    "paper-topk": SAEConfig.paper("topk", WIDTH, l1=0.1, k_percent=25),
}


def embedding(n: int = 300, d: int = DIM, seed: int = 0) -> np.ndarray:
    """Cells with three times as many hidden directions as dimensions, two active a cell, off the origin."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((3 * d, d))
    active = rng.random((n, 3 * d)) < 2 / (3 * d)
    noise = 0.05 * rng.standard_normal((n, d))
    return ((active * rng.uniform(1, 2, (n, 3 * d))) @ directions + noise + 3).astype(np.float32)


def random_sae(cfg: SAEConfig, seed: int = 0, d: int = DIM) -> SAE:
    """A model in float64 whose every parameter is off its start, so that no gradient is 0 by luck."""
    generator = torch.Generator().manual_seed(seed)
    sae = SAE(cfg, fit_scaling(embedding(d=d), cfg.scaling, cfg.whiten_power), generator).double()
    with torch.no_grad():
        for parameter in sae.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return sae


def off_the_edge(sae: SAE) -> None:
    """Move pre-activations by a hair: the start puts a cell of each feature on its threshold, where rounding decides."""
    with torch.no_grad():
        sae.encoder_bias += 1e-3
