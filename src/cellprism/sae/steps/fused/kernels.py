"""Whole epochs of small ReLU autoencoders in one compiled call.

With few dimensions a step's arithmetic takes microseconds, and everything else is overhead: calls, temporary arrays,
memory traffic. Here a feature's weights stay in registers while its batch of cells lies in the nearest cache.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled
from cellprism.sae.steps.shared.adam import adam_flat
from cellprism.sae.steps.shared.epochs import (
    Adam,
    Batches,
    Objective,
    Told,
    Weights,
    clipping,
    flat,
    pace,
    settle_biases,
    shift,
)

__all__ = ["Batch", "fused_epoch"]


class Batch(NamedTuple):
    """Room for the cells of a step, by dimension so that loops run over cells."""

    xs: Any
    """(r, batch) as the encoder sees them."""
    residual: Any
    """(r, batch) the decoder's bias less the cells; then the codes' part is added."""
    codes: Any
    """(batch,) of the feature at hand."""
    slope: Any
    """(batch,) the gradient by its pre-activations."""
    shift: Any
    """(r,)."""


# Rows are named by index and not passed as slices: each slice would count a reference, which costs more than the loop.
# All functions are written into the one that calls them: a call hands over seven numbers an array, as often as a feature
# passes, which took up to a sixth of a step (d 5, width 800).


@compiled(fastmath=FASTMATH, inline="always")
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


@compiled(fastmath=FASTMATH, inline="always")
def _add_decoded(a: Any, n: int, D: Any, j: int, e: Any) -> None:
    """``e += D[j] * a`` by dimension."""
    for i in range(D.shape[1]):
        d = D[j, i]
        for q in range(n):
            e[i, q] += d * a[q]


@compiled(fastmath=FASTMATH, inline="always")
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


@compiled(fastmath=FASTMATH, inline="always")
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


@compiled(fastmath=FASTMATH, inline="always")
def _total(a: Any, n: int) -> Any:
    s = np.float32(0)
    for q in range(n):
        s += a[q]
    return s


@compiled(fastmath=FASTMATH, inline="always")
def _row_total(a: Any, i: int, n: int) -> Any:
    s = np.float32(0)
    for q in range(n):
        s += a[i, q]
    return s


@compiled(fastmath=FASTMATH, inline="always")
def _squared(a: Any, i: int, n: int) -> Any:
    s = np.float32(0)
    for q in range(n):
        s += a[i, q] * a[i, q]
    return s


@compiled(fastmath=FASTMATH, inline="always")
def _take(x: Any, order: Any, first: int, n: int, bias: Any, added: Any, xs: Any, e: Any) -> None:
    """Fetch n cells: with what is added in ``xs``, taken off the decoder's bias in ``e``, both by dimension."""
    for i in range(len(x)):
        for q in range(n):
            v = x[i, order[first + q]]
            e[i, q] = bias[i] - v
            xs[i, q] = v + added[i]


@compiled(fastmath=FASTMATH, inline="always")
def _reconstruct(xs: Any, n: int, W: Any, c: Any, D: Any, a: Any, e: Any, gb: Any) -> float:
    """Add all features' parts to the residual, whose sums are the gradient of the decoder's bias; its mean square."""
    r = len(e)
    for j in range(len(W)):
        _activate(xs, n, W, j, c[j], a)
        _add_decoded(a, n, D, j, e)
    error = 0.0
    for i in range(r):
        error += _squared(e, i, n)
    mean, scale = error / (n * r), np.float32(2 / (n * r))
    for i in range(r):
        gb[i] = scale * _row_total(e, i, n)
    return mean


