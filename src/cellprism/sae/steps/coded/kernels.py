"""Whole epochs of topk and batchtopk autoencoders in one compiled call, shared by threads that meet between phases.

A step has four phases: codes of the cells (product and selection together, so that no array of pre-activations exists),
decoding, gradients by feature, Adam. Cells, then features, are dealt out in fixed parts; every sum is taken in one order,
so results do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled
from cellprism.sae.steps.coded.barrier import meet
from cellprism.sae.steps.coded.select import Bars, Entries, Selection, Team, room, select, share_of_cells
from cellprism.sae.steps.shared.adam import adam_flat
from cellprism.sae.steps.shared.epochs import (
    Adam,
    Batches,
    Biases,
    Objective,
    Told,
    Weights,
    clipping,
    flat,
    pace,
    settle_biases,
)
from cellprism.sae.steps.shared.vectors import add_row, dot_row, set_row

__all__ = ["PARTS", "Residuals", "coded_epoch"]

PARTS = 16
"""Parts of the features; at most so many threads are of use."""
_SHIFT, _MASK = 32, 2**32 - 1


class Residuals(NamedTuple):
    """Errors of a batch, by matryoshka prefix, and what is summed over it, seen by all threads."""

    segment: Any
    """(width,) the first prefix with that feature."""
    residual: Any
    """(batch, prefixes, r)."""
    squared: Any
    """(batch,)."""
    parts: Any
    """(PARTS, r + 1) the gradient by the encoder's input, and the squared length of the gradients."""


class Order(NamedTuple):
    """One thread's list of a batch's entries by feature."""

    first: Any
    """(width + 2,) feature j owns ``first[j]:first[j + 1]``."""
    at: Any
    """(width + 1,)."""
    place: Any
    """(entries,) its cell in the upper half of the number, and its position in the cell's list in the lower."""


