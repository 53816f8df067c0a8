"""Triton kernels of training on a GPU: selection, decoding, gradients by feature, Adam.

Every sum has one order and there are no atomics, so that a run repeats itself bit by bit. Positive floating-point numbers
have the order of their bits: selections compare such integers, the *keys*. Codes are lists of entries (cell, feature,
value); a feature equal to the width marks an empty place.

Numbers may be stored in bfloat16; sums are in float32. Arguments carry no types but ``constexpr``: the compiler would look the
names of others up as values.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from __future__ import annotations

import triton
import triton.language as tl

__all__ = [
    "adam_flat",
    "adam_rows",
    "candidates",
    "count_above",
    "decode",
    "decode_few",
    "feature_gradients",
    "gather_above",
    "keep_largest",
    "slopes",
]


@triton.jit
def _keys(values, SHIFT: tl.constexpr):
    """Integers in the order of the values, 0 where these are not positive; NaN is the largest, so that it is seen."""
    exact = values.to(tl.float32)
    key = tl.maximum(exact.to(tl.int32, bitcast=True) >> SHIFT, 0)
    return tl.where(exact != exact, (0x7F800000 >> SHIFT) + 1, key)


@triton.jit
def _nearest(x):
    """float32 numbers as the nearest bfloat16 ones, even of two as near: the interpreter's own conversion cuts off."""
    bits = x.to(tl.int32, bitcast=True)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) & -65536
    return tl.where(x != x, x, nearest.to(tl.float32, bitcast=True)).to(tl.bfloat16)


@triton.jit
def _store(to, x, mask):
    """Store float32 numbers in the type of the array."""
    if to.dtype.element_ty == tl.bfloat16:
        tl.store(to, _nearest(x), mask=mask)
    else:
        tl.store(to, x, mask=mask)


@triton.jit
def _kth_largest(key, k):
    """A bar of at least 1 which the k largest keys reach and no others but those that equal the least of them."""
    low = tl.full([], 1, tl.int32)
    high = tl.max(key, axis=0) + 1
    while high - low > 1:
        middle = low + (high - low) // 2
        count = tl.sum((key >= middle).to(tl.int32), axis=0)
        low = tl.where(count >= k, middle, low)
        high = tl.where(count == k, middle + 1, tl.where(count > k, high, middle))
    return low


@triton.jit
def _compact(row, width, bar, feature, value, limit, GROUPS: tl.constexpr, SHIFT: tl.constexpr):
    """Write the entries of a row whose keys reach the bar, as far as ``limit`` allows; their number."""
    columns = tl.arange(0, GROUPS)
    found = tl.full([], 0, tl.int32)
    for s in range(0, width, GROUPS):
        values = tl.load(row + s + columns, mask=s + columns < width, other=0.0)
        keep = _keys(values, SHIFT) >= bar
        place = found + tl.cumsum(keep.to(tl.int32), axis=0) - 1
        fits = keep & (place < limit)
        tl.store(feature + place, s + columns, mask=fits)
        tl.store(value + place, values.to(tl.float32), mask=fits)
        found += tl.sum(keep.to(tl.int32), axis=0)
    return found


@triton.jit
def candidates(
    pre, feature, value, count, width, k, ROOM: tl.constexpr, GROUPS: tl.constexpr,
    SHIFT: tl.constexpr,
):  # fmt: skip
    """Entries among which a cell's k largest are; a program a cell.

    The k-th largest maximum of ``GROUPS`` interleaved groups bounds the k-th largest value from below. ``feature`` and
    ``value`` (cells, ROOM) take what reaches it; ``count`` (cells,) says how many that is, more than ``ROOM`` included.
    """
    b = tl.program_id(0).to(tl.int64)
    row = pre + b * width
    columns = tl.arange(0, GROUPS)
    top = tl.zeros([GROUPS], tl.int32)
    for s in range(0, width, GROUPS):
        values = tl.load(row + s + columns, mask=s + columns < width, other=0.0)
        top = tl.maximum(top, _keys(values, SHIFT))
    bar = _kth_largest(top, k)
    found = _compact(row, width, bar, feature + b * ROOM, value + b * ROOM, ROOM, GROUPS, SHIFT)
    tl.store(count + b, found)


