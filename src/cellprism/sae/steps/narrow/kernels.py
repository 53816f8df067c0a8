"""Whole epochs of autoencoders on up to four dimensions in one compiled call: ReLU, and topk with many active features.

With four dimensions all of a step's work is elementwise over cells x features. Vector lanes are features here: a pair of
cells is held in registers while the rows of the parameters stream past it, so that every weight that is loaded serves two
cells, and gradients add up in place without sums across lanes. Pre-activations are computed twice and never stored.

Parameters, moments and gradients are (rows, padded width): four rows of the encoder (a dimension each), the encoder's
bias, four rows of the decoder; one row more holds the penalty's pressure among the parameters, and the sum of the codes
among the gradients. Fewer dimensions are padded with zeros, features to whole tiles with such that never fire.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled
from cellprism.sae.steps.shared.adam import adam_flat
from cellprism.sae.steps.shared.bar import bar_of
from cellprism.sae.steps.shared.epochs import (
    Adam,
    Batches,
    Biases,
    Learned,
    Objective,
    Told,
    clipping,
    flat,
    pace,
    settle_biases,
    shift,
)

__all__ = ["TILE", "Bars", "Batch", "Rows", "narrow_epoch"]

TILE = 64
"""Features whose parameters and gradients lie in the nearest cache while all cells of a batch pass."""


class Rows(NamedTuple):
    """The parameters, turned and padded."""

    rows: Learned
    """Values and gradients (2 R + 2, padded width), moments without the last row."""
    biases: Biases
    """(R,)."""
    dimensions: int
    """Without padding."""
    width: int
    """Without padding."""


class Bars(NamedTuple):
    """How many features of a cell stay active."""

    k: int
    """0: all that are positive."""
    memory: Any
    """(cells,) the bar that left k of them when the cell was last seen."""


class Batch(NamedTuple):
    """Room for the cells of a step and one more, which makes the last pair, and for numbers a feature."""

    xs: Any
    """(batch + 1, R) as the encoder sees them."""
    residual: Any
    """(batch + 1, R) then the gradient by the reconstruction."""
    bar: Any
    """(batch + 1,) what pre-activations must exceed."""
    tile: Any
    """(20 * TILE,) see :func:`_gradients_pair`."""
    along: Any
    """(padded width,)."""
    shift: Any
    """(R,)."""


@compiled(fastmath=FASTMATH)
def _decode_pair(P: Any, w: int, q: int, xs: Any, bar: Any, e: Any) -> None:
    """Add the codes of cells q and q + 1 times the decoder to ``e``; codes are pre-activations over the cell's bar."""
    x0, x1, x2, x3 = xs[q, 0], xs[q, 1], xs[q, 2], xs[q, 3]
    y0, y1, y2, y3 = xs[q + 1, 0], xs[q + 1, 1], xs[q + 1, 2], xs[q + 1, 3]
    bar_x, bar_y, zero = bar[q], bar[q + 1], np.float32(0)
    a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = zero
    for f in range(w):
        w0, w1, w2, w3, c = P[0, f], P[1, f], P[2, f], P[3, f], P[4, f]
        d0, d1, d2, d3 = P[5, f], P[6, f], P[7, f], P[8, f]
        s = c + w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3
        t = c + w0 * y0 + w1 * y1 + w2 * y2 + w3 * y3
        s = s if s > bar_x else zero
        t = t if t > bar_y else zero
        a0 += d0 * s
        a1 += d1 * s
        a2 += d2 * s
        a3 += d3 * s
        b0 += d0 * t
        b1 += d1 * t
        b2 += d2 * t
        b3 += d3 * t
    e[q, 0] += a0
    e[q, 1] += a1
    e[q, 2] += a2
    e[q, 3] += a3
    e[q + 1, 0] += b0
    e[q + 1, 1] += b1
    e[q + 1, 2] += b2
    e[q + 1, 3] += b3