@compiled(fastmath=FASTMATH)
def _decode(lo: int, hi: int, entries: Entries, D: Any, bias: Any, to: Residuals) -> None:
    """Residuals of every prefix, summed from each prefix on, of some cells; and their product with decoder rows."""
    feature, value, count = entries.feature, entries.value, entries.count
    x, by_code, residual, segment, squared = entries.x, entries.by_code, to.residual, to.segment, to.squared
    prefixes, r = residual.shape[1], residual.shape[2]
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
def _by_feature(lo: int, hi: int, n: int, entries: Entries, to: Order) -> None:
    """Entries of features ``lo`` ... ``hi`` by feature, in the order of the cells: ``first[j]:first[j + 1]`` of ``place``.

    An entry's place is its cell in the upper half of the number and its position in the cell's list in the lower. The
    others come last (a branch for each would cost more).
    """
    feature, count, first, at, place = entries.feature, entries.count, to.first, to.at, to.place
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
    part: int, scale: Any, W: Any, D: Any, gW: Any, gc: Any, gD: Any, xs: Any, value: Any, by_code: Any, residual: Any,
    segment: Any, parts: Any, first: Any, place: Any, unit: bool, fired: Any,
) -> None:  # fmt: skip
    """Gradients of a part of the features from their entries. Rows without entries are 0.

    ``fired`` says whose rows hold the last step's and is brought up to date. The part's sums take the gradient by the
    encoder's input and the squared length of all gradients.
    """
    w = len(W)
    r, prefixes = W.shape[1], residual.shape[1]
    parts[part] = 0
    total = 0.0
    for j in range(w * part // PARTS, w * (part + 1) // PARTS):
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
def _tick(lo: int, hi: int, n: int, told: Told) -> None:
    """Count the cells in which a feature has been silent."""
    silent, fired = told.silent, told.fired
    for j in range(lo, hi):
        silent[j] = 0 if fired[j] else silent[j] + n


@compiled()
def _sum(a: Any, n: int) -> float:
    s = 0.0
    for i in range(n):
        s += a[i]
    return s


@compiled()
def _bias_gradients(n: int, scale: Any, from_: Residuals, of: Biases, objective: Objective) -> float:
    """The gradients of the biases from the sums of all parts; the squared length of all gradients."""
    by_decoder, by_input, residual, parts = of.decoder.gradient, of.input.gradient, from_.residual, from_.parts
    r, squared = len(by_decoder), 0.0
    by_input[:] = 0
    by_decoder[:] = 0
    for part in range(PARTS):
        squared += parts[part, r]
        for i in range(r):
            by_input[i] += parts[part, i]
    for cell in range(n):
        for i in range(r):
            by_decoder[i] += residual[cell, 0, i]
    for i in range(r):
        by_decoder[i] *= scale
    return settle_biases(by_decoder, by_input, objective, squared)


@compiled()
def coded_epoch(
    team: Team, cells: Batches, of: Weights, objective: Objective, rule: Adam, selection: Selection, entries: Entries,
    residuals: Residuals, bars: Bars, told: Told,
) -> None:  # fmt: skip
    """One thread's share of all steps of an epoch; ``cells.x`` is (cells, r).

    The threads meet after each phase. Gradients of the biases are each thread's own (all come to the same); all other
    arrays are seen by all.
    """
    w, r = of.encoder.value.shape
    first_part, end_part = PARTS * team.thread // team.threads, PARTS * (team.thread + 1) // team.threads
    lo, hi = w * first_part // PARTS, w * end_part // PARTS
    tile, state = room(r, entries, selection.whole), bars.state.copy()
    order = Order(np.zeros(w + 2, np.int64), np.empty(w + 1, np.int64), np.empty(entries.value.size, np.int64))
    W, gW, gc = of.encoder.value, of.encoder.gradient, of.encoder_bias.gradient
    D, gD = of.decoder.value, of.decoder.gradient
    W1, gW1, mW, vW = flat(of.encoder, lo * r, hi * r)
    D1, gD1, mD, vD = flat(of.decoder, lo * r, hi * r)
    c1, gc1, mc, vc = flat(of.encoder_bias, lo, hi)
    b, gb, mb, vb = flat(of.biases.decoder, 0, r)
    s, gs, ms, vs = flat(of.biases.input, 0, r)
    xs, value, by_code, first, place = entries.xs, entries.value, entries.by_code, order.first, order.place
    residual, segment, parts, fired = residuals.residual, residuals.segment, residuals.parts, told.fired
    beta1, beta2, rates = rule.beta1, rule.beta2, rule.rates
    for t in range(len(rates)):
        n = min(cells.size, len(cells.order) - t * cells.size)
        numbers = n * residuals.residual.shape[1] * r
        scale = np.float32(2 / numbers)
        select(team, cells, t, n, of, objective, selection, entries, bars, state, tile)
        first_cell, end_cell, _ = share_of_cells(team, cells.size, n)
        _decode(first_cell, end_cell, entries, of.decoder.value, of.biases.decoder.value, residuals)
        meet(team.counter, team.threads)
        _by_feature(lo, hi, n, entries, order)
        for part in range(first_part, end_part):
            _gradients(
                part, scale, W, D, gW, gc, gD, xs, value, by_code, residual, segment, parts, first, place,
                objective.unit, fired,
            )  # fmt: skip
        _tick(lo, hi, n, told)
        meet(team.counter, team.threads)
        squared = _bias_gradients(n, scale, residuals, of.biases, objective)
        clip = clipping(rule.limit, squared)
        size, over = pace(rates[t], rule.taken + t + 1, beta1, beta2)
        adam_flat(W1, gW1, mW, vW, clip, beta1, beta2, size, over)
        adam_flat(D1, gD1, mD, vD, clip, beta1, beta2, size, over)
        adam_flat(c1, gc1, mc, vc, clip, beta1, beta2, size, over)
        if objective.unit:
            _unit_rows(lo, hi, D)
        if team.thread == 0:
            told.losses[0] = _sum(residuals.squared, n) / numbers
            adam_flat(b, gb, mb, vb, clip, beta1, beta2, size, over)
            if objective.free:
                adam_flat(s, gs, ms, vs, clip, beta1, beta2, size, over)
        meet(team.counter, team.threads)
    if team.thread == 0:
        bars.state[:] = state