@triton.jit
def _emit(key, value, feature, bar, ties, place, features, values):
    """Write the keys over the bar and the first ``ties`` that equal it; the places and the ties left."""
    equal = key == bar
    keep = (key > bar) | (equal & (tl.cumsum(equal.to(tl.int32), axis=0) <= ties))
    at = place + tl.cumsum(keep.to(tl.int32), axis=0) - 1
    tl.store(features + at, feature, mask=keep)
    tl.store(values + at, value, mask=keep)
    taken = tl.minimum(tl.sum(equal.to(tl.int32), axis=0), ties)
    return place + tl.sum(keep.to(tl.int32), axis=0), ties - taken


@triton.jit
def keep_largest(
    pre, candidate, score, count, feature, value, width, k, ROOM: tl.constexpr,
    GROUPS: tl.constexpr, PLACES: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """The k largest positive entries of each cell, exactly; a program a cell.

    Of equal values the first features are taken. Where the candidates had not enough room, the whole row is searched.
    ``feature`` and ``value`` (cells, k) are filled from the left, the rest is empty places of value 0.
    """
    b = tl.program_id(0).to(tl.int64)
    found = tl.load(count + b)
    features, values = feature + b * k, value + b * k
    place = tl.full([], 0, tl.int32)
    if found <= ROOM:
        spot = tl.arange(0, ROOM)
        scores = tl.load(score + b * ROOM + spot, mask=spot < found, other=0.0)
        names = tl.load(candidate + b * ROOM + spot, mask=spot < found, other=0)
        key = _keys(scores, SHIFT)
        bar = _kth_largest(key, k)
        ties = k - tl.sum((key > bar).to(tl.int32), axis=0)
        place, ties = _emit(key, scores, names, bar, ties, place, features, values)
    else:
        row = pre + b * width
        columns = tl.arange(0, GROUPS)
        bar = tl.full([], 1, tl.int32)
        high = tl.full([], (0x7F800000 >> SHIFT) + 2, tl.int32)
        over = tl.full([], 0, tl.int32)  # keys that reach `high`
        while high - bar > 1:
            middle = bar + (high - bar) // 2
            n = tl.full([], 0, tl.int32)
            for s in range(0, width, GROUPS):
                seen = tl.load(row + s + columns, mask=s + columns < width, other=0.0)
                n += tl.sum((_keys(seen, SHIFT) >= middle).to(tl.int32), axis=0)
            bar = tl.where(n >= k, middle, bar)
            over = tl.where(n >= k, over, n)
            high = tl.where(n >= k, high, middle)
        ties = k - over
        for s in range(0, width, GROUPS):
            seen = tl.load(row + s + columns, mask=s + columns < width, other=0.0)
            key = _keys(seen, SHIFT)
            place, ties = _emit(key, seen.to(tl.float32), s + columns, bar, ties, place, features, values)
    rest = tl.arange(0, PLACES)
    empty = (rest >= place) & (rest < k)
    tl.store(features + rest, tl.zeros([PLACES], tl.int32) + width, mask=empty)
    tl.store(values + rest, tl.zeros([PLACES], tl.float32), mask=empty)


@triton.jit
def count_above(pre, bar, count, width, GROUPS: tl.constexpr, SHIFT: tl.constexpr):
    """``count`` (cells,) of the keys that reach the bar; a program a cell."""
    b = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, GROUPS)
    level = tl.load(bar)
    n = tl.zeros([GROUPS], tl.int32)
    for s in range(0, width, GROUPS):
        values = tl.load(pre + b * width + s + columns, mask=s + columns < width, other=0.0)
        n += (_keys(values, SHIFT) >= level).to(tl.int32)
    tl.store(count + b, tl.sum(n, axis=0))


@triton.jit
def gather_above(pre, bar, start, feature, value, width, GROUPS: tl.constexpr, SHIFT: tl.constexpr):
    """Entries whose keys reach the bar, cell b's from ``start[b]`` on; a program a cell."""
    b = tl.program_id(0).to(tl.int64)
    first = tl.load(start + b)
    _compact(pre + b * width, width, tl.load(bar), feature + first, value + first, width, GROUPS, SHIFT)


