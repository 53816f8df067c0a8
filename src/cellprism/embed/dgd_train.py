"""Maximum a posteriori training of representations, mixture, decoder and dispersions together."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from cellprism.embed.dgd_likelihood import counts_batch
from cellprism.embed.dgd_net import DGDNet
from cellprism.numeric import numbers_checked
from cellprism.progress import Steps

__all__ = ["Representation", "TrainOptions", "train"]


@numbers_checked
@dataclass(frozen=True)
class TrainOptions:
    """How to train.

    Learning rates are Adam's; those of the representations and the mixture are multiDGD's.
    """

    epochs: int = 200
    batch_size: int = 128
    lr: float = 1e-3
    """Of the decoder."""
    lr_z: float = 1e-2
    """Of the representations."""
    lr_prior: float = 1e-2
    """Of the mixture."""
    weight_decay: float = 1e-4
    l1: float = 0.0
    """Weight of the sum of the decoder's absolute weights, beside the summed log density of a batch of cells. multiDGD
    has 1, which on a few thousand cells leaves three dimensions of twenty in use and a lower held-out likelihood."""
    betas: tuple[float, float] = (0.5, 0.7)
    """Adam's, short-sighted, since a cell's representation meets its gradient once an epoch."""
    holdout: float = 0.05
    """Share of cells whose counts do not train the decoder; their likelihood stops the training."""
    patience: int = 20
    """Epochs without a better held-out likelihood after which training stops."""


class Representation:
    """Trained vectors, one a cell, with the moments of Adam kept a row: only rows of a batch are touched.

    Parameters
    ----------
    start
        (cells, d).
    lr, betas
        Of Adam.
    """

    def __init__(self, start: Tensor, lr: float, betas: tuple[float, float]) -> None:
        self.value = start.clone()
        self.lr, self.betas = lr, betas
        self.first, self.second = torch.zeros_like(start), torch.zeros_like(start)
        self.steps = torch.zeros((len(start), 1), device=start.device)

    def rows(self, at: Tensor) -> Tensor:
        """Leaf tensor of some rows, to be handed to the model."""
        return self.value[at].requires_grad_()

    def step(self, at: Tensor, leaf: Tensor) -> None:
        """One step of Adam on these rows."""
        grad = leaf.grad
        if grad is None:
            return
        b1, b2 = self.betas
        steps = self.steps[at] + 1
        first = self.first[at].lerp(grad, 1 - b1)
        second = self.second[at].lerp(grad**2, 1 - b2)
        self.steps[at], self.first[at], self.second[at] = steps, first, second
        scaled = first / (1 - b1**steps) / ((second / (1 - b2**steps)).sqrt() + 1e-8)
        self.value[at] = leaf.detach() - self.lr * scaled


class _Passes:
    """Passes over cells, which change representations, and where they learn the rest; arguments as for :func:`train`."""

    def __init__(
        self,
        net: DGDNet,
        data: Sequence[sparse.csr_array],
        batch: NDArray[np.int64] | None,
        zs: Representation,
        cs: Representation | None,
        options: TrainOptions,
        rng: np.random.Generator,
    ) -> None:
        self.net, self.data, self.zs, self.cs, self.options, self.rng = net, data, zs, cs, options, rng
        self.device = zs.value.device
        fused = self.device.type in {"cpu", "cuda"}
        adam = {"betas": options.betas, "weight_decay": options.weight_decay, "fused": fused}
        prior = [p for m in (net.prior, net.batch_prior) if m is not None for p in m.parameters()]
        self.optimisers = [
            torch.optim.Adam(net.decoder.parameters(), lr=options.lr, **adam),  # type: ignore[arg-type]
            torch.optim.Adam(prior, lr=options.lr_prior, betas=options.betas, fused=fused),
        ]
        self.labels = None if batch is None else torch.as_tensor(batch, device=self.device)
        self.weights = [p for name, p in net.decoder.named_parameters() if name.endswith("weight")]

    def run(self, rows: NDArray[np.intp], learn: bool) -> float:
        """One pass over these cells; their mean negative log density."""
        total = 0.0
        for p in self.net.parameters():
            p.requires_grad_(learn)
        shuffled = self.rng.permutation(rows) if learn else rows
        for start in range(0, len(shuffled), self.options.batch_size):
            total += self._step(np.sort(shuffled[start : start + self.options.batch_size]), learn)
        return total / max(len(rows), 1)

    def _step(self, chunk: NDArray[np.intp], learn: bool) -> float:
        """One step on a batch of cells; their summed negative log density before it."""
        net, zs, cs, options = self.net, self.zs, self.cs, self.options
        at = torch.as_tensor(chunk, device=self.device)
        counts = [counts_batch(X[chunk], self.device) for X in self.data]
        zb, cb = zs.rows(at), None if cs is None else cs.rows(at)
        density = net.log_likelihood(zb, cb, counts).sum()
        density = density + net.log_prior(zb, cb, None if self.labels is None else self.labels[at]).sum()
        loss = -density
        told = density.item() if not density.requires_grad else density.detach().item()
        if learn:
            # Once a cell, as multiDGD has it: counted once in all, the joint maximum is a mixture that shrinks
            # onto its means, with every cell on one of them.
            loss = loss - net.log_prior_of_parameters() * len(chunk)
            for o in self.optimisers:
                o.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if learn:
            if options.l1:
                penalise(self.weights, options.l1)
            for o in self.optimisers:
                o.step()
        zs.step(at, zb)
        if cs is not None and cb is not None:
            cs.step(at, cb)
        return -float(told)


def train(
    net: DGDNet,
    data: Sequence[sparse.csr_array],
    batch: NDArray[np.int64] | None,
    z: Tensor,
    c: Tensor | None,
    options: TrainOptions,
    *,
    seed: int,
    progress: bool,
) -> tuple[Tensor, Tensor | None, list[dict[str, float]]]:
    """Train ``net`` in place.

    Parameters
    ----------
    net
        Model on its device.
    data
        Counts a modality, (cells, features).
    batch
        (cells,) index of the covariate's category.
    z, c
        Starting representations.
    seed
        Of the order of cells and the held-out ones.

    Returns
    -------
    z, c, history
        Trained representations; a dict an epoch with the mean negative log density a cell.
    """
    rng = np.random.default_rng(seed)
    n = len(z)
    order = rng.permutation(n)
    n_out = min(round(options.holdout * n), n - 1)
    held, used = np.sort(order[:n_out]), np.sort(order[n_out:])
    zs = Representation(z, options.lr_z, options.betas)
    cs = None if c is None else Representation(c, options.lr_z, options.betas)
    passes = _Passes(net, data, batch, zs, cs, options, rng)
    history: list[dict[str, float]] = []
    best, best_state, waited = float("inf"), None, 0
    with shown(options.epochs, progress) as advance:
        for epoch in range(options.epochs):
            row = {"epoch": float(epoch), "train": passes.run(used, True)}
            if n_out:
                row["held_out"] = passes.run(held, False)
            history.append(row)
            advance(row)
            if not n_out:
                continue
            # Improvements below a hundred-thousandth are the jitter of the representations.
            if row["held_out"] < best - 1e-5 * abs(best if np.isfinite(best) else 1.0):
                best, waited = row["held_out"], 0
                best_state = (
                    copy.deepcopy(net.state_dict()),
                    zs.value.clone(),
                    None if cs is None else cs.value.clone(),
                )
            else:
                waited += 1
                if waited >= options.patience:
                    break
    for p in net.parameters():
        p.requires_grad_(False)
    if best_state is not None:
        net.load_state_dict(best_state[0])
        return best_state[1], best_state[2], history
    return zs.value, None if cs is None else cs.value, history


@torch.no_grad()
def penalise(weights: Sequence[Tensor], l1: float) -> None:
    """Add the gradient of ``l1 * sum |w|``, which is cheaper than to trace it."""
    for w in weights:
        if w.grad is not None:
            w.grad.add_(torch.sign(w), alpha=l1)


@contextlib.contextmanager
def shown(total: int, progress: bool) -> Any:
    """Shows the epochs, where that is asked for."""
    with Steps("training the decoder", total, progress) as steps:
        yield lambda row: steps.advance(f"{row['train']:.1f} a cell")
