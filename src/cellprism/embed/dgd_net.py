"""Decoder and priors together: the joint density that training and embedding climb."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cellprism.embed.dgd_config import DGDConfig
from cellprism.embed.dgd_decoder import Decoder
from cellprism.embed.dgd_likelihood import Counts, nb_log_likelihood
from cellprism.embed.dgd_prior import Mixture

__all__ = ["DGDNet"]


class DGDNet(nn.Module):
    """Everything of the model that is shared by cells.

    Parameters
    ----------
    features
        Number of features by modality.
    n_batches
        Categories of the covariate; 0 = no covariate.
    config
        Architecture and priors.
    seed
        Of the random start.
    """

    def __init__(self, features: Mapping[str, int], n_batches: int, config: DGDConfig, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        ball: dict[str, Any] = {"radius": config.radius, "hardness": config.hardness, "sd_sd": config.sd_sd}
        self.prior = Mixture(
            config.n_components,
            config.latent,
            sd=config.component_sd(),
            dirichlet=config.dirichlet,
            generator=generator,
            **ball,
        )
        self.batch_prior = (
            Mixture(
                n_batches,
                config.covariate_latent,
                sd=config.component_sd(n_batches),
                dirichlet=2.0,
                isotropic=True,
                generator=generator,
                **ball,
            )
            if n_batches
            else None
        )
        n_in = config.latent + (config.covariate_latent if n_batches else 0)
        self.decoder = Decoder(n_in, features, config)
        self.decoder.reset(generator)

    def logits(self, z: Tensor, c: Tensor | None) -> list[Tensor]:
        """Logits a modality from representation and covariate representation."""
        out: list[Tensor] = self.decoder(z if c is None else torch.cat([z, c], 1))
        return out

    def log_likelihood(self, z: Tensor, c: Tensor | None, counts: Sequence[Counts]) -> Tensor:
        """Of each cell over all modalities, (cells,), without the constant of the counts."""
        parts = [
            nb_log_likelihood(logits, log_r, k)
            for logits, log_r, k in zip(self.logits(z, c), self.decoder.log_r, counts, strict=True)
        ]
        return torch.stack(parts).sum(0)

    def log_prior(self, z: Tensor, c: Tensor | None, batch: Tensor | None) -> Tensor:
        """Of each cell's representations, (cells,)."""
        out = self.prior.log_density(z)
        if c is not None and self.batch_prior is not None:
            out = out + self.batch_prior.log_density(c, batch)
        return out

    def log_prior_of_parameters(self) -> Tensor:
        """Of the mixtures."""
        out = self.prior.log_prior()
        return out if self.batch_prior is None else out + self.batch_prior.log_prior()