@triton.jit
def decode_few(
    x, feature, value, decoder, bias, scale, residual, slope, squared,
    r, k, width, SLOTS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """``residual = codes @ decoder + bias - x``, its squared length, and the gradient by each code; a program a cell.

    For k up to ``SLOTS`` entries a cell, whose decoder rows are then read once: a chunk of the residual is complete when
    the chunk of all rows has been seen, and adds to the products with these rows at once.
    """
    b = tl.program_id(0).to(tl.int64)
    t = tl.arange(0, SLOTS)
    j = tl.load(feature + b * k + t, mask=t < k, other=width)
    live = j < width
    v = tl.load(value + b * k + t, mask=live, other=0.0)
    rows = decoder + j.to(tl.int64) * r
    product = tl.zeros([SLOTS], tl.float32)
    total = tl.zeros([CHUNK], tl.float32)
    for c in range(0, r, CHUNK):
        i = c + tl.arange(0, CHUNK)
        inside = i < r
        D = tl.load(rows[:, None] + i[None, :], mask=live[:, None] & inside[None, :], other=0.0).to(tl.float32)
        e = tl.load(bias + i, mask=inside, other=0.0) - tl.load(x + b * r + i, mask=inside, other=0.0)
        e += tl.sum(D * v[:, None], axis=0)
        _store(residual + b * r + i, e, inside)
        product += tl.sum(D * e[None, :], axis=1)
        total += e * e
    tl.store(slope + b * k + t, tl.where(v > 0, tl.load(scale) * product, 0.0), mask=t < k)
    tl.store(squared + b, tl.sum(total, axis=0))


@triton.jit
def decode(
    x, start, feature, value, decoder, bias, residual, squared, r,
    width, SLOTS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """``residual = codes @ decoder + bias - x`` and its squared length for any number of entries; a program a cell.

    Cell b owns entries ``start[b]:start[b + 1]``.
    """
    b = tl.program_id(0).to(tl.int64)
    low, high = tl.load(start + b), tl.load(start + b + 1)
    total = tl.zeros([CHUNK], tl.float32)
    for c in range(0, r, CHUNK):
        i = c + tl.arange(0, CHUNK)
        inside = i < r
        e = tl.load(bias + i, mask=inside, other=0.0) - tl.load(x + b * r + i, mask=inside, other=0.0)
        for s in range(low, high, SLOTS):
            t = s + tl.arange(0, SLOTS)
            j = tl.load(feature + t, mask=t < high, other=width)
            live = j < width
            v = tl.load(value + t, mask=live, other=0.0)
            rows = decoder + j.to(tl.int64) * r
            D = tl.load(rows[:, None] + i[None, :], mask=live[:, None] & inside[None, :], other=0.0).to(tl.float32)
            e += tl.sum(D * v[:, None], axis=0)
        _store(residual + b * r + i, e, inside)
        total += e * e
    tl.store(squared + b, tl.sum(total, axis=0))


@triton.jit
def slopes(
    residual, start, feature, value, decoder, scale, slope, r, width,
    SLOTS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Gradient by each code of :func:`decode`'s entries: the residual's product with the decoder row; a program a cell."""
    b = tl.program_id(0).to(tl.int64)
    low, high = tl.load(start + b), tl.load(start + b + 1)
    strength = tl.load(scale)
    for s in range(low, high, SLOTS):
        t = s + tl.arange(0, SLOTS)
        j = tl.load(feature + t, mask=t < high, other=width)
        live = j < width
        v = tl.load(value + t, mask=live, other=0.0)
        rows = decoder + j.to(tl.int64) * r
        product = tl.zeros([SLOTS], tl.float32)
        for c in range(0, r, CHUNK):
            i = c + tl.arange(0, CHUNK)
            inside = i < r
            D = tl.load(rows[:, None] + i[None, :], mask=live[:, None] & inside[None, :], other=0.0).to(tl.float32)
            e = tl.load(residual + b * r + i, mask=inside, other=0.0).to(tl.float32)
            product += tl.sum(D * e[None, :], axis=1)
        tl.store(slope + t, tl.where(v > 0, strength * product, 0.0), mask=t < high)


@triton.jit
def feature_gradients(
    x, residual, scales, order, cell, value, slope, first, decoder,
    g_encoder, g_decoder, g_bias, squared, fired, n, r, PROJECT: tl.constexpr,
    SLOTS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """Gradients of each feature's encoder row, bias and decoder row; a program a feature and chunk of dimensions.

    Feature j owns entries ``order[first[j]:first[j + 1]]``; one without entries has gradients of 0, which are not written.
    Rows of ``residual`` from ``n`` on belong to the auxiliary loss of cell ``row - n``; ``scales`` (2,) holds the weights of
    both kinds. With ``PROJECT`` the decoder gradient's part along its row is taken off; that part is the sum of ``value *
    slope``, so no program needs the whole row. ``squared`` (width, chunks) is the gradients' squared length, ``fired``
    (width,) whether a value of the main loss is positive.
    """
    j = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1)
    low, high = tl.load(first + j), tl.load(first + j + 1)
    i = c * CHUNK + tl.arange(0, CHUNK)
    inside = i < r
    by_encoder = tl.zeros([CHUNK], tl.float32)
    by_decoder = tl.zeros([CHUNK], tl.float32)
    by_bias = tl.zeros([SLOTS], tl.float32)
    along = tl.zeros([SLOTS], tl.float32)
    seen = tl.zeros([SLOTS], tl.int32)
    for s in range(low, high, SLOTS):
        t = s + tl.arange(0, SLOTS)
        own = t < high
        entry = tl.load(order + t, mask=own, other=0)
        b = tl.load(cell + entry, mask=own, other=0).to(tl.int64)
        v = tl.load(value + entry, mask=own, other=0.0)
        g = tl.load(slope + entry, mask=own, other=0.0)
        more = b >= n
        push = v * tl.load(scales + more.to(tl.int32))
        here = own[:, None] & inside[None, :]
        X = tl.load(x + tl.where(more, b - n, b)[:, None] * r + i[None, :], mask=here, other=0.0).to(tl.float32)
        R = tl.load(residual + b[:, None] * r + i[None, :], mask=here, other=0.0).to(tl.float32)
        by_encoder += tl.sum(X * g[:, None], axis=0)
        by_decoder += tl.sum(R * push[:, None], axis=0)
        by_bias += g
        along += v * g
        seen = tl.maximum(seen, ((v > 0) & (b < n)).to(tl.int32))
    bias = tl.sum(by_bias, axis=0)
    here = i < tl.where(high > low, r, 0)
    if PROJECT:
        D = tl.load(decoder + j * r + i, mask=here, other=0.0)
        by_decoder -= tl.sum(along, axis=0) * D
    tl.store(g_encoder + j * r + i, by_encoder, mask=here)
    tl.store(g_decoder + j * r + i, by_decoder, mask=here)
    length = tl.sum(tl.where(inside, by_encoder * by_encoder + by_decoder * by_decoder, 0.0), axis=0)
    tl.store(squared + j * tl.num_programs(1) + c, length + tl.where(c == 0, bias * bias, 0.0))
    tl.store(g_bias + j, bias, mask=c == 0)
    tl.store(fired + j, tl.max(seen, axis=0).to(tl.uint8), mask=c == 0)


@triton.jit
def _adam(
    p, g, m, v, at, inside, here, clip, beta1, rest1, beta2,
    rest2, size, over,
):  # fmt: skip
    """One step of Adam, as in torch: ``p - size * m / (sqrt(v) * over + 1e-8)``; gradients are read ``here`` and else 0."""
    gradient = tl.load(g + at, mask=here, other=0.0) * tl.load(clip)
    mean = beta1 * tl.load(m + at, mask=inside, other=0.0) + rest1 * gradient
    square = beta2 * tl.load(v + at, mask=inside, other=0.0) + rest2 * gradient * gradient
    tl.store(m + at, mean, mask=inside)
    tl.store(v + at, square, mask=inside)
    return tl.load(p + at, mask=inside, other=0.0) - size * mean / (tl.sqrt(square) * over + 1e-8)


@triton.jit
def adam_rows(
    p, g, m, v, rounded, first, clip, beta1, rest1, beta2,
    rest2, size, over, r, UNIT: tl.constexpr, ROUND: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adam on a matrix whose gradients are written for features with entries; a program a row.

    With ``UNIT`` the row is then divided by its length; with ``ROUND`` its bfloat16 copy is renewed.
    """
    j = tl.program_id(0).to(tl.int64)
    i = tl.arange(0, BLOCK)
    inside = i < r
    here = i < tl.where(tl.load(first + j + 1) > tl.load(first + j), r, 0)
    at = j * r + i
    row = _adam(p, g, m, v, at, inside, here, clip, beta1, rest1, beta2, rest2, size, over)
    if UNIT:
        length = tl.sqrt(tl.sum(tl.where(inside, row * row, 0.0), axis=0))
        row /= tl.where(length > 1e-12, length, tl.where(length != length, length, 1e-12))
    tl.store(p + at, row, mask=inside)
    if ROUND:
        _store(rounded + at, row, inside)


@triton.jit
def adam_flat(
    p, g, m, v, clip, beta1, rest1, beta2, rest2, size, over,
    n, BLOCK: tl.constexpr,
):  # fmt: skip
    """Adam on a vector; a program a block."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    new = _adam(p, g, m, v, at, inside, inside, clip, beta1, rest1, beta2, rest2, size, over)
    tl.store(p + at, new, mask=inside)