@compiled(fastmath=FASTMATH)
def _gradients_pair(tile: Any, q: int, xs: Any, e: Any, bar: Any) -> None:
    """Add the gradients from cells q and q + 1 to those of a tile of features.

    ``tile`` is flat, so that all distances within it are constant and the loop needs no look at what may overlap: the rows
    of the parameters, the pressure, then the gradients in the same order, and the sum of the codes. ``e`` (cells, 4) holds
    the gradients by the reconstruction.
    """
    x0, x1, x2, x3 = xs[q, 0], xs[q, 1], xs[q, 2], xs[q, 3]
    y0, y1, y2, y3 = xs[q + 1, 0], xs[q + 1, 1], xs[q + 1, 2], xs[q + 1, 3]
    e0, e1, e2, e3 = e[q, 0], e[q, 1], e[q, 2], e[q, 3]
    h0, h1, h2, h3 = e[q + 1, 0], e[q + 1, 1], e[q + 1, 2], e[q + 1, 3]
    bar_x, bar_y, zero = bar[q], bar[q + 1], np.float32(0)
    for f in range(TILE):
        w0, w1, w2, w3 = tile[f], tile[TILE + f], tile[2 * TILE + f], tile[3 * TILE + f]
        c, press = tile[4 * TILE + f], tile[9 * TILE + f]
        d0, d1, d2, d3 = tile[5 * TILE + f], tile[6 * TILE + f], tile[7 * TILE + f], tile[8 * TILE + f]
        s = c + w0 * x0 + w1 * x1 + w2 * x2 + w3 * x3
        t = c + w0 * y0 + w1 * y1 + w2 * y2 + w3 * y3
        g = press + d0 * e0 + d1 * e1 + d2 * e2 + d3 * e3
        k = press + d0 * h0 + d1 * h1 + d2 * h2 + d3 * h3
        g = g if s > bar_x else zero
        k = k if t > bar_y else zero
        s = s if s > bar_x else zero
        t = t if t > bar_y else zero
        tile[10 * TILE + f] += g * x0 + k * y0
        tile[11 * TILE + f] += g * x1 + k * y1
        tile[12 * TILE + f] += g * x2 + k * y2
        tile[13 * TILE + f] += g * x3 + k * y3
        tile[14 * TILE + f] += g + k
        tile[15 * TILE + f] += s * e0 + t * h0
        tile[16 * TILE + f] += s * e1 + t * h1
        tile[17 * TILE + f] += s * e2 + t * h2
        tile[18 * TILE + f] += s * e3 + t * h3
        tile[19 * TILE + f] += s + t


@compiled(fastmath=FASTMATH)
def _gradients(P: Any, G: Any, n: int, xs: Any, e: Any, bar: Any, tile: Any) -> None:
    """All gradients of the dictionary, and in the last row of ``G`` the sums of the codes, from n (even) cells."""
    for first in range(0, P.shape[1], TILE):
        for i in range(10):
            for f in range(TILE):
                tile[i * TILE + f] = P[i, first + f]
        for f in range(10 * TILE, 20 * TILE):
            tile[f] = 0
        for q in range(0, n, 2):
            _gradients_pair(tile, q, xs, e, bar)
        for i in range(10):
            for f in range(TILE):
                G[i, first + f] = tile[(10 + i) * TILE + f]


@compiled(fastmath=FASTMATH)
def _encode(P: Any, w: int, q: int, xs: Any, out: Any) -> None:
    x0, x1, x2, x3 = xs[q, 0], xs[q, 1], xs[q, 2], xs[q, 3]
    for f in range(w):
        out[f] = P[4, f] + P[0, f] * x0 + P[1, f] * x1 + P[2, f] * x2 + P[3, f] * x3


@compiled(fastmath=FASTMATH)
def _dot(a: Any, i: int, b: Any, j: int, w: int) -> Any:
    s = np.float32(0)
    for f in range(w):
        s += a[i, f] * b[j, f]
    return s


@compiled(fastmath=FASTMATH)
def _note_firing(G: Any, row: int, width: int, size: int, silent: Any, fired: Any) -> None:
    for j in range(width):
        fires = G[row, j] > 0
        fired[j] = fires
        silent[j] = 0 if fires else silent[j] + size


@compiled(fastmath=FASTMATH)
def _press_by_norm(P: Any, first: int, r: int, w: int, strength: Any) -> None:
    """Write the pressure of a penalty that is weighted by decoder norms into the last row of ``P``."""
    row = P.shape[0] - 1
    for f in range(w):
        P[row, f] = 0
    for i in range(first, first + r):
        for f in range(w):
            P[row, f] += P[i, f] * P[i, f]
    for f in range(w):
        P[row, f] = strength * np.sqrt(P[row, f])


@compiled(fastmath=FASTMATH)
def _pull_norms(P: Any, G: Any, first: int, r: int, w: int, strength: Any) -> None:
    """Add the gradient of such a penalty by the decoder, whose rows it would shorten."""
    press, total = P.shape[0] - 1, G.shape[0] - 1
    for i in range(first, first + r):
        for f in range(w):
            length = max(P[press, f] / strength, np.float32(1e-12))
            G[i, f] += strength / length * G[total, f] * P[i, f]


@compiled(fastmath=FASTMATH)
def _hold_norms(P: Any, G: Any, first: int, r: int, w: int, along: Any) -> None:
    """Take off the decoder's gradient what points along its unit rows."""
    for f in range(w):
        along[f] = 0
    for i in range(first, first + r):
        for f in range(w):
            along[f] += G[i, f] * P[i, f]
    for i in range(first, first + r):
        for f in range(w):
            G[i, f] -= along[f] * P[i, f]


@compiled(fastmath=FASTMATH)
def _unit_norms(P: Any, first: int, r: int, w: int, length: Any) -> None:
    for f in range(w):
        length[f] = 0
    for i in range(first, first + r):
        for f in range(w):
            length[f] += P[i, f] * P[i, f]
    for f in range(w):
        length[f] = max(np.sqrt(length[f]), np.float32(1e-12))
    for i in range(first, first + r):
        for f in range(w):
            P[i, f] /= length[f]


