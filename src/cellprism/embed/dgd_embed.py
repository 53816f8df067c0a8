"""Representations of cells under a finished model: where to start, and how to climb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from cellprism.embed.dgd_likelihood import counts_batch
from cellprism.embed.dgd_net import DGDNet

__all__ = ["embed_cells", "pca_start"]

START_CELLS = 20_000
"""Cells from which the components of a start are taken, at most."""


def pca_start(data: Sequence[sparse.csr_array], d: int, radius: float, seed: int) -> NDArray[np.float32]:
    """Principal components of log-normalised counts, each modality with the same weight, scaled into the soft ball.

    Returns
    -------
    ndarray
        (cells, d) float32 with a root mean square norm of half the radius.
    """
    from sklearn.decomposition import PCA

    from cellprism.embed.pca import log_normalise

    blocks = []
    for X in data:
        L = log_normalise(X)
        variance = np.asarray(L.power(2).mean(0)).ravel() - np.asarray(L.mean(0)).ravel() ** 2
        blocks.append(L / np.sqrt(max(float(variance.sum()), 1e-12)))
    both = sparse.csr_array(sparse.hstack(blocks))
    k = min(d, min(both.shape) - 1)
    # A start needs no more: beyond this many cells the components of a sample are as good, at a third of the memory.
    n = both.shape[0]
    rows: Any = slice(None)
    if n > START_CELLS:
        rows = np.sort(np.random.default_rng(seed).choice(n, START_CELLS, replace=False))
    pca = PCA(k, svd_solver="arpack", random_state=seed).fit(both[rows].astype(np.float64))
    axes = pca.components_.T.astype(np.float32)
    Z = np.asarray(both @ axes, dtype=np.float64) - pca.mean_ @ axes
    Z *= 0.5 * radius / np.sqrt((Z**2).sum(1).mean())
    out = np.zeros((len(Z), d), np.float32)
    out[:, :k] = Z
    return out


def embed_cells(
    net: DGDNet,
    data: Sequence[sparse.csr_array],
    batch: NDArray[np.int64] | None,
    candidates: Tensor,
    *,
    steps: int = 150,
    lr: float = 0.05,
    chunk: int = 512,
) -> tuple[Tensor, Tensor | None]:
    """Maximise the density of new cells over their representations; everything else is frozen.

    Parameters
    ----------
    net
        Trained model.
    data
        Counts a modality, (cells, features).
    batch
        (cells,) category of the covariate, -1 where it is not one of the training's.
    candidates
        (m, latent) starting points; each cell takes the one under which its counts are likeliest (as multinomial
        draws, which is one sparse product for all cells and candidates).
    steps, lr
        Of Adam, with a learning rate that falls to zero along a cosine.
    chunk
        Cells optimised at a time.

    Returns
    -------
    z, c
        (cells, latent) and (cells, covariate latent).
    """
    device = candidates.device
    n = data[0].shape[0]
    start, c_start = best_candidates(net, data, batch, candidates)
    z_out = torch.empty((n, candidates.shape[1]), device=device)
    c_out = None if c_start is None else torch.empty_like(c_start)
    for begin in range(0, n, chunk):
        rows = slice(begin, min(begin + chunk, n))
        counts = [counts_batch(X[rows], device) for X in data]
        z = start[rows].clone().requires_grad_()
        c = None if c_start is None else c_start[rows].clone().requires_grad_()
        moving = [p for p in (z, c) if p is not None]
        adam = torch.optim.Adam(moving, lr=lr)
        slow = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        label = None if batch is None else torch.as_tensor(batch[rows], device=device)
        known = label is not None and bool((label >= 0).all())
        for _ in range(steps):
            adam.zero_grad(set_to_none=True)
            density = net.log_likelihood(z, c, counts) + net.log_prior(z, c, label if known else None)
            (-density.sum()).backward()  # type: ignore[no-untyped-call]
            adam.step()
            slow.step()
        z_out[rows] = z.detach()
        if c_out is not None and c is not None:
            c_out[rows] = c.detach()
    return z_out, c_out


@torch.no_grad()
def best_candidates(
    net: DGDNet, data: Sequence[sparse.csr_array], batch: NDArray[np.int64] | None, candidates: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Starting point of each cell."""
    n = data[0].shape[0]
    if net.batch_prior is None:
        at = likeliest(net, data, candidates, None)
        return candidates[torch.as_tensor(at, device=candidates.device)], None
    means = net.batch_prior.mean.detach()
    label = np.full(n, -1) if batch is None else batch
    z = torch.empty((n, candidates.shape[1]), device=candidates.device)
    # A cell of an unknown batch starts from the mean of all batches.
    c = means.mean(0).expand(n, -1).clone()
    for b in np.unique(label):
        rows = np.flatnonzero(label == b)
        where = means[b] if b >= 0 else means.mean(0)
        at = likeliest(net, [X[rows] for X in data], candidates, where)
        take = torch.as_tensor(rows, device=candidates.device)
        z[take] = candidates[torch.as_tensor(at, device=candidates.device)]
        c[take] = where
    return z, c


def likeliest(
    net: DGDNet, data: Sequence[sparse.csr_array], candidates: Tensor, where: Tensor | None
) -> NDArray[np.intp]:
    """Index of the candidate with the highest multinomial likelihood, (cells,)."""
    score = np.zeros((data[0].shape[0], len(candidates)), np.float32)
    for begin in range(0, len(candidates), 64):
        part = candidates[begin : begin + 64]
        c = None if where is None else where.expand(len(part), -1)
        for X, logits in zip(data, net.logits(part, c), strict=True):
            score[:, begin : begin + 64] += X @ torch.log_softmax(logits, 1).cpu().numpy().T
    return np.asarray(score.argmax(1))
