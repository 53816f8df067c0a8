"""Compiled loops of sparse training on the CPU: selection, decoding, gradients by feature.

Each works on a range ``lo:hi`` of rows without the interpreter's lock, so that threads can share it; every row is summed in
one order, so results do not depend on the number of threads. Codes are lists of entries: cell ``b`` owns entries
``start[b]:stop[b]`` of ``feature`` and ``value``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled
from cellprism.sae.steps.shared.largest import keep_largest
from cellprism.sae.steps.shared.vectors import LANES, first_bit, over

__all__ = [
    "by_feature",
    "decode",
    "feature_gradients",
    "rescore",
    "select_above",
    "select_topk",
    "sums_by_feature",
]

_BLOCK = 32


@compiled()
def select_topk(lo: int, hi: int, bits: Any, k: int, feature: Any, value: Any, stop: Any) -> None:
    """The k largest positive pre-activations of each cell.

    ``bits`` (cells, width) are the pre-activations seen as integers of their own size: positive floating-point numbers
    have the order of their bits and negative ones are negative, and integers compare faster. ``feature`` and ``value``
    (cells, k), bits again, are filled from the left; ``stop`` (cells,) = how many.

    Each of the k best block maxima bounds the k-th largest value from below, so that few values are looked at twice.
    """
    width = bits.shape[1]
    blocks = -(-width // _BLOCK)
    maxima = np.empty(blocks, dtype=bits.dtype)
    sorted_maxima = np.empty(blocks, dtype=bits.dtype)
    nowhere = np.empty(blocks, dtype=np.int32)
    values = np.empty(width, dtype=bits.dtype)
    features = np.empty(width, dtype=np.int32)
    full = width // _BLOCK
    for b in range(lo, hi):
        for s in range(blocks):
            top = bits[b, s * _BLOCK]
            if s < full:  # of fixed length, so that the loop becomes vectors
                for i in range(_BLOCK):
                    top = max(top, bits[b, np.uint64(s * _BLOCK) + np.uint64(i)])
            else:
                for j in range(s * _BLOCK + 1, width):
                    top = max(top, bits[b, j])
            maxima[s] = top
            sorted_maxima[s] = top
        bar = 1
        if blocks > k:
            keep_largest(sorted_maxima, nowhere, blocks, k)
            least = sorted_maxima[0]
            for s in range(1, k):
                least = min(least, sorted_maxima[s])
            bar = max(1, least)
        n = 0
        for s in range(blocks):
            if maxima[s] >= bar:
                for j in range(s * _BLOCK, min((s + 1) * _BLOCK, width)):
                    if bits[b, j] >= bar:
                        values[n] = bits[b, j]
                        features[n] = j
                        n += 1
        if n > k:
            keep_largest(values, features, n, k)
            n = k
        for t in range(n):
            feature[b, t] = features[t]
            value[b, t] = values[t]
        stop[b] = n


@compiled()
def select_above(pre: Any, bar: Any, feature: Any, value: Any, stop: Any) -> None:
    """Entries of the pre-activations (cells, width) over ``bar`` (width,); cell b's end before ``stop[b]``."""
    cells, width = pre.shape
    flat = pre.ravel()
    n = 0
    for b in range(cells):
        whole = width - width % LANES
        for s in range(0, whole, LANES):
            hits = over(flat, b * width + s, bar, s)
            while hits:
                j = s + first_bit(hits)
                hits &= hits - np.uint64(1)
                feature[n] = j
                value[n] = pre[b, j]
                n += 1
        for j in range(whole, width):
            if pre[b, j] > bar[j]:
                feature[n] = j
                value[n] = pre[b, j]
                n += 1
        stop[b] = n


@compiled(fastmath=FASTMATH)
def rescore(lo: int, hi: int, x: Any, encoder: Any, bias: Any, feature: Any, value: Any, stop: Any, k: int) -> None:
    """Exact pre-activations of candidates (cells, m), of which the k largest positive ones stay."""
    for b in range(lo, hi):
        n = 0
        for t in range(stop[b]):
            j = feature[b, t]
            s = np.float32(0)
            for i in range(x.shape[1]):
                s += x[b, i] * encoder[j, i]
            s += bias[j]
            if s > 0:
                feature[b, n] = j
                value[b, n] = s
                n += 1
        if n > k:
            keep_largest(value[b], feature[b], n, k)
            n = k
        stop[b] = n


