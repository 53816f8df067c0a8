"""Compiled loops of sparse training on the CPU: selection, decoding, gradients by feature, Adam.

Each works on a range ``lo:hi`` of rows without the interpreter's lock, so that :func:`spread` can share it between
threads; every row is summed in one order, so results do not depend on the number of threads. Codes are lists of entries:
cell ``b`` owns entries ``start[b]:stop[b]`` of ``feature`` and ``value``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import torch

__all__ = [
    "adam",
    "adam_flat",
    "by_feature",
    "decode",
    "feature_gradients",
    "rescore",
    "select_above",
    "select_topk",
    "spread",
    "unit_rows",
]

# Sums may be reordered into vector lanes; NaN and infinity keep their meaning, so that divergence is seen.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
_BLOCK = 32


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="cellprism")


def spread(kernel: Callable[..., Any], n: int, *args: Any, threads: int | None = None) -> None:
    """Call ``kernel(lo, hi, *args)`` on parts of ``range(n)``, a part a thread."""
    threads = min(threads or torch.get_num_threads(), max(1, n // 32))
    if threads == 1:
        kernel(0, n, *args)
        return
    bounds = [n * i // threads for i in range(threads + 1)]
    parts = list(pairwise(bounds))
    waiting = [_pool(threads - 1).submit(kernel, lo, hi, *args) for lo, hi in parts[1:]]
    kernel(*parts[0], *args)
    for future in waiting:
        future.result()


@numba.njit(cache=True, nogil=True)
def _keep_largest(value: Any, feature: Any, n: int, k: int) -> None:
    """Move the k largest of the first n entries to the front (quickselect)."""
    lo, hi = 0, n - 1
    while lo < hi:
        pivot = value[(lo + hi) // 2]
        i, j = lo, hi
        while i <= j:
            while value[i] > pivot:
                i += 1
            while value[j] < pivot:
                j -= 1
            if i <= j:
                value[i], value[j] = value[j], value[i]
                feature[i], feature[j] = feature[j], feature[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            hi = j
        elif k - 1 >= i:
            lo = i
        else:
            break


@numba.njit(cache=True, nogil=True)
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
    for b in range(lo, hi):
        for s in range(blocks):
            e = min((s + 1) * _BLOCK, width)
            top = bits[b, s * _BLOCK]
            for j in range(s * _BLOCK + 1, e):
                top = max(top, bits[b, j])
            maxima[s] = top
            sorted_maxima[s] = top
        bar = 1
        if blocks > k:
            _keep_largest(sorted_maxima, nowhere, blocks, k)
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
            _keep_largest(values, features, n, k)
            n = k
        for t in range(n):
            feature[b, t] = features[t]
            value[b, t] = values[t]
        stop[b] = n


@numba.njit(cache=True, nogil=True, fastmath=FASTMATH)
def count_above(lo: int, hi: int, pre: Any, bar: float, count: Any) -> None:
    """Pre-activations over ``bar`` of each cell: ``count`` (cells,)."""
    for b in range(lo, hi):
        n = 0
        for j in range(pre.shape[1]):
            n += pre[b, j] > bar
        count[b] = n


@numba.njit(cache=True, nogil=True)
def select_above(lo: int, hi: int, pre: Any, bar: float, start: Any, feature: Any, value: Any) -> None:
    """Entries of the pre-activations over ``bar``, cell b's from ``start[b]`` on."""
    for b in range(lo, hi):
        n = start[b]
        for j in range(pre.shape[1]):
            if pre[b, j] > bar:
                feature[n] = j
                value[n] = pre[b, j]
                n += 1


@numba.njit(cache=True, nogil=True, fastmath=FASTMATH)
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
            _keep_largest(value[b], feature[b], n, k)
            n = k
        stop[b] = n


