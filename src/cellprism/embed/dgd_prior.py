"""The prior over representations: a Gaussian mixture that is learned along."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["Mixture"]


class Mixture(nn.Module):
    """Gaussian mixture with trained means, variances and weights.

    Means have a soft-ball prior (uniform in a ball, with a logistic border), negative log variances a Gaussian one,
    weights a Dirichlet one.

    Parameters
    ----------
    n, d
        Components and dimension.
    radius, hardness
        Of the soft ball.
    sd, sd_sd
        Expected standard deviation of the components, and the standard deviation of the prior on ``-log(variance)``.
    dirichlet
        Concentration.
    isotropic
        One variance a component instead of one a dimension.
    generator
        Places the means uniformly in the ball.
    """

    def __init__(
        self,
        n: int,
        d: int,
        *,
        radius: float,
        hardness: float,
        sd: float,
        sd_sd: float,
        dirichlet: float,
        isotropic: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.radius, self.hardness, self.sd_sd, self.dirichlet = radius, hardness, sd_sd, dirichlet
        self.start = -2 * math.log(sd)
        direction = torch.randn((n, d), generator=generator)
        length = radius * torch.rand((n, 1), generator=generator) ** (1 / d)
        self.mean = nn.Parameter(length * direction / direction.norm(dim=1, keepdim=True))
        self.neglogvar = nn.Parameter(torch.full((n, 1 if isotropic else d), self.start))
        self.weight = nn.Parameter(torch.ones(n))

    @property
    def d(self) -> int:
        """Dimension."""
        return int(self.mean.shape[1])

    def component_log_density(self, z: Tensor) -> Tensor:
        """Log density of each row under each component, (cells, components)."""
        precision = self.neglogvar.exp().expand_as(self.mean)
        # (z - m)^2 p expanded into products of matrices: no (cells, components, d) array.
        square = z**2 @ precision.T - 2 * z @ (precision * self.mean).T + (precision * self.mean**2).sum(1)
        half_log_det = 0.5 * self.neglogvar.expand_as(self.mean).sum(1)
        return -0.5 * square + half_log_det - 0.5 * self.d * math.log(2 * math.pi)

    def log_density(self, z: Tensor, component: Tensor | None = None) -> Tensor:
        """Log density of each row, (cells,); of its own component where that is known."""
        each = self.component_log_density(z) + torch.log_softmax(self.weight, 0)
        if component is None:
            return torch.logsumexp(each, 1)
        return each.gather(1, component[:, None])[:, 0]

    def log_prior(self) -> Tensor:
        """Log density of the mixture's own parameters, up to a constant."""
        ball = -nn.functional.softplus(self.hardness * (self.mean.norm(dim=1) / self.radius - 1)).sum()
        variance = -0.5 * (((self.neglogvar - self.start) / self.sd_sd) ** 2).sum()
        weights = (self.dirichlet - 1) * torch.log_softmax(self.weight, 0).sum()
        return ball + variance + weights
