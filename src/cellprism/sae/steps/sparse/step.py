"""A training step that touches only what fired: the same numbers as the dense step, in less time on a CPU."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.activation import BatchTopK, Gated, JumpReLU, TopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.loss import LEAST_RESIDUAL
from cellprism.sae.model import SAE
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.steps.shared.adam import adam, start_moments, update_rows
from cellprism.sae.steps.shared.threads import one_torch_thread, spread
from cellprism.sae.steps.sparse import gate_kernels, kernels, prefix_kernels
from cellprism.sae.steps.sparse.selection import Entries, Selector
from cellprism.sae.steps.way import State, StepResult
from cellprism.sae.training import TrainingOptions

__all__ = ["LOOK", "MOST_ACTIVE", "Decoded", "SparseStep", "takes_sparse_step"]

Array = NDArray[Any]
LOOK = 64
"""Cells that tell how many codes are active."""
MOST_ACTIVE = 0.2
"""Share of codes from which on the dense step is as fast."""


class Decoded(NamedTuple):
    """What decoding leaves: residuals, and by entry the codes and the gradients by pre-activations."""

    residuals: list[Array]
    """(cells, r) by matryoshka prefix: its own and those of all wider ones, summed."""
    code: Array
    slope: Array
    error: float
    """Summed squared residuals of every prefix."""
    penalty: float
    more: tuple[Array, Array] | None = None
    """Two numbers an entry, from whose sums by feature the activation's own gradients are made."""
    pressure: float = 0.0
    """Gradient of jumprelu's penalty by one active code."""


def takes_sparse_step(config: SAEConfig) -> bool:
    """Whether :class:`SparseStep` knows this objective: prefixes with relu, topk and batchtopk, and no p-annealing."""
    return config.p_end is None and (not config.matryoshka or config.activation in ("relu", "topk", "batchtopk"))


