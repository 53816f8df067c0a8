"""A training step for codes that are not sparse: matrix products, without automatic differentiation.

The published recipes start with half of all features active and many stay there; following single active codes
(:class:`~cellprism.sae.steps.sparse.step.SparseStep`) then costs more than multiplying whole matrices.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellprism.numba_cache import compiled
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.shared.bar import bar_of, count_over
from cellprism.sae.steps.shared.threads import spread
from cellprism.sae.steps.sparse.step import SparseStep, takes_sparse_step
from cellprism.sae.steps.way import State, StepResult

__all__ = ["ProductStep", "takes_product_step"]

_MANY = 0.15  # share of features that topk keeps from which products are quicker
_WORTH = 0.1  # share of active codes from which products are quicker


def takes_product_step(config: SAEConfig) -> bool:
    """Whether :class:`ProductStep` knows this objective and pays: relu, and topk with many active features."""
    many = config.activation == "topk" and (config.k or 1) >= _MANY * config.width
    return takes_sparse_step(config) and (config.activation == "relu" or many)


class ProductStep(SparseStep):
    """Forward, backward and Adam by matrix products while a good part of the codes is active, then as a sparse step.

    For relu and topk. Parameters follow those of :class:`~cellprism.sae.steps.dense.DenseStep` up to rounding.
    """

    products = True
    """Whether the codes of the last step were dense enough; once they were not, the sparse step takes over for good."""
    _codes = _by_code = torch.empty(0, 0)

    def __call__(self, x: Tensor, dead: Tensor | None, p: float, lr: float) -> StepResult:
        """One step on a batch (cells, r); ``p`` is 1 for the objectives known here."""
        if not self.products or (dead is not None and bool(dead.any())):
            return super().__call__(x, dead, p, lr)
        with torch.no_grad():
            return self._multiply(x, lr)

    def state(self) -> State:
        """The sparse step's, and which of the two is taken."""
        return State({}, super().state().numbers | {"products": self.products})

    def restore(self, saved: State) -> None:
        """Go on from a state of this step."""
        super().restore(saved)
        self.products = saved.numbers.get("products", True)

    def _multiply(self, x: Tensor, lr: float) -> StepResult:
        sae, config = self.sae, self.sae.config
        (n, r), w = x.shape, sae.width
        if len(self._codes) < n:
            self._codes, self._by_code = torch.empty(n, w), torch.empty(n, w)
        shift = -sae.decoder_bias if config.pre_bias == "tied" else sae.input_bias
        shifted = x if shift is None else x + shift
        codes = torch.addmm(sae.encoder_bias, shifted, sae.encoder.T, out=self._codes[:n])
        active = np.zeros(n, np.int64)
        spread(_keep, n, codes.numpy(), self.k if self.k < w else 0, active, threads=self.threads)
        D = sae.decoder.detach()
        parts = [slice(*ends) for ends in pairwise((0, *self.prefixes))]
        residuals = [torch.addmm(sae.decoder_bias, codes[:, parts[0]], D[parts[0]]).sub_(x)]
        for part in parts[1:]:
            residuals.append(torch.addmm(residuals[-1], codes[:, part], D[part]))
        numbers = n * r * len(parts)
        reconstruction = sum(float(residual.square().sum(dtype=torch.float64)) for residual in residuals) / numbers
        for residual in residuals:
            residual *= 2 / numbers
        for wider, residual in pairwise(residuals[::-1]):
            residual += wider  # a code has a part in every prefix from its own on
        press, pull = self._penalty_by_feature(n)
        by_code = self._by_code[:n]
        for part, residual in zip(parts, residuals, strict=True):
            torch.mm(residual, D[part].T, out=by_code[:, part])
        spread(_mask, n, by_code.numpy(), codes.numpy(), press, threads=self.threads)
        together = codes.sum(dim=0)
        gradients = {name: torch.from_numpy(g) for name, g in self.gradients.items()}
        encoder, decoder = gradients["encoder"], gradients["decoder"]
        torch.mm(by_code.T, shifted, out=encoder)
        for part, residual in zip(parts, residuals, strict=True):
            torch.mm(codes[:, part].T, residual, out=decoder[part])
        torch.sum(by_code, dim=0, out=gradients["encoder_bias"])
        torch.sum(residuals[0], dim=0, out=gradients["decoder_bias"])
        if pull.any():
            decoder += (torch.from_numpy(pull) * together).unsqueeze(1) * D
        if config.unit_norm:
            decoder -= (decoder * D).sum(dim=1, keepdim=True) * D
        if self.options.max_grad_norm is not None:
            squared = encoder.square().sum(dim=1) + decoder.square().sum(dim=1)
            self.squared[:] = (squared + gradients["encoder_bias"].square()).numpy()
        penalty = float((together.numpy() * press).sum(dtype=np.float64))
        self.products = int(active.sum()) > _WORTH * codes.numel()
        self._update(lr)
        return StepResult(reconstruction + penalty, reconstruction, penalty, 0.0, together > 0)


@compiled()
def _keep(lo: int, hi: int, codes: Any, k: int, active: Any) -> None:
    """Leave the positive values of each row, and of them the k largest where ``k`` is not 0; how many that are."""
    w = codes.shape[1]
    for q in range(lo, hi):
        bar = bar_of(codes[q], w, k, np.float32(0)) if k > 0 else np.float32(0)
        active[q] = count_over(codes[q], w, bar)
        for j in range(w):
            codes[q, j] = codes[q, j] if codes[q, j] > bar else np.float32(0)


@compiled()
def _mask(lo: int, hi: int, by_code: Any, codes: Any, press: Any) -> None:
    """Add the penalty's gradient, and none where the code is 0."""
    for q in range(lo, hi):
        for j in range(codes.shape[1]):
            by_code[q, j] = by_code[q, j] + press[j] if codes[q, j] > 0 else np.float32(0)
