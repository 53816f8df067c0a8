"""Sharpen readouts: maximum-likelihood unmixing with a spike at zero and a positive slab."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["likelihood_slope", "sharpen"]

_SHARE = 0.3


def sharpen(
    white: NDArray[np.floating],
    start: NDArray[np.floating],
    offset: NDArray[np.floating],
    *,
    steps: int = 1_000,
    batch: int = 1_000,
    lr: float = 1e-2,
    widths: tuple[float, float] = (0.2, 0.05),
    seed: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Readouts that are exactly zero in most cells, from readouts that nearly are.

    Maximises the likelihood of ``u = W x + b`` under independent ``p(u) = 0.7 N(u; 0, s^2) + 0.3 * 2 N(u; 0, 1) [u > 0]``
    plus ``log |det W|`` (noise-free independent component analysis; rows need not be orthogonal), while the spike's width
    s shrinks: that is graduated non-convexity, so that a start far off is not fatal. Meant for embeddings without noise to
    speak of: with noise its optimum is not the truth.

    Parameters
    ----------
    white
        (cells, r) embedding with unit variance along each axis, training cells.
    start, offset
        (r, r) W and (r,) b to start from, scaled so that active values have a root mean square of about 1.
    steps, batch, lr
        Of Adam.
    widths
        First and last width of the spike.
    seed
        Order of the cells.

    Returns
    -------
    W and b.
    """
    generator = torch.Generator().manual_seed(seed)
    x_all = torch.as_tensor(np.asarray(white, dtype=np.float32))
    W = torch.as_tensor(np.asarray(start, dtype=np.float32)).clone()
    b = torch.as_tensor(np.asarray(offset, dtype=np.float32)).clone()
    optimiser = torch.optim.Adam([W, b], lr=lr)
    for step in range(steps):
        done = step / steps
        s = widths[0] * (widths[1] / widths[0]) ** min(1.0, done / 0.7)
        falling = 1.0 if done < 0.6 else 0.5 * (1 + math.cos(math.pi * (done - 0.6) / 0.4))
        for group in optimiser.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 50) * falling
        x = x_all[torch.randint(len(x_all), (min(batch, len(x_all)),), generator=generator)]
        slope = likelihood_slope(x @ W.T + b, s) / len(x)
        W.grad, b.grad = -slope.T @ x - torch.linalg.inv(W).T, -slope.sum(dim=0)
        optimiser.step()
    return W.numpy().astype(np.float64), b.numpy().astype(np.float64)


def likelihood_slope(u: Tensor, s: float) -> Tensor:
    """Derivative of ``log p(u)``, see :func:`sharpen`, with a spike of width s."""
    spike = math.log((1 - _SHARE) / s) - u.square() / (2 * s * s)
    slab = math.log(2 * _SHARE) - u.square() / torch.where(u > 0, 2.0, 2 * s * s)
    # Below zero both have the spike's width, so only the active side is the slab's own.
    in_slab = torch.where(u > 0, torch.sigmoid(slab - spike), 0.0)
    return -u * (in_slab + (1 - in_slab) / (s * s))