class SparseStep:
    """Forward, backward and Adam, fused by feature, for the objectives of :func:`takes_sparse_step`.

    Only the encoder's product is dense. Decoding, the gradients of both matrices and the penalty walk over the active
    codes (of jumprelu, over those near their thresholds too), unless a fifth of all is active: such a batch takes the dense
    step. A matryoshka prefix costs a residual: codes and decoder rows meet the sum over the prefixes that hold them. Adam
    is the dense one (its moments of silent features decay as ever), so parameters follow those of
    :class:`~cellprism.sae.steps.dense.DenseStep` up to rounding.

    Parameters
    ----------
    sae
        Changed in place, on the CPU in float32.
    optimiser
        Adam over the SAE's parameters; its moments are used and changed.
    options
        ``max_grad_norm`` and ``betas`` are read.
    bf16
        Take the encoder's product in bfloat16 and score the best candidates (topk) again in float32.
    threads
        That share a step; None = as many as torch has.
    """

    def __init__(
        self,
        sae: SAE,
        optimiser: torch.optim.Adam,
        options: TrainingOptions,
        *,
        bf16: bool = False,
        threads: int | None = None,
    ) -> None:
        self.sae, self.optimiser, self.options = sae, optimiser, options
        self.threads = threads or torch.get_num_threads()
        self.select, self.dense = Selector(self.threads), DenseStep(sae, optimiser, options)
        self.bf16 = bf16 and isinstance(sae.activation, TopK)
        self.k = sae.activation.k if isinstance(sae.activation, TopK | BatchTopK) else 0
        self.parameters = dict(sae.named_parameters())
        w = sae.width
        self.gradients = {name: torch.zeros_like(p).numpy() for name, p in self.parameters.items()}
        self.squared, self.fired = np.zeros(w, np.float32), np.zeros(w, np.bool_)
        self.first, self.zeros = np.zeros(w + 1, np.int64), np.zeros(w, np.float32)
        self.prefixes = sae.config.prefixes
        self.segment = np.array(sae.config.prefix_of_feature)
        self.bar = 0.0
        start_moments(optimiser, sae.parameters())

    def __call__(self, x: Tensor, dead: Tensor | None, p: float, lr: float) -> StepResult:
        """One step on a batch (cells, r); ``p`` is 1 for the objectives known here."""
        with torch.no_grad(), one_torch_thread():
            result = self._step(x, dead, lr)
        return result or self.dense(x, dead, p, lr)

    def errors(self, x: Tensor) -> tuple[float, float]:
        """Summed squared error of cells (cells, r) and their active codes, as in inference."""
        with torch.no_grad(), one_torch_thread():
            found = self._errors(x)
        return found or self.dense.errors(x)

    def state(self) -> State:
        """The bar that batchtopk starts from."""
        return State({}, {"bar": self.bar})

    def restore(self, saved: State) -> None:
        """Go on from a state of this step."""
        self.bar = saved.numbers["bar"]

    def _errors(self, x: Tensor) -> tuple[float, float] | None:
        """The errors, or None where too many codes are active."""
        sae, activation = self.sae, self.sae.activation
        shift = -sae.decoder_bias if sae.config.pre_bias == "tied" else sae.input_bias
        weights = (x if shift is None else x + shift, sae.encoder, sae.encoder_bias)
        if isinstance(activation, TopK):
            if activation.k > MOST_ACTIVE * sae.width:
                return None
            codes = self.select.largest(*weights, activation.k)
        else:
            bar = self.zeros
            if isinstance(activation, BatchTopK):
                # the threshold itself is kept, and 0 is not
                bar = bar + np.nextafter(np.float32(activation.threshold), np.float32(-1))
                bar = np.maximum(bar, np.float32(0))
            elif isinstance(activation, JumpReLU):
                bar = activation.log_threshold.exp().numpy()
            few = self.select.above(weights[0][:LOOK], *weights[1:], bar)
            if len(few.value) > MOST_ACTIVE * len(few.stop) * sae.width:
                return None
            codes = self.select.above(*weights, bar)
        if isinstance(activation, Gated):
            gain, offset = activation.log_gain.exp().numpy(), activation.magnitude_bias.numpy()
            measured = gain[codes.feature] * codes.value + offset[codes.feature]
            codes = codes._replace(value=np.maximum(measured, np.float32(0)))
        residual, squared = np.empty(x.shape, np.float32), np.empty(len(x), np.float32)
        slope = np.empty(len(codes.value), np.float32)
        arrays = (x.numpy(), *codes, sae.decoder.numpy(), sae.decoder_bias.numpy())
        spread(
            kernels.decode, len(x), *arrays, np.float32(0), self.zeros, residual, slope, squared, threads=self.threads
        )  # fmt: skip
        return float(squared.sum(dtype=np.float64)), float(np.count_nonzero(codes.value))

    def _step(self, x: Tensor, dead: Tensor | None, lr: float) -> StepResult | None:
        """The step, or None where too many codes are active."""
        sae, config = self.sae, self.sae.config
        n, r = x.shape
        shift = -sae.decoder_bias if config.pre_bias == "tied" else sae.input_bias
        shifted = x if shift is None else x + shift
        codes = self._select(shifted)
        if not self.k and len(codes.value) > MOST_ACTIVE * n * sae.width:
            return None
        numbers = n * r * len(self.prefixes)
        scale = np.float32(2 / numbers)
        press, pull = self._penalty_by_feature(n)
        found = self._decode(x.numpy(), codes, scale, press)
        has_dead = config.aux_weight > 0 and dead is not None and bool(dead.any())
        project = config.unit_norm and not has_dead
        self._gradients(shifted.numpy(), found, codes, scale, pull, project)
        self.gradients["decoder_bias"][:] = found.residuals[0].sum(axis=0) * scale
        auxiliary = 0.0
        fired = torch.as_tensor(self.fired.copy())
        if has_dead and dead is not None:
            least = LEAST_RESIDUAL * float(x.square().mean())
            auxiliary = self._auxiliary(shifted, -found.residuals[-1], dead, config.unit_norm, least)
        self._update(lr)
        reconstruction = found.error / numbers
        return StepResult(
            reconstruction + found.penalty + auxiliary, reconstruction, found.penalty, auxiliary, fired
        )  # fmt: skip

    def _select(self, shifted: Tensor) -> Entries:
        sae, activation = self.sae, self.sae.activation
        weights = (shifted, sae.encoder, sae.encoder_bias)
        if isinstance(activation, TopK):
            return self.select.largest(*weights, self.k, bf16=self.bf16)
        if isinstance(activation, BatchTopK):
            return self._batch_topk(shifted, activation)
        bar = self.zeros
        if isinstance(activation, JumpReLU):
            # from here on a pre-activation is near its threshold or over it
            bar = activation.log_threshold.exp().sub(activation.bandwidth / 2).numpy()
        return self.select.above(*weights, bar)

    def _batch_topk(self, shifted: Tensor, activation: BatchTopK) -> Entries:
        """The k x cells largest: entries over a guessed bar, lowered until there are enough, then cut exactly."""
        n, wanted = len(shifted), min(self.k * len(shifted), len(shifted) * self.sae.width)
        weights = (shifted, self.sae.encoder, self.sae.encoder_bias)
        codes = self.select.above(*weights, self.zeros + np.float32(self.bar))
        if len(codes.value) < wanted and self.bar > 0:
            codes = self.select.above(*weights, self.zeros)
        lowest = np.float32(0)
        if len(codes.value) > wanted:
            lowest = np.partition(codes.value, -wanted)[-wanted]
            keep = codes.value >= lowest
            cell = np.repeat(np.arange(n), codes.stop - codes.start)[keep]
            stop = np.cumsum(np.bincount(cell, minlength=n))
            start = np.concatenate([[0], stop[:-1]])
            codes = Entries(start, stop, codes.feature[keep], codes.value[keep])
        elif len(codes.value) == wanted:
            lowest = codes.value.min()
        self.bar = 0.8 * float(lowest)
        activation.follow(torch.tensor(lowest))
        return codes

    def _penalty_by_feature(self, n: int) -> tuple[Array, Array]:
        """Gradient of the L1 penalty by a code, and by a decoder row along itself (per unit of code)."""
        config = self.sae.config
        w, r = self.sae.decoder.shape
        if not config.l1_weight:
            return self.zeros, self.zeros
        if config.penalty_reduction == "mean":
            return np.full(w, config.l1_weight / (n * w), np.float32), self.zeros
        D = self.sae.decoder.detach().numpy()
        norms = np.sqrt(np.einsum("ij,ij->i", D, D))
        strength = np.float32(config.l1_weight / (n * math.sqrt(r)))
        return strength * norms, self.zeros if config.unit_norm else strength / np.maximum(norms, np.float32(1e-12))

    def _decode(self, x: Array, codes: Entries, scale: Any, press: Array) -> Decoded:
        sae, activation, config = self.sae, self.sae.activation, self.sae.config
        n, entries = len(x), len(codes.value)
        D, bias = sae.decoder.detach().numpy(), sae.decoder_bias.detach().numpy()
        residuals, squared = np.empty((len(self.prefixes), *x.shape), np.float32), np.empty(n, np.float32)
        residual, slope = residuals[0], np.zeros(entries, np.float32)
        if isinstance(activation, JumpReLU):
            threshold = activation.log_threshold.detach().exp().numpy()
            width = np.float32(activation.bandwidth)
            code, edge, near = (np.zeros(entries, np.float32) for _ in range(3))
            active = np.zeros(n, np.int64)
            spread(
                gate_kernels.decode_jumps, n, x, *codes, D, bias, scale, threshold, width, residual, code, slope, edge,
                near, squared, active, threads=self.threads,
            )  # fmt: skip
            penalty, pressure = self._pressure(float(active.sum()) / n, n)
            error = float(squared.sum(dtype=np.float64))
            return Decoded([residual], code, slope, error, penalty, (edge, near), pressure)
        more = None
        if isinstance(activation, Gated):
            gain, shift = activation.log_gain.detach().exp().numpy(), activation.magnitude_bias.detach().numpy()
            code, opened, turned = (np.zeros(entries, np.float32) for _ in range(3))
            spread(
                gate_kernels.decode_gated, n, x, *codes, D, bias, scale, press, gain, shift, residual, np.empty_like(x),
                code, slope, opened, turned, squared, threads=self.threads,
            )  # fmt: skip
            more = (turned, opened)
        elif len(self.prefixes) > 1:
            code = codes.value
            spread(
                prefix_kernels.decode_prefixes, n, x, *codes, D, bias, scale, press, self.segment, residuals, slope,
                squared, threads=self.threads,
            )  # fmt: skip
        else:
            code = codes.value
            spread(
                kernels.decode, n, x, *codes, D, bias, scale, press, residual, slope, squared, threads=self.threads
            )  # fmt: skip
        penalty = float((codes.value * press[codes.feature]).sum(dtype=np.float64)) if config.l1_weight else 0.0
        return Decoded(list(residuals), code, slope, float(squared.sum(dtype=np.float64)), penalty, more)

    def _pressure(self, mean: float, n: int) -> tuple[float, float]:
        """Penalty of jumprelu at ``mean`` active codes a cell, and its gradient by one active code of a batch of n."""
        weight, k = self.sae.config.l0_weight, self.sae.config.k
        if k is None:
            return weight * mean, weight / n
        return weight * (mean / k - 1) ** 2, weight * 2 * (mean / k - 1) / k / n

    def _gradients(
        self, x: Array, found: Decoded, codes: Entries, scale: Any, pull: Array, project: bool, add: bool = False
    ) -> None:
        entry, cell = np.empty(len(codes.value), np.int64), np.empty(len(codes.value), np.int32)
        kernels.by_feature(codes.start, codes.stop, codes.feature, self.first, entry, cell)
        own = self.gradients
        for residual, (lo, hi) in zip(found.residuals, pairwise((0, *self.prefixes)), strict=True):
            spread(
                kernels.feature_gradients, hi - lo, x, residual, found.code, found.slope, scale, codes.value, pull,
                self.first, entry, cell, self.sae.decoder.detach().numpy(), project, add, own["encoder"],
                own["encoder_bias"], own["decoder"], self.squared, self.fired, threads=self.threads, first=lo,
            )  # fmt: skip
        if found.more is None:
            return
        activation = self.sae.activation
        a, b = np.empty_like(self.zeros), np.empty_like(self.zeros)
        spread(
            kernels.sums_by_feature, self.sae.width, self.first, entry, *found.more, a, b, threads=self.threads
        )  # fmt: skip
        if isinstance(activation, JumpReLU):
            threshold = activation.log_threshold.detach().exp().numpy()
            own["activation.log_threshold"][:] = threshold * (a - np.float32(found.pressure / activation.bandwidth) * b)
        elif isinstance(activation, Gated):
            own["activation.log_gain"][:] = activation.log_gain.detach().exp().numpy() * a
            own["activation.magnitude_bias"][:] = b

    def _auxiliary(self, shifted: Tensor, target: Array, dead: Tensor, project: bool, least: float) -> float:
        """Add the gradients of :func:`cellprism.sae.loss.auxiliary_loss` and return its weighted value."""
        sae = self.sae
        n, r = target.shape
        indices = dead.nonzero().squeeze(1)
        k = min(sae.config.aux_k or max(1, r // 2), len(indices))
        codes = self.select.largest(shifted, sae.encoder[indices], sae.encoder_bias[indices], k)
        codes = codes._replace(feature=indices.numpy().astype(np.int32)[codes.feature])
        size = max(float(np.square(target).sum(dtype=np.float64)) / (n * r), least, 1e-12)
        weight = sae.config.aux_weight / size
        scale = np.float32(weight * 2 / (n * r))
        residual, squared = np.empty_like(target), np.empty(n, np.float32)
        slope = np.zeros(len(codes.value), np.float32)
        D = sae.decoder.detach().numpy()
        spread(
            kernels.decode, n, target, *codes, D, np.zeros(r, np.float32), scale, self.zeros, residual, slope, squared,
            threads=self.threads,
        )  # fmt: skip
        error = float(squared.sum(dtype=np.float64))
        found = Decoded([residual] * len(self.prefixes), codes.value, slope, error, 0.0)
        self._gradients(shifted.numpy(), found, codes, scale, self.zeros, project, add=True)
        return float(weight * error / (n * r))

    def _update(self, lr: float) -> None:
        sae, own = self.sae, self.gradients
        if sae.config.pre_bias != "none":
            through_input = (torch.as_tensor(own["encoder_bias"]) @ sae.encoder).numpy()
            if sae.config.pre_bias == "tied":
                own["decoder_bias"] -= through_input
            else:
                own["input_bias"][:] = through_input
        # The kernels' squared lengths hold both matrices and the encoder's bias.
        squared = float(self.squared.sum(dtype=np.float64))
        squared += sum(
            float(np.square(g).sum())
            for name, g in own.items()
            if name not in ("encoder", "decoder", "encoder_bias")
        )  # fmt: skip
        limit = self.options.max_grad_norm
        clip = 1.0 if limit is None else min(1.0, limit / (math.sqrt(squared) + 1e-6))
        beta1, beta2 = self.options.betas
        for name, g in own.items():
            parameter = self.parameters[name]
            state = self.optimiser.state[parameter]
            state["step"] += 1
            t = int(state["step"])
            values, m, v = (a.detach().numpy() for a in (parameter, state["exp_avg"], state["exp_avg_sq"]))
            rule = (clip, beta1, beta2, lr / (1 - beta1**t), math.sqrt(1 - beta2**t))
            if g.ndim == 1:
                adam(0, g.size, values, g, m, v, *rule)
                continue
            unit = name == "decoder" and sae.config.unit_norm
            spread(update_rows, len(g), values, g, m, v, *rule, unit, threads=self.threads)
