"""The parts that turn pre-activations into sparse codes, one class a variant."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from cellprism.sae.config import SAEConfig
from cellprism.sae.ranks.face import ALONE, Ranks

__all__ = ["ActivationPart", "BatchTopK", "Gated", "JumpReLU", "ReLU", "TopK", "make_activation"]


class ActivationPart(nn.Module, ABC):
    """Turns pre-activations (cells, width) into non-negative codes (cells, width)."""

    ranks: Ranks = ALONE
    """Processes that train the model; features compete over all of them."""

    def training_codes(self, pre: Tensor) -> Tensor:
        """Codes as used in training; equal to :meth:`forward` unless the variant looks at the whole batch."""
        codes: Tensor = self.forward(pre)
        return codes

    @abstractmethod
    def forward(self, pre: Tensor) -> Tensor:
        """Codes of each cell by itself, as used in inference."""


class ReLU(ActivationPart):
    """``max(pre, 0)``."""

    def forward(self, pre: Tensor) -> Tensor:
        """Rectify."""
        return torch.relu(pre)


class TopK(ActivationPart):
    """The k largest positive pre-activations of each cell (Gao et al. 2024, arXiv 2406.04093)."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.k = k

    def forward(self, pre: Tensor) -> Tensor:
        """Keep the k largest a cell."""
        return self.ranks.keep_largest(torch.relu(pre), self.k)


class BatchTopK(ActivationPart):
    """The k x cells largest of a batch; one threshold at inference (Bussmann et al. 2024, arXiv 2412.06410).

    The threshold follows the smallest kept value of the training batches, and :func:`cellprism.fit` sets it at the end
    so that cells kept out of training (all cells, where none are) have k active features on average.
    """

    threshold: Tensor

    def __init__(self, k: int, momentum: float = 0.99) -> None:
        super().__init__()
        self.k = k
        self.momentum = momentum
        self.register_buffer("threshold", torch.tensor(-1.0))

    def training_codes(self, pre: Tensor) -> Tensor:
        """Keep the largest of the whole batch and let the threshold follow."""
        positive = torch.relu(pre)
        lowest = self.ranks.least_of_largest(positive, self.k)[0]
        self.follow(lowest)
        return positive * (positive >= lowest)

    @torch.no_grad()
    def follow(self, lowest: Tensor) -> None:
        """Move the threshold towards the smallest kept value of a batch."""
        followed = self.momentum * self.threshold + (1 - self.momentum) * lowest
        self.threshold.copy_(torch.where(self.threshold < 0, lowest, followed))

    def forward(self, pre: Tensor) -> Tensor:
        """Keep what reaches the learned threshold."""
        positive = torch.relu(pre)
        return positive * (positive >= self.threshold)

    @torch.no_grad()
    def calibrate(self, pre: Tensor) -> None:
        """Set the threshold so that these cells (cells, width) have k active features on average."""
        # Half way to the first that is not kept: at a value that occurs, rounding would decide whether it stays.
        self.threshold.copy_(self.ranks.least_of_largest(torch.relu(pre), self.k, beyond=True).mean())


class _JumpReLU(torch.autograd.Function):
    """``pre * H(pre - threshold)`` with the kernel estimate of the threshold's gradient."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return pre * (pre > threshold)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(pre.dtype)
        return grad * (pre > threshold), (-(threshold / ctx.bandwidth) * near * grad).sum(0), None


class _Step(torch.autograd.Function):
    """``H(pre - threshold)`` with the kernel estimate of the threshold's gradient."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(pre.dtype)
        return None, (-(1 / ctx.bandwidth) * near * grad).sum(0), None


class JumpReLU(ActivationPart):
    """A learned threshold a feature (Rajamanoharan et al. 2024, arXiv 2407.14435).

    The thresholds are positive, so no rectifier is needed before them; with one, every silent feature would lie at 0 and
    count as near a threshold smaller than half the kernel's width.
    """

    def __init__(self, width: int, bandwidth: float, start: float = 0.1) -> None:
        super().__init__()
        self.bandwidth = bandwidth
        self.log_threshold = nn.Parameter(torch.full((width,), start).log())

    def forward(self, pre: Tensor) -> Tensor:
        """Keep what exceeds the feature's threshold."""
        codes: Tensor = _JumpReLU.apply(pre, self.log_threshold.exp(), self.bandwidth)  # type: ignore[no-untyped-call]
        return codes

    def active(self, pre: Tensor) -> Tensor:
        """1 where a feature is active, differentiable in its threshold (for the L0 penalty)."""
        active: Tensor = _Step.apply(pre, self.log_threshold.exp(), self.bandwidth)  # type: ignore[no-untyped-call]
        return active


class Gated(ActivationPart):
    """A gate decides whether, a second affine map of the same pre-activation how much.

    ``codes = H(pre) * relu(exp(r) * pre + m)`` (Rajamanoharan et al. 2024, arXiv 2404.16014, equations 6 and 7, where the
    magnitude path shares the gate's weights up to a factor and a bias a feature).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(width))
        self.magnitude_bias = nn.Parameter(torch.zeros(width))

    def forward(self, pre: Tensor) -> Tensor:
        """Measure where the gate is open."""
        return (pre > 0) * torch.relu(self.log_gain.exp() * pre + self.magnitude_bias)


def make_activation(config: SAEConfig, r: int) -> ActivationPart:
    """Part for a config, on a scaled embedding of dimension ``r``."""
    if config.activation == "relu":
        return ReLU()
    if config.activation == "jumprelu":
        return JumpReLU(config.width, config.bandwidth or math.sqrt(r) / 8)
    if config.activation == "gated":
        return Gated(config.width)
    # SAEConfig has checked that these two have a k.
    k = config.k or 1
    return TopK(k) if config.activation == "topk" else BatchTopK(k)