@compiled(fastmath=FASTMATH, inline="always")
def _gradients(
    xs: Any, e: Any, n: int, W: Any, c: Any, D: Any, a: Any, g: Any, gW: Any, gc: Any, gD: Any, gs: Any,
    objective: Objective, silent: Any, fired: Any,
) -> tuple[float, float]:  # fmt: skip
    """The gradients of all features, and by what is added to the input; the penalty, and the features' squared length."""
    w, r = W.shape
    zero, scale = np.float32(0), np.float32(2 / (n * r))
    strength = np.float32(objective.l1 / (n * math.sqrt(r)) if objective.by_norm else objective.l1 / (n * w))
    penalty = squared = 0.0
    for i in range(r):
        gs[i] = 0
    for j in range(w):
        _activate(xs, n, W, j, c[j], a)
        together = _total(a, n)
        press, pull = strength, zero
        if objective.by_norm and objective.l1 > 0:
            length = np.sqrt(_squared(D, j, r))
            press = strength * length
            if not objective.unit:
                pull = strength / max(length, np.float32(1e-12)) * together
        penalty += press * together
        _pull_back(e, n, D, j, scale, press, a, g)
        along = zero
        _products(g, xs, a, e, n, j, gW, gD)
        for i in range(r):
            gD[j, i] = scale * gD[j, i] + pull * D[j, i]
            along += gD[j, i] * D[j, i]
        gc[j] = _total(g, n)
        fired[j] = together > 0
        silent[j] = 0 if together > 0 else silent[j] + n
        squared += gc[j] * gc[j]
        for i in range(r):
            if objective.unit:
                gD[j, i] -= along * D[j, i]
            gs[i] += gc[j] * W[j, i]
            squared += gD[j, i] * gD[j, i] + gW[j, i] * gW[j, i]
    return penalty, squared


@compiled(fastmath=FASTMATH, inline="always")
def _unit_rows(rows: Any) -> None:
    r = rows.shape[1]
    for j in range(len(rows)):
        length = max(np.sqrt(_squared(rows, j, r)), np.float32(1e-12))
        for i in range(r):
            rows[j, i] /= length


@compiled(fastmath=FASTMATH)
def fused_epoch(cells: Batches, of: Weights, objective: Objective, rule: Adam, batch: Batch, told: Told) -> None:
    """All steps of an epoch; ``cells.x`` is (r, cells)."""
    x, order, rates, silent, fired, losses = cells.x, cells.order, rule.rates, told.silent, told.fired, told.losses
    W, gW, D, gD = of.encoder.value, of.encoder.gradient, of.decoder.value, of.decoder.gradient
    w, r = W.shape
    W1, gW1, mW, vW = flat(of.encoder, 0, w * r)
    D1, gD1, mD, vD = flat(of.decoder, 0, w * r)
    c, gc, mc, vc = flat(of.encoder_bias, 0, w)
    b, gb, mb, vb = flat(of.biases.decoder, 0, r)
    s, gs, ms, vs = flat(of.biases.input, 0, r)
    xs, e, a, g, added = batch.xs, batch.residual, batch.codes, batch.slope, batch.shift
    beta1, beta2 = rule.beta1, rule.beta2
    for t in range(len(rates)):
        n = min(cells.size, x.shape[1] - t * cells.size)
        shift(b, s, objective, added)
        _take(x, order, t * cells.size, n, b, added, xs, e)
        losses[0] = _reconstruct(xs, n, W, c, D, a, e, gb)
        losses[1], squared = _gradients(xs, e, n, W, c, D, a, g, gW, gc, gD, gs, objective, silent, fired)
        clip = clipping(rule.limit, settle_biases(gb, gs, objective, squared))
        size, over = pace(rates[t], rule.taken + t + 1, beta1, beta2)
        adam_flat(W1, gW1, mW, vW, clip, beta1, beta2, size, over)
        adam_flat(D1, gD1, mD, vD, clip, beta1, beta2, size, over)
        adam_flat(c, gc, mc, vc, clip, beta1, beta2, size, over)
        adam_flat(b, gb, mb, vb, clip, beta1, beta2, size, over)
        if objective.free:
            adam_flat(s, gs, ms, vs, clip, beta1, beta2, size, over)
        if objective.unit:
            _unit_rows(D)
