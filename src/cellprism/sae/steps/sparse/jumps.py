"""A training step of jumprelu while many pre-activations lie near their thresholds."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.numba_cache import compiled
from cellprism.sae.activation import JumpReLU
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.shared.threads import spread
from cellprism.sae.steps.sparse import kernels
from cellprism.sae.steps.sparse.selection import Entries
from cellprism.sae.steps.sparse.step import LOOK, MOST_ACTIVE, Decoded, SparseStep, takes_sparse_step
from cellprism.sae.steps.way import StepResult

__all__ = ["JumpStep", "takes_jump_step"]

Array = NDArray[Any]


_DIMENSIONS = 64  # a threshold's kernel widens with the dimensions; in fewer, looking costs more than it brings


def takes_jump_step(config: SAEConfig, r: int) -> bool:
    """Whether :class:`JumpStep` knows this objective and pays in r scaled dimensions."""
    return takes_sparse_step(config) and config.activation == "jumprelu" and r >= _DIMENSIONS


class JumpStep(SparseStep):
    """The sparse step, in which thresholds learn by a matrix product where that is less work.

    A threshold learns from every pre-activation within half a kernel's width of it. In many dimensions these are many
    times more than the active codes. Codes, residuals and the gradients of both matrices then still walk over the active
    codes, and one product of residuals and decoder says what each pre-activation near its threshold would change.
    Parameters follow those of :class:`~cellprism.sae.steps.dense.DenseStep` up to rounding.
    """

    many = False
    """Whether the last batch had so many pre-activations near their thresholds."""
    _pre: Array = np.empty((0, 0), np.float32)

    def _step(self, x: Tensor, dead: Tensor | None, lr: float) -> StepResult | None:
        sae, activation = self.sae, self._jumps
        some = x[: max(1, min(LOOK, len(x) // 8))]  # an eighth of the product at most
        shift = -sae.decoder_bias if sae.config.pre_bias == "tied" else sae.input_bias
        pre = torch.addmm(sae.encoder_bias, some if shift is None else some + shift, sae.encoder.T)
        threshold = activation.log_threshold.exp()
        if float((pre > threshold).float().mean()) > MOST_ACTIVE:
            return None
        self.many = float((pre > threshold - activation.bandwidth / 2).float().mean()) > MOST_ACTIVE
        return super()._step(x, dead, lr)

    @property
    def _jumps(self) -> JumpReLU:
        assert isinstance(self.sae.activation, JumpReLU)
        return self.sae.activation

    def _select(self, shifted: Tensor) -> Entries:
        if not self.many:
            return super()._select(shifted)
        n, w = len(shifted), self.sae.width
        if len(self._pre) < n:
            self._pre = np.empty((n, w), np.float32)
        bar = self._jumps.log_threshold.exp().numpy()
        return self.select.above(shifted, self.sae.encoder, self.sae.encoder_bias, bar, copy=self._pre)

    def _decode(self, x: Array, codes: Entries, scale: Any, press: Array) -> Decoded:
        if not self.many:
            return super()._decode(x, codes, scale, press)
        sae, activation = self.sae, self._jumps
        n, w = len(x), sae.width
        residual, squared = np.empty_like(x), np.empty(n, np.float32)
        slope = np.zeros(len(codes.value), np.float32)
        spread(
            kernels.decode, n, x, *codes, sae.decoder.detach().numpy(), sae.decoder_bias.detach().numpy(), scale,
            self.zeros, residual, slope, squared, threads=self.threads,
        )  # fmt: skip
        penalty, pressure = self._pressure(len(codes.value) / n, n)
        threshold = activation.log_threshold.detach().exp().numpy()
        half = np.float32(activation.bandwidth / 2)
        sums: dict[int, tuple[Array, Array]] = {}

        def keep(number: int, first: int, _mark: int, by_code: Array) -> None:
            sums[number] = np.zeros(w, np.float32), np.zeros(w, np.float32)
            _edges(by_code, self._pre[first : first + len(by_code)], threshold, half, *sums[number])

        blocks = self.select.blocks(torch.from_numpy(residual), sae.decoder, torch.zeros(w), torch.float32, keep)
        edge, near = (np.sum([sums[i][part] for i in range(blocks)], axis=0) for part in (0, 1))
        edge *= -(threshold / np.float32(activation.bandwidth)) * scale
        self.gradients["activation.log_threshold"][:] = threshold * (
            edge - np.float32(pressure / activation.bandwidth) * near
        )
        return Decoded([residual], codes.value, slope, float(squared.sum(dtype=np.float64)), penalty)


@compiled()
def _edges(by_code: Any, pre: Any, threshold: Any, half: Any, edge: Any, near: Any) -> None:
    """Add a block's gradients by code, and how many they are, where pre-activations lie near their thresholds."""
    zero, one = np.float32(0), np.float32(1)
    for b in range(len(pre)):
        for j in range(pre.shape[1]):
            close = abs(pre[b, j] - threshold[j]) < half
            edge[j] += by_code[b, j] if close else zero
            near[j] += one if close else zero
