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
from typing import Any

import numpy as np

from cellprism.numba_cache import compiled
from cellprism.sae.steps.kernels import FASTMATH, adam_flat

__all__ = ["TILE", "bar_of", "count_over", "narrow_epoch"]

TILE = 64
"""Features whose parameters and gradients lie in the nearest cache while all cells of a batch pass."""
_SEARCHES = 100
_INTERPOLATIONS = 16


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
def count_over(a: Any, w: int, bar: Any) -> int:
    """How many of the w values exceed the bar."""
    n = np.float32(0)  # in the values' own lanes; integers would be widened
    for f in range(w):
        n += np.float32(1) if a[f] > bar else np.float32(0)
    return int(n)


@compiled(fastmath=FASTMATH)
def _mean_positive(a: Any, w: int, positive: int) -> Any:
    s = np.float32(0)
    for f in range(w):
        s += a[f] if a[f] > np.float32(0) else np.float32(0)
    return s / np.float32(positive)


@compiled()
def bar_of(a: Any, w: int, k: int, last: Any) -> Any:
    """A bar that exactly k of the w values exceed; 0 where no more than k are positive.

    The values stay where they are: counting those over a guess takes a cycle for a vector of them, so a few guesses cost
    less than any sorting. ``last``, the cell's bar an epoch ago (0: none), is the first; from there steps grow until the bar
    lies between two guesses, and the next are interpolated.
    """
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    positive = count_over(a, w, zero)
    if positive <= k:
        return zero
    lo, n_lo, hi, n_hi = zero, positive, zero, 0  # hi 0: not known
    guess = last if last > 0 else _mean_positive(a, w, positive)
    reach = np.float32(0.01) if last > 0 else np.float32(0.3)
    for turn in range(_SEARCHES):
        n = count_over(a, w, guess)
        if n == k:
            return guess
        if n > k:
            lo, n_lo = guess, n
        else:
            hi, n_hi = guess, n
        if hi == 0:
            guess = guess * (one + reach)
            reach *= np.float32(3)
            continue
        if lo == 0 and reach < one:
            guess = guess * (one - reach)
            reach *= np.float32(3)
            continue
        share = np.float32(n_lo - k) / np.float32(n_lo - n_hi)
        guess = lo + (hi - lo) * min(max(share, np.float32(0.02)), np.float32(0.98))
        if turn > _INTERPOLATIONS or turn % 4 == 3:  # long tails are halved by their order of magnitude
            guess = np.sqrt(lo) * np.sqrt(hi) if hi > np.float32(4) * lo > 0 else (lo + hi) / two
        if not lo < guess < hi:
            break  # equal values: all of them stay
    return lo


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
def narrow_epoch(
    x: Any, order: Any, batch: int, rates: Any, step: int, beta1: float, beta2: float, limit: float, r: int, width: int,
    P: Any, M: Any, V: Any, G: Any, b: Any, mb: Any, vb: Any, s: Any, ms: Any, vs: Any, tied: bool, free: bool,
    unit: bool, by_norm: bool, l1: float, k: int, memory: Any, tile: Any, along: Any, silent: Any, fired: Any, result: Any,
) -> None:  # fmt: skip
    """All steps of an epoch.

    ``x`` (cells, R); ``b``, ``s`` (R,) the decoder's and the input bias; ``k`` the active features a cell, or 0 for all that
    are positive; ``memory`` (cells,) the last bar of each cell; ``tile`` (20 * TILE,) and ``along`` (padded width,) are
    scratch; ``result`` = reconstruction error and penalty of the last batch.
    """
    R, w, cells = x.shape[1], P.shape[1], len(order)
    bias, first, total = R, R + 1, 2 * R + 1
    xs, e = np.zeros((batch + 1, R), np.float32), np.zeros((batch + 1, R), np.float32)
    bar = np.zeros(batch + 1, np.float32)
    gb, gs = np.zeros(R, np.float32), np.zeros(R, np.float32)
    one = np.float32(1)
    for t in range(len(rates)):
        size = min(batch, cells - t * batch)
        even = size + size % 2
        for q in range(size):
            cell = order[t * batch + q]
            for i in range(R):
                v = x[cell, i]
                e[q, i] = b[i] - v
                xs[q, i] = v - b[i] if tied else (v + s[i] if free else v)
            bar[q] = 0
            if k > 0:
                _encode(P, w, q, xs, along)
                bar[q] = bar_of(along, w, k, memory[cell])
                memory[cell] = bar[q]
        if even > size:
            bar[size] = np.inf  # a cell without codes
        for q in range(0, even, 2):
            _decode_pair(P, w, q, xs, bar, e)
        error = 0.0
        scale = np.float32(2 / (size * r))
        for i in range(R):
            gb[i] = 0
        for q in range(size):
            for i in range(R):
                error += e[q, i] * e[q, i]
                e[q, i] *= scale
                gb[i] += e[q, i]
        result[0] = error / (size * r)
        strength = np.float32(l1 / (size * math.sqrt(r)) if by_norm else l1 / (size * width))
        weighted = by_norm and l1 > 0
        if weighted:
            _press_by_norm(P, first, r, w, strength)
        else:
            for f in range(w):
                P[total, f] = strength
        _gradients(P, G, even, xs, e, bar, tile)
        result[1] = _dot(P, total, G, total, w)
        _note_firing(G, total, width, size, silent, fired)
        if weighted and not unit:
            _pull_norms(P, G, first, r, w, strength)
        if unit:
            _hold_norms(P, G, first, r, w, along)
        for i in range(R):
            gs[i] = _dot(G, bias, P, i, w)
            if tied:
                gb[i] -= gs[i]
        clip = one
        if limit > 0:
            squared = 0.0
            for i in range(total):
                squared += _dot(G, i, G, i, w)
            for i in range(R):
                squared += gb[i] * gb[i]
                if free:
                    squared += gs[i] * gs[i]
            clip = np.float32(min(1.0, limit / (math.sqrt(squared) + 1e-6)))
        turn = step + t + 1
        rate = np.float32(rates[t] / (1 - beta1**turn))
        over = np.float32(1 / math.sqrt(1 - beta2**turn))
        n = total * w
        adam_flat(P.ravel()[:n], G.ravel()[:n], M.ravel(), V.ravel(), clip, beta1, beta2, rate, over)
        adam_flat(b, gb, mb, vb, clip, beta1, beta2, rate, over)
        if free:
            adam_flat(s, gs, ms, vs, clip, beta1, beta2, rate, over)
        if unit:
            _unit_norms(P, first, r, w, along)