@numba.njit(cache=True, nogil=True, fastmath=FASTMATH)
def decode(
    lo: int,
    hi: int,
    x: Any,
    start: Any,
    stop: Any,
    feature: Any,
    value: Any,
    decoder: Any,
    bias: Any,
    residual: Any,
    by_code: Any,
    squared: Any,
) -> None:
    """``residual = codes @ decoder + bias - x``; ``by_code`` = its product with the entry's decoder row.

    ``squared`` (cells,) is the residual's squared length.
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
            by_code[t] = s


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True, fastmath=FASTMATH)
def feature_gradients(
    lo: int,
    hi: int,
    x: Any,
    residual: Any,
    value: Any,
    by_code: Any,
    scale: float,
    press: Any,
    pull: Any,
    first: Any,
    entry: Any,
    cell: Any,
    decoder: Any,
    unit_norm: bool,
    add: bool,
    g_encoder: Any,
    g_bias: Any,
    g_decoder: Any,
    squared: Any,
) -> None:
    """Gradients of each feature's encoder row, bias and decoder row from its entries.

    The gradient of a code is ``scale * by_code + press[j]``; that of the decoder row ``scale * sum(value * residual)``
    plus ``pull[j] * sum(value)`` along the row itself (the penalty's grip on its norm). With ``unit_norm`` the part
    along the row is taken off. ``add`` adds to what the gradients hold. ``squared`` (width,) is their squared length.
    """
    r = x.shape[1]
    for j in range(lo, hi):
        if not add:
            g_bias[j] = 0
            for i in range(r):
                g_encoder[j, i] = 0
                g_decoder[j, i] = 0
        for n in range(first[j], first[j + 1]):
            b = cell[n]
            g = scale * by_code[entry[n]] + press[j]
            v = scale * value[entry[n]]
            w = pull[j] * value[entry[n]]
            g_bias[j] += g
            for i in range(r):
                g_encoder[j, i] += g * x[b, i]
                g_decoder[j, i] += v * residual[b, i] + w * decoder[j, i]
        if unit_norm:
            s = np.float32(0)
            for i in range(r):
                s += g_decoder[j, i] * decoder[j, i]
            for i in range(r):
                g_decoder[j, i] -= s * decoder[j, i]
        s = g_bias[j] * g_bias[j]
        for i in range(r):
            s += g_encoder[j, i] * g_encoder[j, i] + g_decoder[j, i] * g_decoder[j, i]
        squared[j] = s


# Division that may fail, or a position that may count from the end, would keep the loop from becoming vectors (ten times).
@numba.njit(cache=True, nogil=True, fastmath=FASTMATH, error_model="numpy")
def adam_flat(p: Any, g: Any, m: Any, v: Any, clip: Any, b1: Any, b2: Any, size: Any, over: Any) -> None:
    """One step of Adam, as in torch: ``p -= size * m / (sqrt(v) * over + 1e-8)``; float32 throughout."""
    one, eps = np.float32(1), np.float32(1e-8)
    d1, d2 = one - b1, one - b2
    for i in range(p.size):
        q = np.uint64(i)
        grad = clip * g[q]
        mean = b1 * m[q] + d1 * grad
        square = b2 * v[q] + d2 * grad * grad
        m[q] = mean
        v[q] = square
        p[q] -= size * mean / (np.sqrt(square) * over + eps)


@numba.njit(cache=True, nogil=True)
def adam(
    lo: int,
    hi: int,
    p: Any,
    g: Any,
    m: Any,
    v: Any,
    clip: float,
    beta1: float,
    beta2: float,
    step_size: float,
    root2: float,
) -> None:
    """:func:`adam_flat` on a range of flat arrays."""
    f = np.float32
    adam_flat(p[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], f(clip), f(beta1), f(beta2), f(step_size), f(1 / root2))


@numba.njit(cache=True, nogil=True, fastmath=FASTMATH)
def unit_rows(lo: int, hi: int, p: Any) -> None:
    """Divide each row by its length."""
    for j in range(lo, hi):
        s = np.float32(0)
        for i in range(p.shape[1]):
            s += p[j, i] * p[j, i]
        s = np.float32(1) / max(np.sqrt(s), np.float32(1e-12))
        for i in range(p.shape[1]):
            p[j, i] *= s
