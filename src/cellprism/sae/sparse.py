"""A training step that touches only what fired: the same numbers as the dense step, in less time on a CPU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae import kernels
from cellprism.sae.activation import BatchTopK, TopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.dense import StepResult
from cellprism.sae.kernels import spread
from cellprism.sae.model import SAE
from cellprism.sae.training import TrainingOptions

__all__ = ["SparseStep", "has_bf16_products", "takes_sparse_step"]

Array = NDArray[Any]
_CACHED = 2**21  # pre-activations held at a time: 8 MiB in float32
_SPARE = 16  # bf16 candidates beyond k that are scored again in float32


class Entries(NamedTuple):
    """Codes as entries; cell b owns ``start[b]:stop[b]``."""

    start: Array
    stop: Array
    feature: Array
    value: Array


def takes_sparse_step(config: SAEConfig) -> bool:
    """Whether :class:`SparseStep` knows this objective."""
    return config.activation in ("relu", "topk", "batchtopk") and not config.matryoshka and config.p_end is None


def has_bf16_products() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


class SparseStep:
    """Forward, backward and Adam for relu, topk and batchtopk, fused by feature.

    Only the encoder's product is dense. Decoding, the gradients of both matrices and the penalty walk over the active
    codes; Adam is the dense one (its moments of silent features decay as ever), so parameters follow those of
    :class:`~cellprism.sae.dense.DenseStep` up to rounding.

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
        Threads of the loops; None = torch's.
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
        self.sae, self.optimiser, self.options, self.threads = sae, optimiser, options, threads
        self.bf16 = bf16 and isinstance(sae.activation, TopK)
        self.k = sae.activation.k if isinstance(sae.activation, TopK | BatchTopK) else 0
        self.parameters = dict(sae.named_parameters())
        w, r = sae.decoder.shape
        self.g_encoder, self.g_decoder = np.zeros((w, r), np.float32), np.zeros((w, r), np.float32)
        self.g_bias, self.squared = np.zeros(w, np.float32), np.zeros(w, np.float32)
        self.first = np.zeros(w + 1, np.int64)
        self.bar = 0.0
        for p in sae.parameters():
            state = optimiser.state[p]
            if not state:
                state["step"] = torch.tensor(0.0)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)

    @torch.no_grad()
    def __call__(self, x: Tensor, dead: Tensor | None, p: float, lr: float) -> StepResult:
        """One step on a batch (cells, r); ``p`` is 1 for the objectives known here."""
        sae, config = self.sae, self.sae.config
        n, r = x.shape
        shift = -sae.decoder_bias if config.pre_bias == "tied" else sae.input_bias
        shifted = x if shift is None else x + shift
        codes = self._select(shifted)
        D = sae.decoder.numpy()
        norms = np.sqrt(np.einsum("ij,ij->i", D, D)) if config.l1_weight and config.penalty_reduction == "sum" else None
        press, pull, penalty = self._penalty(codes, norms, n)
        residual, by_code, error = self._decode(x.numpy(), codes, sae.decoder_bias.numpy())
        reconstruction = float(error.sum(dtype=np.float64)) / (n * r)
        unit = config.unit_norm
        has_dead = config.aux_weight > 0 and dead is not None and bool(dead.any())
        self._gradients(shifted.numpy(), residual, codes, by_code, 2 / (n * r), press, pull, unit and not has_dead)
        g_decoder_bias = residual.sum(axis=0) * np.float32(2 / (n * r))
        fired = torch.as_tensor(self.first[1:] > self.first[:-1])
        auxiliary = 0.0
        if has_dead and dead is not None:
            auxiliary = self._auxiliary(shifted, -residual, dead, unit)
        self._update(g_decoder_bias, lr)
        return StepResult(reconstruction + penalty + auxiliary, reconstruction, penalty, auxiliary, fired)

    def _select(self, shifted: Tensor) -> Entries:
        activation = self.sae.activation
        if isinstance(activation, TopK):
            return self._topk(shifted, self.sae.encoder, self.sae.encoder_bias, self.k, self.bf16)
        pre = torch.addmm(self.sae.encoder_bias, shifted, self.sae.encoder.T).numpy()
        if isinstance(activation, BatchTopK):
            return self._batch_topk(pre, activation)
        return self._above(pre, 0.0, len(pre))

    def _topk(self, shifted: Tensor, encoder: Tensor, bias: Tensor, k: int, bf16: bool) -> Entries:
        """The k largest of each cell, a block of cells at a time, so that pre-activations stay in the cache."""
        n, w = len(shifted), len(encoder)
        m = min(k + _SPARE, w) if bf16 else k
        feature, count = np.zeros((n, m), np.int32), np.zeros(n, np.int64)
        value = np.zeros((n, m), np.int16 if bf16 else np.int32)
        x, W, c = (t.bfloat16() if bf16 else t for t in (shifted, encoder, bias))
        rows = min(n, max(64, _CACHED // w))
        buffer = torch.empty(rows, w, dtype=x.dtype)
        for s in range(0, n, rows):
            part = slice(s, min(s + rows, n))
            pre = torch.addmm(c, x[part], W.T, out=buffer[: part.stop - s])
            bits = pre.view(torch.int16 if bf16 else torch.int32).numpy()
            spread(
                kernels.select_topk,
                len(bits),
                bits,
                k if not bf16 else m,
                feature[part],
                value[part],
                count[part],
                threads=self.threads,
            )
        scores = value.view(np.float32) if not bf16 else np.zeros((n, m), np.float32)
        if bf16:
            exact = (shifted.numpy(), encoder.detach().numpy(), bias.detach().numpy())
            spread(kernels.rescore, n, *exact, feature, scores, count, k, threads=self.threads)
        start = np.arange(n, dtype=np.int64) * m
        return Entries(start, start + count, feature.ravel(), scores.ravel())

    def _above(self, pre: Array, bar: float, n: int) -> Entries:
        count = np.zeros(n, np.int64)
        spread(kernels.count_above, n, pre, bar, count, threads=self.threads)
        stop = np.cumsum(count)
        feature, value = np.zeros(stop[-1], np.int32), np.zeros(stop[-1], np.float32)
        spread(kernels.select_above, n, pre, bar, stop - count, feature, value, threads=self.threads)
        return Entries(stop - count, stop, feature, value)

    def _batch_topk(self, pre: Array, activation: BatchTopK) -> Entries:
        """The k x cells largest: entries over a guessed bar, lowered until there are enough, then cut exactly."""
        n, wanted = len(pre), min(self.k * len(pre), pre.size)
        codes = self._above(pre, self.bar, n)
        if len(codes.value) < wanted and self.bar > 0:
            codes = self._above(pre, 0.0, n)
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

    def _pressure(self, norms: Array | None, n: int) -> tuple[Array, Array]:
        """Gradient of the penalty by a code, and by a decoder row along itself (per unit of code)."""
        config = self.sae.config
        w, r = self.sae.decoder.shape
        press, pull = np.zeros(w, np.float32), np.zeros(w, np.float32)
        if not config.l1_weight:
            return press, pull
        if norms is None:
            press[:] = config.l1_weight / (n * w)
        else:
            press[:] = config.l1_weight / (n * math.sqrt(r)) * norms
            if not config.unit_norm:
                pull[:] = config.l1_weight / (n * math.sqrt(r)) / np.maximum(norms, 1e-12)
        return press, pull

    def _penalty(self, codes: Entries, norms: Array | None, n: int) -> tuple[Array, Array, float]:
        """:meth:`_pressure`, and the penalty's value."""
        press, pull = self._pressure(norms, n)
        if not self.sae.config.l1_weight:
            return press, pull, 0.0
        at = _positions(codes)
        return press, pull, float((codes.value[at] * press[codes.feature[at]]).sum(dtype=np.float64))

    def _decode(self, x: Array, codes: Entries, bias: Array) -> tuple[Array, Array, Array]:
        residual, squared = np.empty_like(x), np.empty(len(x), np.float32)
        by_code = np.zeros(len(codes.value), np.float32)
        D = self.sae.decoder.detach().numpy()
        spread(kernels.decode, len(x), x, *codes, D, bias, residual, by_code, squared, threads=self.threads)
        return residual, by_code, squared

    def _gradients(
        self,
        x: Array,
        residual: Array,
        codes: Entries,
        by_code: Array,
        scale: float,
        press: Array,
        pull: Array,
        project: bool,
        add: bool = False,
    ) -> None:
        entry, cell = np.empty(len(codes.value), np.int64), np.empty(len(codes.value), np.int32)
        kernels.by_feature(codes.start, codes.stop, codes.feature, self.first, entry, cell)
        spread(
            kernels.feature_gradients,
            self.sae.width,
            x,
            residual,
            codes.value,
            by_code,
            np.float32(scale),
            press,
            pull,
            self.first,
            entry,
            cell,
            self.sae.decoder.detach().numpy(),
            project,
            add,
            self.g_encoder,
            self.g_bias,
            self.g_decoder,
            self.squared,
            threads=self.threads,
        )

    def _auxiliary(self, shifted: Tensor, target: Array, dead: Tensor, project: bool) -> float:
        """Add the gradients of :func:`cellprism.sae.loss.auxiliary_loss` and return its weighted value."""
        sae = self.sae
        n, r = target.shape
        indices = dead.nonzero().squeeze(1)
        k = min(sae.config.aux_k or max(1, r // 2), len(indices))
        codes = self._topk(shifted, sae.encoder[indices], sae.encoder_bias[indices], k, bf16=False)
        codes = codes._replace(feature=indices.numpy().astype(np.int32)[codes.feature])
        residual, by_code, error = self._decode(target, codes, np.zeros(r, np.float32))
        size = max(float(np.square(target).sum(dtype=np.float64)) / (n * r), 1e-12)
        weight = sae.config.aux_weight / size
        nothing = np.zeros(sae.width, np.float32)
        self._gradients(
            shifted.numpy(), residual, codes, by_code, weight * 2 / (n * r), nothing, nothing, project, add=True
        )
        return float(weight * error.sum(dtype=np.float64) / (n * r))

    def _update(self, g_decoder_bias: Array, lr: float) -> None:
        sae = self.sae
        gradients = {"encoder": self.g_encoder, "decoder": self.g_decoder, "encoder_bias": self.g_bias}
        through_input = (torch.as_tensor(self.g_bias) @ sae.encoder).numpy() if sae.config.pre_bias != "none" else None
        if sae.config.pre_bias == "tied" and through_input is not None:
            g_decoder_bias = g_decoder_bias - through_input
        elif through_input is not None:
            gradients["input_bias"] = through_input
        gradients["decoder_bias"] = g_decoder_bias
        # The kernels' squared lengths hold both matrices and the encoder's bias.
        squared = float(self.squared.sum(dtype=np.float64)) + float(np.square(g_decoder_bias).sum())
        if "input_bias" in gradients:
            squared += float(np.square(gradients["input_bias"]).sum())
        limit = self.options.max_grad_norm
        clip = 1.0 if limit is None else min(1.0, limit / (math.sqrt(squared) + 1e-6))
        beta1, beta2 = self.options.betas
        for name, g in gradients.items():
            parameter = self.parameters[name]
            state = self.optimiser.state[parameter]
            state["step"] += 1
            t = int(state["step"])
            flat = [a.detach().numpy().ravel() for a in (parameter, state["exp_avg"], state["exp_avg_sq"])]
            size, root2 = lr / (1 - beta1**t), math.sqrt(1 - beta2**t)
            values, m, v = flat
            spread(kernels.adam, g.size, values, g.ravel(), m, v, clip, beta1, beta2, size, root2, threads=self.threads)
        if sae.config.unit_norm:
            spread(kernels.unit_rows, sae.width, sae.decoder.detach().numpy(), threads=self.threads)


def _positions(codes: Entries) -> Array | slice:
    """Positions of the entries in use; topk leaves gaps where a cell has fewer than k."""
    if int((codes.stop - codes.start).sum()) == len(codes.value):
        return slice(None)
    m = len(codes.value) // len(codes.start)
    return (np.arange(m) < (codes.stop - codes.start)[:, None]).ravel()