@compiled(fastmath=FASTMATH)
def _take(
    x: Any, order: Any, first: int, n: int, P: Any, b: Any, added: Any, k: int, memory: Any, xs: Any, e: Any, bar: Any,
    along: Any,
) -> None:  # fmt: skip
    """Fetch n cells and find each one's bar."""
    for q in range(n):
        cell = order[first + q]
        for i in range(len(b)):
            v = x[cell, i]
            e[q, i] = b[i] - v
            xs[q, i] = v + added[i]
        bar[q] = 0
        if k > 0:
            _encode(P, P.shape[1], q, xs, along)
            bar[q] = bar_of(along, P.shape[1], k, memory[cell])
            memory[cell] = bar[q]
    if n % 2:
        bar[n] = np.inf  # a cell without codes makes a pair


@compiled(fastmath=FASTMATH)
def _reconstruct(xs: Any, n: int, r: int, P: Any, bar: Any, e: Any, gb: Any) -> float:
    """Add the codes' part to the residual, and turn that into the gradient; the mean squared error."""
    for q in range(0, n, 2):
        _decode_pair(P, P.shape[1], q, xs, bar, e)
    error, numbers = 0.0, n * r
    scale = np.float32(2 / numbers)
    for i in range(len(gb)):
        gb[i] = 0
    for q in range(n):
        for i in range(len(gb)):
            error += e[q, i] * e[q, i]
            e[q, i] *= scale
            gb[i] += e[q, i]
    return error / numbers


@compiled(fastmath=FASTMATH)
def _gradients_of_all(
    xs: Any, e: Any, n: int, r: int, width: int, P: Any, G: Any, gs: Any, bar: Any, tile: Any, along: Any,
    objective: Objective, silent: Any, fired: Any,
) -> float:  # fmt: skip
    """The gradients of the rows, and by what is added to the input; the penalty."""
    R, w = len(gs), P.shape[1]
    bias, first, total = R, R + 1, 2 * R + 1
    by_norm, l1 = objective.by_norm, objective.l1
    strength = np.float32(l1 / (n * math.sqrt(r)) if by_norm else l1 / (n * width))
    weighted = by_norm and l1 > 0
    if weighted:
        _press_by_norm(P, first, r, w, strength)
    else:
        for f in range(w):
            P[total, f] = strength
    _gradients(P, G, n + n % 2, xs, e, bar, tile)
    penalty = _dot(P, total, G, total, w)
    _note_firing(G, total, width, n, silent, fired)
    if weighted and not objective.unit:
        _pull_norms(P, G, first, r, w, strength)
    if objective.unit:
        _hold_norms(P, G, first, r, w, along)
    for i in range(R):
        gs[i] = _dot(G, bias, P, i, w)
    return float(penalty)


@compiled(fastmath=FASTMATH)
def narrow_epoch(
    cells: Batches, of: Rows, objective: Objective, selection: Bars, rule: Adam, batch: Batch, told: Told
) -> None:
    """All steps of an epoch; ``cells.x`` (cells, R) and the biases (R,) are padded as the rows are."""
    x, order, rates, silent, fired, losses = cells.x, cells.order, rule.rates, told.silent, told.fired, told.losses
    xs, e, bar, tile, along, added = batch.xs, batch.residual, batch.bar, batch.tile, batch.along, batch.shift
    k, memory, P, G, r = selection.k, selection.memory, of.rows.value, of.rows.gradient, of.dimensions
    total, w, R = len(P) - 1, P.shape[1], len(of.biases.decoder.value)
    rows, g, m, v = flat(of.rows, 0, total * w)
    b, gb, mb, vb = flat(of.biases.decoder, 0, R)
    s, gs, ms, vs = flat(of.biases.input, 0, R)
    beta1, beta2 = rule.beta1, rule.beta2
    for t in range(len(rates)):
        n = min(cells.size, len(order) - t * cells.size)
        shift(b, s, objective, added)
        _take(x, order, t * cells.size, n, P, b, added, k, memory, xs, e, bar, along)
        losses[0] = _reconstruct(xs, n, r, P, bar, e, gb)
        losses[1] = _gradients_of_all(xs, e, n, r, of.width, P, G, gs, bar, tile, along, objective, silent, fired)
        squared = 0.0
        if rule.limit > 0:
            for i in range(total):
                squared += _dot(G, i, G, i, w)
        clip = clipping(rule.limit, settle_biases(gb, gs, objective, squared))
        size, over = pace(rates[t], rule.taken + t + 1, beta1, beta2)
        adam_flat(rows, g, m, v, clip, beta1, beta2, size, over)
        adam_flat(b, gb, mb, vb, clip, beta1, beta2, size, over)
        if objective.free:
            adam_flat(s, gs, ms, vs, clip, beta1, beta2, size, over)
        if objective.unit:
            _unit_norms(P, R + 1, r, w, along)