@compiled(fastmath=FASTMATH)
def decode(
    lo: int, hi: int, x: Any, start: Any, stop: Any, feature: Any, value: Any, decoder: Any, bias: Any, scale: float,
    press: Any, residual: Any, slope: Any, squared: Any,
) -> None:  # fmt: skip
    """``residual = codes @ decoder + bias - x``; ``squared`` (cells,) = its squared length.

    ``slope`` = the gradient by the entry's code: ``scale`` times the residual's product with the decoder row, plus
    ``press`` of the feature.
    """
    r = x.shape[1]
    for b in range(lo, hi):
        for i in range(r):
            residual[b, i] = bias[i] - x[b, i]
        for t in range(start[b], stop[b]):
            j = feature[t]
            v = value[t]
            for i in range(r):
                residual[b, i] += v * decoder[j, i]
        s = np.float32(0)
        for i in range(r):
            s += residual[b, i] * residual[b, i]
        squared[b] = s
        for t in range(start[b], stop[b]):
            j = feature[t]
            s = np.float32(0)
            for i in range(r):
                s += residual[b, i] * decoder[j, i]
            slope[t] = scale * s + press[j]


@compiled()
def by_feature(start: Any, stop: Any, feature: Any, first: Any, entry: Any, cell: Any) -> None:
    """Sort entries by feature (counting sort): feature j owns ``first[j]:first[j + 1]`` of ``entry`` and ``cell``."""
    width = len(first) - 1
    first[:] = 0
    for b in range(len(start)):
        for t in range(start[b], stop[b]):
            first[feature[t] + 1] += 1
    for j in range(width):
        first[j + 1] += first[j]
    place = first[:-1].copy()
    for b in range(len(start)):
        for t in range(start[b], stop[b]):
            n = place[feature[t]]
            entry[n] = t
            cell[n] = b
            place[feature[t]] = n + 1


@compiled(fastmath=FASTMATH)
def feature_gradients(
    lo: int, hi: int, x: Any, residual: Any, value: Any, slope: Any, scale: float, pressed: Any, pull: Any, first: Any,
    entry: Any, cell: Any, decoder: Any, unit_norm: bool, add: bool, g_encoder: Any, g_bias: Any, g_decoder: Any,
    squared: Any, fired: Any,
) -> None:  # fmt: skip
    """Gradients of each feature's encoder row, bias and decoder row from its entries.

    ``slope`` is the gradient by the entry's pre-activation. That of the decoder row is ``scale * sum(value * residual)``
    plus ``pull[j] * sum(pressed)`` along the row itself (the penalty's grip on its norm). With ``unit_norm`` the part
    along the row is taken off. ``add`` adds to what the gradients hold. ``squared`` (width,) is their squared length;
    ``fired`` whether a value is positive.
    """
    r = x.shape[1]
    for j in range(lo, hi):
        if not add:
            g_bias[j] = 0
            for i in range(r):
                g_encoder[j, i] = 0
                g_decoder[j, i] = 0
        fired[j] = False
        if first[j] == first[j + 1] and not add:
            squared[j] = 0
            continue
        total = np.float32(0)
        for n in range(first[j], first[j + 1]):
            b = cell[n]
            g = slope[entry[n]]
            v = scale * value[entry[n]]
            total += pressed[entry[n]]
            fired[j] |= v > 0
            g_bias[j] += g
            for i in range(r):
                g_encoder[j, i] += g * x[b, i]
                g_decoder[j, i] += v * residual[b, i]
        along = pull[j] * total
        if unit_norm:  # a penalty on the norm has no part beside the row
            along = np.float32(0)
            for i in range(r):
                along -= g_decoder[j, i] * decoder[j, i]
        s = g_bias[j] * g_bias[j]
        for i in range(r):
            g_decoder[j, i] += along * decoder[j, i]
            s += g_encoder[j, i] * g_encoder[j, i] + g_decoder[j, i] * g_decoder[j, i]
        squared[j] = s


@compiled()
def sums_by_feature(lo: int, hi: int, first: Any, entry: Any, a: Any, b: Any, sum_a: Any, sum_b: Any) -> None:
    """Sums of two numbers an entry over each feature's entries."""
    for j in range(lo, hi):
        total_a = total_b = np.float32(0)
        for n in range(first[j], first[j + 1]):
            total_a += a[entry[n]]
            total_b += b[entry[n]]
        sum_a[j] = total_a
        sum_b[j] = total_b
