"""The one form that all autoencoders are brought to on their way in and out, in units of the raw embedding.

``pre = (x - centre) @ encoder.T + bias``, codes by the activation, ``x_hat = codes @ decoder + centre``. A model's own scaling
is folded into the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellprism.sae.config import SAEConfig
from cellprism.sae.model import SAE
from cellprism.sae.scaling import AffineScaling

__all__ = ["Plain", "foreign_config", "model_of", "plain_of"]


@dataclass(frozen=True)
class Plain:
    """An SAE in raw units."""

    encoder: Tensor
    bias: Tensor
    decoder: Tensor
    centre: Tensor


@torch.no_grad()
def plain_of(sae: SAE) -> Plain:
    """One of our models, its scaling folded into the weights."""
    bias: Tensor = sae.encoder_bias
    if sae.config.pre_bias == "none":
        bias = bias + sae.encoder @ sae.decoder_bias
    elif sae.input_bias is not None:
        bias = bias + sae.encoder @ (sae.decoder_bias + sae.input_bias)
    return Plain(
        encoder=(sae.encoder @ sae.forward_map.T).contiguous(),
        bias=bias.clone(),
        decoder=(sae.decoder @ sae.backward_map).contiguous(),
        centre=sae.decoder_bias @ sae.backward_map + sae.mean,
    )


@torch.no_grad()
def model_of(plain: Plain, config: SAEConfig) -> SAE:
    """A model of ours with these weights and no scaling of its own."""
    d = plain.encoder.shape[1]
    eye = np.eye(d, dtype=np.float32)
    sae = SAE(config, AffineScaling(np.zeros(d, dtype=np.float32), eye, eye))
    sae.encoder.copy_(plain.encoder)
    sae.encoder_bias.copy_(plain.bias)
    sae.decoder.copy_(plain.decoder)
    sae.decoder_bias.copy_(plain.centre)
    return sae.eval()


def foreign_config(width: int, activation: str, **options: Any) -> SAEConfig:
    """Config of an SAE that was trained elsewhere."""
    options = {"scaling": "none", "unit_norm": False, "start_active": None, "l1": 0.0} | options
    if activation in ("batchtopk", "jumprelu"):
        options["l1"] = None
    return SAEConfig.from_dict({"width": width, "activation": activation, **options})
