"""The paper's baseline with sparsity built in: a variational autoencoder of expression under a sparse prior."""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributions import Cauchy, Laplace, Normal

from cellprism.errors import InputError
from cellprism.recovery.task import Task

__all__ = ["vae"]

Prior = Literal["gaussian", "laplace", "cauchy"]

_PRIORS = {"gaussian": Normal, "laplace": Laplace, "cauchy": Cauchy}


class _VAE(nn.Module):
    """Gaussian posterior, Gaussian likelihood of unit variance on standardised expression."""

    def __init__(self, genes: int, latent: int, hidden: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(genes, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, genes))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, (cells, latent) each."""
        mean, log_sd = self.encoder(x).chunk(2, dim=1)
        return mean, log_sd.clamp(-8, 4).exp()


def vae(
    task: Task,
    seed: int,
    *,
    prior: Prior = "laplace",
    latent: int | None = None,
    hidden: int = 300,
    beta: float = 1.0,
    lr: float = 1e-3,
    epochs: int = 30,
    batch_size: int = 512,
) -> NDArray[np.float32]:
    """Train on expression and give the posterior means of the held-out cells.

    Parameters
    ----------
    task, seed
        What every method takes.
    prior
        Standard normal, or the heavy-tailed Laplace or Cauchy with scale 1.
    latent
        Dimensions; None: 150, or the number of genes where that is smaller.
    hidden
        Units of the one hidden layer of encoder and decoder.
    beta
        Weight of the divergence from the prior, beside the squared error summed over genes.
    lr, epochs, batch_size
        Adam's.

    Returns
    -------
    Posterior means, (held-out cells, latent).

    Notes
    -----
    The divergence has no closed form under a Laplace or Cauchy prior, so it is the one-sample estimate
    ``log q(z | x) - log p(z)`` under every prior alike.
    """
    if prior not in _PRIORS:
        raise InputError("the prior must be gaussian, laplace or cauchy", repr(prior), "choose one of the three")
    train, held = task.dense(~task.held_out), task.dense(task.held_out)
    mean, scale = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-6)
    x = torch.from_numpy((train - mean) / scale)
    latent = latent or min(150, x.shape[1])
    on_z = _PRIORS[prior](torch.tensor(0.0), torch.tensor(1.0))
    with torch.random.fork_rng():  # posterior samples come from torch's global state: put it back afterwards
        torch.manual_seed(seed)
        model = _VAE(x.shape[1], latent, hidden)
        optimiser = torch.optim.Adam(model.parameters(), lr=lr)
        for epoch in range(epochs):
            for rows in torch.split(torch.randperm(len(x)), batch_size):
                batch = x[rows]
                mu, sd = model.posterior(batch)
                posterior = Normal(mu, sd)
                z = posterior.rsample()
                error = 0.5 * (model.decoder(z) - batch).square().sum(dim=1)
                divergence = (posterior.log_prob(z) - on_z.log_prob(z)).sum(dim=1)  # type: ignore[no-untyped-call]
                loss = (error + beta * divergence).mean()
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                optimiser.step()
            if not bool(torch.isfinite(loss)):
                raise FloatingPointError(f"the VAE diverged in epoch {epoch + 1}. Remedy: lower lr.")
        with torch.no_grad():
            codes = model.posterior(torch.from_numpy((held - mean) / scale))[0]
    return cast(NDArray[np.float32], codes.numpy())
