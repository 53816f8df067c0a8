"""From a representation to each feature's share of a cell's counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from cellprism.embed.dgd_config import DGDConfig

__all__ = ["Decoder", "head_sizes"]


def head_sizes(n_in: int, n_out: int, config: DGDConfig) -> list[int]:
    """Widths of a head's layers, input and output among them."""
    widest = config.head_width * max(config.hidden, round(math.sqrt(n_out)))
    inner = [config.head_width * config.hidden] * (config.head_layers - 2) + [widest]
    return [n_in, *(inner if config.head_layers > 1 else []), n_out]


def stack(sizes: list[int], *, last_relu: bool) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*(layers if last_relu else layers[:-1]))


class Decoder(nn.Module):
    """Shared hidden layers, then one head a modality that gives logits of the features' shares.

    Parameters
    ----------
    n_in
        Width of the representation, covariate included.
    features
        Number of features by modality.
    config
        Widths and depths.

    Attributes
    ----------
    log_r
        Per modality, ``log(dispersion - 1)`` of each feature: dispersions stay above one.
    """

    def __init__(self, n_in: int, features: Mapping[str, int], config: DGDConfig) -> None:
        super().__init__()
        sizes = [n_in] + [config.hidden] * config.layers
        self.main = stack(sizes, last_relu=True)
        self.heads = nn.ModuleList(stack(head_sizes(sizes[-1], n, config), last_relu=False) for n in features.values())
        self.log_r = nn.ParameterList(nn.Parameter(torch.zeros(n)) for n in features.values())

    def reset(self, generator: torch.Generator) -> None:
        """Draw all weights again from ``generator`` (uniform within one over the root of the layer's inputs)."""
        with torch.no_grad():
            for layer in self.modules():
                if isinstance(layer, nn.Linear):
                    bound = 1 / math.sqrt(layer.in_features)
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.uniform_(-bound, bound, generator=generator)

    def forward(self, z: Tensor) -> list[Tensor]:
        """Logits a modality, (cells, features)."""
        h = self.main(z)
        return [head(h) for head in self.heads]
