"""Whole epochs of small ReLU autoencoders in one compiled call: what a sweep over thousands of short steps needs.

With few dimensions a step's arithmetic takes microseconds, and everything else is overhead: calls, temporary arrays,
memory traffic. Here a feature's weights stay in registers while its batch of cells lies in the nearest cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.numba_cache import compiled
from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.kernels import FASTMATH, adam_flat
from cellprism.sae.steps.moments import start_moments
from cellprism.sae.steps.way import Setting, Stateless, StepResult

__all__ = ["FusedEpoch", "takes_fused_epoch"]

_MOST_DIMENSIONS = 32


def takes_fused_epoch(config: SAEConfig, r: int) -> bool:
    """Whether :class:`FusedEpoch` knows this objective and pays at ``r`` dimensions."""
    return config.activation == "relu" and not config.matryoshka and config.p_end is None and r <= _MOST_DIMENSIONS


# Rows are named by index and not passed as slices: each slice would count a reference, which costs more than the loop.


@compiled(fastmath=FASTMATH)
def _activate(xs: Any, n: int, W: Any, j: int, bias: Any, out: Any) -> None:
    """``relu(W[j] @ xs + bias)`` on n cells."""
    r = W.shape[1]
    if r == 4:
        w0, w1, w2, w3 = W[j, 0], W[j, 1], W[j, 2], W[j, 3]
        for q in range(n):
            out[q] = max(bias + w0 * xs[0, q] + w1 * xs[1, q] + w2 * xs[2, q] + w3 * xs[3, q], np.float32(0))
        return
    for q in range(n):
        out[q] = bias
    i = 0
    while i + 4 <= r:
        w0, w1, w2, w3 = W[j, i], W[j, i + 1], W[j, i + 2], W[j, i + 3]
        for q in range(n):
            out[q] += w0 * xs[i, q] + w1 * xs[i + 1, q] + w2 * xs[i + 2, q] + w3 * xs[i + 3, q]
        i += 4
    while i < r:
        for q in range(n):
            out[q] += W[j, i] * xs[i, q]
        i += 1
    for q in range(n):
        out[q] = max(out[q], np.float32(0))


@compiled(fastmath=FASTMATH)
def _add_decoded(a: Any, n: int, D: Any, j: int, e: Any) -> None:
    """``e += D[j] * a`` by dimension."""
    for i in range(D.shape[1]):
        d = D[j, i]
        for q in range(n):
            e[i, q] += d * a[q]


@compiled(fastmath=FASTMATH)
def _pull_back(e: Any, n: int, D: Any, j: int, scale: Any, press: Any, a: Any, out: Any) -> None:
    """Gradient by the pre-activation: ``scale * D[j] @ e + press`` where the feature fired, else 0."""
    r = D.shape[1]
    if r == 4:
        d0, d1, d2, d3 = scale * D[j, 0], scale * D[j, 1], scale * D[j, 2], scale * D[j, 3]
        for q in range(n):
            g = press + d0 * e[0, q] + d1 * e[1, q] + d2 * e[2, q] + d3 * e[3, q]
            out[q] = g if a[q] > 0 else np.float32(0)
        return
    for q in range(n):
        out[q] = press
    i = 0
    while i + 4 <= r:
        d0, d1, d2, d3 = scale * D[j, i], scale * D[j, i + 1], scale * D[j, i + 2], scale * D[j, i + 3]
        for q in range(n):
            out[q] += d0 * e[i, q] + d1 * e[i + 1, q] + d2 * e[i + 2, q] + d3 * e[i + 3, q]
        i += 4
    while i < r:
        d = scale * D[j, i]
        for q in range(n):
            out[q] += d * e[i, q]
        i += 1
    for q in range(n):
        out[q] = out[q] if a[q] > 0 else np.float32(0)


@compiled(fastmath=FASTMATH)
def _products(g: Any, xs: Any, a: Any, e: Any, n: int, j: int, by_encoder: Any, by_decoder: Any) -> None:
    """``by_encoder[j] = xs @ g`` and ``by_decoder[j] = e @ a``, four dimensions at a time."""
    r = by_encoder.shape[1]
    i = 0
    while i + 4 <= r:
        s0 = s1 = s2 = s3 = t0 = t1 = t2 = t3 = np.float32(0)
        for q in range(n):
            s0 += g[q] * xs[i, q]
            s1 += g[q] * xs[i + 1, q]
            s2 += g[q] * xs[i + 2, q]
            s3 += g[q] * xs[i + 3, q]
            t0 += a[q] * e[i, q]
            t1 += a[q] * e[i + 1, q]
            t2 += a[q] * e[i + 2, q]
            t3 += a[q] * e[i + 3, q]
        by_encoder[j, i], by_encoder[j, i + 1], by_encoder[j, i + 2], by_encoder[j, i + 3] = s0, s1, s2, s3
        by_decoder[j, i], by_decoder[j, i + 1], by_decoder[j, i + 2], by_decoder[j, i + 3] = t0, t1, t2, t3
        i += 4
    while i < r:
        s0 = t0 = np.float32(0)
        for q in range(n):
            s0 += g[q] * xs[i, q]
            t0 += a[q] * e[i, q]
        by_encoder[j, i], by_decoder[j, i] = s0, t0
        i += 1


@compiled(fastmath=FASTMATH)
def _total(a: Any, n: int) -> Any:
    s = np.float32(0)
    for q in range(n):
        s += a[q]
    return s


@compiled(fastmath=FASTMATH)
def _row_total(a: Any, i: int, n: int) -> Any:
    s = np.float32(0)
    for q in range(n):
        s += a[i, q]
    return s


@compiled(fastmath=FASTMATH)
def _squared(a: Any, i: int, n: int) -> Any:
    s = np.float32(0)
    for q in range(n):
        s += a[i, q] * a[i, q]
    return s


@compiled(fastmath=FASTMATH)
def _epoch(
    x: Any,
    order: Any,
    batch: int,
    rates: Any,
    step: int,
    beta1: float,
    beta2: float,
    limit: float,
    W: Any,
    c: Any,
    D: Any,
    b: Any,
    s: Any,
    mW: Any,
    vW: Any,
    mc: Any,
    vc: Any,
    mD: Any,
    vD: Any,
    mb: Any,
    vb: Any,
    ms: Any,
    vs: Any,
    tied: bool,
    free: bool,
    unit: bool,
    by_norm: bool,
    l1: float,
    silent: Any,
    fired: Any,
    result: Any,
) -> None:
    """All steps of an epoch; ``x`` (r, cells), ``s`` the input bias; ``result`` = reconstruction and penalty of the last."""
    w, r = W.shape
    n = x.shape[1]
    zero, one = np.float32(0), np.float32(1)
    e, xs = np.empty((r, batch), np.float32), np.empty((r, batch), np.float32)
    a, g = np.empty(batch, np.float32), np.empty(batch, np.float32)
    gW, gD, gc = np.empty((w, r), np.float32), np.empty((w, r), np.float32), np.empty(w, np.float32)
    gb, gs = np.empty(r, np.float32), np.empty(r, np.float32)
    for t in range(len(rates)):
        size = min(batch, n - t * batch)
        for i in range(r):
            shift = -b[i] if tied else (s[i] if free else zero)
            for q in range(size):
                v = x[i, order[t * batch + q]]
                e[i, q] = b[i] - v
                xs[i, q] = v + shift
        codes = 0.0
        strength = np.float32(l1 / (size * math.sqrt(r)) if by_norm else l1 / (size * w))
        for j in range(w):
            _activate(xs, size, W, j, c[j], a)
            _add_decoded(a, size, D, j, e)
        error = 0.0
        for i in range(r):
            error += _squared(e, i, size)
        result[0] = error / (size * r)
        scale = np.float32(2 / (size * r))
        squared = 0.0
        for i in range(r):
            gb[i] = scale * _row_total(e, i, size)
            gs[i] = 0
        for j in range(w):
            _activate(xs, size, W, j, c[j], a)
            together = _total(a, size)
            press, pull = strength, zero
            if by_norm and l1 > 0:
                length = np.sqrt(_squared(D, j, r))
                press = strength * length
                if not unit:
                    pull = strength / max(length, np.float32(1e-12)) * together
            codes += press * together
            _pull_back(e, size, D, j, scale, press, a, g)
            along = zero
            _products(g, xs, a, e, size, j, gW, gD)
            for i in range(r):
                gD[j, i] = scale * gD[j, i] + pull * D[j, i]
                along += gD[j, i] * D[j, i]
            gc[j] = _total(g, size)
            fired[j] = together > 0
            silent[j] = 0 if together > 0 else silent[j] + size
            squared += gc[j] * gc[j]
            for i in range(r):
                if unit:
                    gD[j, i] -= along * D[j, i]
                gs[i] += gc[j] * W[j, i]
                squared += gD[j, i] * gD[j, i] + gW[j, i] * gW[j, i]
        result[1] = codes
        for i in range(r):
            if tied:
                gb[i] -= gs[i]
            squared += gb[i] * gb[i]
            if free:
                squared += gs[i] * gs[i]
        clip = one
        if limit > 0:
            clip = np.float32(min(1.0, limit / (math.sqrt(squared) + 1e-6)))
        k = step + t + 1
        rate = np.float32(rates[t] / (1 - beta1**k))
        over = np.float32(1 / math.sqrt(1 - beta2**k))
        adam_flat(W.ravel(), gW.ravel(), mW.ravel(), vW.ravel(), clip, beta1, beta2, rate, over)
        adam_flat(D.ravel(), gD.ravel(), mD.ravel(), vD.ravel(), clip, beta1, beta2, rate, over)
        adam_flat(c, gc, mc, vc, clip, beta1, beta2, rate, over)
        adam_flat(b, gb, mb, vb, clip, beta1, beta2, rate, over)
        if free:
            adam_flat(s, gs, ms, vs, clip, beta1, beta2, rate, over)
        if unit:
            for j in range(w):
                length = max(np.sqrt(_squared(D, j, r)), np.float32(1e-12))
                for i in range(r):
                    D[j, i] /= length


class FusedEpoch(Stateless):
    """Makes all steps of an epoch of a ReLU autoencoder.

    Parameters
    ----------
    setting
        Its cells lie in memory on the CPU.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._x = setting.cells.by_dimension()

    def __call__(self, order: Tensor, rates: NDArray[np.float64]) -> StepResult:
        """Train on all cells in this order, a learning rate a step; the clock of silent cells is kept."""
        sae, optimiser, options, _, clock, batch = self._setting
        config = sae.config
        nothing = torch.zeros(sae.decoder.shape[1])
        free = sae.input_bias is not None
        parameters: list[Tensor] = [sae.encoder, sae.encoder_bias, sae.decoder, sae.decoder_bias]
        parameters += [sae.input_bias] if sae.input_bias is not None else []
        start_moments(optimiser, parameters)
        state = optimiser.state
        moments = [state[p][name] for p in parameters for name in ("exp_avg", "exp_avg_sq")]
        values = parameters if free else [*parameters, nothing]
        moments += [] if free else [nothing, nothing]
        fired, result = np.zeros(sae.width, np.bool_), np.zeros(2)
        run: Any = _epoch
        run(
            self._x,
            order.numpy(),
            batch,
            rates,
            int(state[sae.encoder]["step"]),
            *options.betas,
            options.max_grad_norm or 0.0,
            *(v.detach().numpy() for v in values),
            *(m.numpy() for m in moments),
            config.pre_bias == "tied",
            free,
            config.unit_norm,
            config.penalty_reduction == "sum",
            config.l1_weight,
            clock.silent.numpy(),
            fired,
            result,
        )
        for p in parameters:
            state[p]["step"] += len(rates)
        reconstruction, penalty = map(float, result)
        return StepResult(reconstruction + penalty, reconstruction, penalty, 0.0, torch.as_tensor(fired))
