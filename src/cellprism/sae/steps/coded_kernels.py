"""Whole epochs of topk and batchtopk autoencoders in one compiled call, shared by threads that meet between phases.

A step has four phases: codes of the cells (product and selection together, so that no array of pre-activations exists),
decoding, gradients by feature, Adam. Cells, then features, are dealt out in fixed parts; every sum is taken in one order,
so results do not depend on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cellprism.numba_cache import compiled
from cellprism.sae.steps.barrier import meet
from cellprism.sae.steps.coded_collect import collect
from cellprism.sae.steps.kernels import FASTMATH, _keep_largest, adam_flat
from cellprism.sae.steps.vectors import LANES, ROWS, add_row, dot_row, set_row

__all__ = ["PARTS", "coded_epoch"]

PARTS = 16
"""Parts of the features; at most so many threads are of use."""
_LEAST_TILE = 16
_SHIFT, _MASK = 32, 2**32 - 1


@compiled(fastmath=FASTMATH)
def _collect_one(xs: Any, q: int, b: int, W: Any, c: Any, k: int, feature: Any, value: Any, count: Any) -> None:
    """All positive entries of one cell (at most as many as fit: then the k largest so far)."""
    most = feature.shape[1]
    r = W.shape[1]
    n = 0
    bar = np.float32(0)
    x = np.empty(r, np.float32)
    for i in range(r):
        x[i] = xs[i, q]
    for j in range(W.shape[0]):
        s = c[j]
        for i in range(r):
            s += W[j, i] * x[i]
        if s > bar:
            feature[b, n] = j
            value[b, n] = s
            n += 1
            if n == most and most < W.shape[0]:
                _keep_largest(value[b], feature[b], n, k)
                n = k
                bar = value[b, 0]
                for t in range(1, k):
                    bar = min(bar, value[b, t])
    count[b] = n


@compiled(fastmath=FASTMATH)
def _decode(
    lo: int, hi: int, x: Any, D: Any, bias: Any, segment: Any, feature: Any, value: Any, count: Any,
    residual: Any, by_code: Any, squared: Any,
) -> None:  # fmt: skip
    """Residuals of every prefix, summed from each prefix on: (cells, prefixes, r); and their product with decoder rows."""
    prefixes, r = residual.shape[1], x.shape[1]
    for b in range(lo, hi):
        for p in range(prefixes):
            for i in range(r):
                residual[b, p, i] = 0
        for t in range(count[b]):
            j = np.int64(feature[b, t])
            add_row(residual, (b * prefixes + segment[j]) * r, value[b, t], D, j * r, r)
        for i in range(r):
            residual[b, 0, i] += bias[i] - x[b, i]
        for p in range(1, prefixes):
            for i in range(r):
                residual[b, p, i] += residual[b, p - 1, i]
        squared[b] = dot_row(residual, b * prefixes * r, residual, b * prefixes * r, prefixes * r)
        for p in range(prefixes - 2, -1, -1):
            for i in range(r):
                residual[b, p, i] += residual[b, p + 1, i]
        for t in range(count[b]):
            j = np.int64(feature[b, t])
            by_code[b, t] = dot_row(residual, (b * prefixes + segment[j]) * r, D, j * r, r)


@compiled()
def _by_feature(lo: int, hi: int, n: int, feature: Any, count: Any, first: Any, at: Any, place: Any) -> None:
    """Entries of features ``lo`` ... ``hi`` by feature, in the order of the cells: ``first[j]:first[j + 1]`` of ``place``.

    An entry's place is its cell in the upper half of the number and its position in the cell's list in the lower. The
    others come last (a branch for each would cost more).
    """
    w = len(at) - 1
    first[lo : hi + 1] = 0
    for b in range(n):
        for t in range(count[b]):
            j = feature[b, t]
            mine = (j >= lo) & (j < hi)
            first[j + 1 if mine else w + 1] += 1
    for j in range(lo, hi):
        first[j + 1] += first[j]
        at[j] = first[j]
    at[w] = first[hi]
    for b in range(n):
        for t in range(count[b]):
            j = feature[b, t]
            slot = j if (j >= lo) & (j < hi) else w
            place[at[slot]] = (b << _SHIFT) | t
            at[slot] += 1


@compiled(fastmath=FASTMATH)
def _gradients(
    lo: int, hi: int, xs: Any, residual: Any, segment: Any, value: Any, by_code: Any, scale: Any, W: Any, D: Any,
    unit: bool, first: Any, place: Any, fired: Any, gW: Any, gc: Any, gD: Any, parts: Any, part: int,
) -> None:  # fmt: skip
    """Gradients of features ``lo`` ... ``hi`` from their entries. Rows without entries are 0.

    ``fired`` says whose rows hold the last step's and is brought up to date. ``parts[part]`` (r + 1,) takes the gradient by
    the encoder's input, summed over cells, and the squared length of all gradients.
    """
    r, prefixes = W.shape[1], residual.shape[1]
    parts[part] = 0
    total = 0.0
    for j in range(lo, hi):
        n, end = first[j], first[j + 1]
        if n == end:
            if fired[j]:
                gc[j] = 0
                gW[j] = 0
                gD[j] = 0
            fired[j] = False
            continue
        fired[j] = True
        p = segment[j]
        b, t = place[n] >> _SHIFT, place[n] & _MASK
        g = scale * by_code[b, t]
        bias = g
        set_row(gW, j * r, g, xs, b * r, r)
        set_row(gD, j * r, scale * value[b, t], residual, (b * prefixes + p) * r, r)
        for e in range(n + 1, end):
            b, t = place[e] >> _SHIFT, place[e] & _MASK
            g = scale * by_code[b, t]
            bias += g
            add_row(gW, j * r, g, xs, b * r, r)
            add_row(gD, j * r, scale * value[b, t], residual, (b * prefixes + p) * r, r)
        gc[j] = bias
        if unit:
            add_row(gD, j * r, -dot_row(gD, j * r, D, j * r, r), D, j * r, r)
        add_row(parts, part * (r + 1), bias, W, j * r, r)
        total += bias * bias + dot_row(gW, j * r, gW, j * r, r) + dot_row(gD, j * r, gD, j * r, r)
    parts[part, r] = total


@compiled()
def _adam(
    lo: int, hi: int, p: Any, g: Any, m: Any, v: Any, clip: Any, beta1: float, beta2: float, size: Any, over: Any
) -> None:
    adam_flat(p[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], clip, beta1, beta2, size, over)


@compiled(fastmath=FASTMATH)
def _unit_rows(lo: int, hi: int, D: Any) -> None:
    for j in range(lo, hi):
        s: Any = np.float32(0)
        for i in range(D.shape[1]):
            s += D[j, i] * D[j, i]
        s = np.float32(1) / max(np.sqrt(s), np.float32(1e-12))
        for i in range(D.shape[1]):
            D[j, i] *= s


@compiled()
def _lowest_kept(value: Any, count: Any, n: int, wanted: int, scratch: Any, nowhere: Any) -> Any:
    """The ``wanted``-th largest of all entries; their least where there are as many, 0 where there are fewer."""
    total = 0
    for b in range(n):
        for t in range(count[b]):
            scratch[total] = value[b, t]
            total += 1
    if total < wanted:
        return np.float32(0)
    if total > wanted:
        _keep_largest(scratch, nowhere, total, wanted)
    least = scratch[0]
    for t in range(1, wanted):
        least = min(least, scratch[t])
    return least


@compiled()
def coded_epoch(
    thread: int, threads: int, counter: Any, x: Any, order: Any, batch: int, rates: Any, step: int, beta1: float,
    beta2: float, limit: float, W: Any, c: Any, D: Any, b: Any, s: Any, mW: Any, vW: Any, mc: Any, vc: Any, mD: Any,
    vD: Any, mb: Any, vb: Any, ms: Any, vs: Any, tied: bool, free: bool, unit: bool, k: int, whole_batch: bool,
    momentum: float, segment: Any, feature: Any, value: Any, by_code: Any, count: Any, residual: Any, shared: Any,
    xs: Any, squared: Any, parts: Any, gW: Any, gc: Any, gD: Any, first: Any, silent: Any, fired: Any, state: Any,
    memory: Any, missed: Any, result: Any,
) -> None:  # fmt: skip
    """One thread's share of all steps of an epoch.

    ``x`` (cells, r); ``s`` the input bias; ``whole_batch`` selects as batchtopk. ``feature``, ``value``, ``by_code`` (batch,
    entries), ``count``, ``squared`` (batch,), ``residual`` (batch, prefixes, r), ``shared`` and ``xs`` (batch, r: the cells
    of the batch, and less the input bias), ``parts`` (PARTS, r + 1) and the gradients are seen by all threads. ``state``:
    the bar that batchtopk's last batch suggests, the share of a cell's last k-th largest value, in ``memory`` (cells,),
    that topk dares to start from, batchtopk's threshold. ``missed`` (threads,) counts cells that the bar left with fewer
    than k. ``result``: the last batch's reconstruction error.
    """
    w, r = W.shape
    cells, most = len(order), feature.shape[1]
    prefixes = residual.shape[1]
    part_lo, part_hi = PARTS * thread // threads, PARTS * (thread + 1) // threads
    tile = LANES
    while tile > _LEAST_TILE and tile * threads > batch:
        tile //= 2
    turned, out = np.zeros((r, LANES), np.float32), np.empty((ROWS, LANES), np.float32)
    bar = np.full(LANES, np.inf, np.float32)
    guess, dared, threshold = np.float32(state[0]), np.float32(state[1]), np.float32(state[2])
    at = np.empty(w + 1, np.int64)
    place = np.empty(batch * most, np.int64)
    scratch = np.empty(batch * most if whole_batch else 1, np.float32)
    nowhere = np.empty(scratch.size, np.int32)
    gb, gs = np.empty(r, np.float32), np.empty(r, np.float32)
    one = np.float32(1)
    for t in range(len(rates)):
        n = min(batch, cells - t * batch)
        tiles = -(-n // tile)
        lo, hi = tiles * thread // threads * tile, min(tiles * (thread + 1) // threads * tile, n)
        start_bar = guess
        for _again in range(2):
            for a in range(lo, hi, tile):
                size = min(tile, hi - a)
                for q in range(size):
                    row = order[t * batch + a + q]
                    for i in range(r):
                        v = x[row, i]
                        shared[a + q, i] = v
                        v = v - b[i] if tied else (v + s[i] if free else v)
                        xs[a + q, i] = v
                        turned[i, q] = v
                    count[a + q] = 0
                    bar[q] = start_bar if whole_batch else dared * memory[row]
                bar[size:] = np.inf
                collect(turned, a, W, c, k, out, bar, feature, value, count)
                if whole_batch:
                    continue
                for q in range(size):
                    cell, row = a + q, order[t * batch + a + q]
                    if count[cell] < k and memory[row] > 0:
                        _collect_one(turned, q, cell, W, c, k, feature, value, count)
                        missed[thread] += 1
                    if count[cell] > k:
                        _keep_largest(value[cell], feature[cell], count[cell], k)
                        count[cell] = k
                    least = np.float32(0)
                    if count[cell] == k:
                        least = value[cell, 0]
                        for e in range(1, k):
                            least = min(least, value[cell, e])
                    memory[row] = least
            if not whole_batch:
                break
            meet(counter, threads)
            wanted = min(k * n, n * w)
            lowest = _lowest_kept(value, count, n, wanted, scratch, nowhere)
            enough = 0
            for cell in range(n):
                enough += count[cell]
            meet(counter, threads)  # all have counted before any list is changed
            if enough >= wanted or start_bar <= 0:
                for cell in range(lo, hi):
                    m = 0
                    for e in range(count[cell]):
                        if value[cell, e] >= lowest:
                            value[cell, m], feature[cell, m] = value[cell, e], feature[cell, e]
                            m += 1
                    count[cell] = m
                guess = np.float32(0.8) * lowest
                threshold = lowest if threshold < 0 else momentum * threshold + (one - np.float32(momentum)) * lowest
                break
            start_bar = np.float32(0)
        _decode(lo, hi, shared, D, b, segment, feature, value, count, residual, by_code, squared)
        meet(counter, threads)
        scale = np.float32(2 / (n * r * prefixes))
        low, high = w * part_lo // PARTS, w * part_hi // PARTS
        _by_feature(low, high, n, feature, count, first, at, place)
        for part in range(part_lo, part_hi):
            f_lo, f_hi = w * part // PARTS, w * (part + 1) // PARTS
            _gradients(
                f_lo, f_hi, xs, residual, segment, value, by_code, scale, W, D, unit, first, place, fired, gW, gc, gD,
                parts, part,
            )  # fmt: skip
        for j in range(low, high):
            silent[j] = 0 if fired[j] else silent[j] + n
        meet(counter, threads)
        total = 0.0
        for i in range(r):
            gs[i] = 0
            gb[i] = 0
        for part in range(PARTS):
            total += parts[part, r]
            for i in range(r):
                gs[i] += parts[part, i]
        for cell in range(n):
            for i in range(r):
                gb[i] += residual[cell, 0, i]
        for i in range(r):
            gb[i] *= scale
            if tied:
                gb[i] -= gs[i]
            total += gb[i] * gb[i]
            if free:
                total += gs[i] * gs[i]
        clip = np.float32(min(1.0, limit / (math.sqrt(total) + 1e-6))) if limit > 0 else one
        turn = step + t + 1
        rate = np.float32(rates[t] / (1 - beta1**turn))
        over = np.float32(1 / math.sqrt(1 - beta2**turn))
        _adam(low * r, high * r, W.ravel(), gW.ravel(), mW.ravel(), vW.ravel(), clip, beta1, beta2, rate, over)
        _adam(low * r, high * r, D.ravel(), gD.ravel(), mD.ravel(), vD.ravel(), clip, beta1, beta2, rate, over)
        _adam(low, high, c, gc, mc, vc, clip, beta1, beta2, rate, over)
        if unit:
            _unit_rows(low, high, D)
        if thread == 0:
            error = 0.0
            for cell in range(n):
                error += squared[cell]
            result[0] = error / (n * r * prefixes)
            _adam(0, r, b, gb, mb, vb, clip, beta1, beta2, rate, over)
            if free:
                _adam(0, r, s, gs, ms, vs, clip, beta1, beta2, rate, over)
        meet(counter, threads)
    if thread == 0:
        state[0], state[2] = guess, threshold
