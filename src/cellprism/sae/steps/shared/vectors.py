"""Vector operations that a compiler does not find by itself: products held in registers, comparisons as bit masks.

They are written as vectors of 16 or 64 numbers, which the compiler splits for a processor with shorter ones. Positions count
from an array's first number; arrays lie in one piece.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from cellprism.numba_cache import compiled

__all__ = ["LANES", "ROWS", "add_row", "dot_row", "first_bit", "over", "products", "set_row"]

LANES = 64
"""Numbers that :func:`over` compares and cells of :func:`products`."""
ROWS = 4
"""Rows that :func:`products` multiplies at a time."""
_FLOAT, _LONG = ir.FloatType(), ir.IntType(64)
_LENGTH = 16
_insert: Any = cgutils.get_or_insert_function
_place: Any = cgutils.alloca_once


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _vector_at(builder: Any, data: Any, position: Any, length: int) -> Any:
    kind = ir.VectorType(_FLOAT, length)
    return builder.bitcast(builder.gep(data, [position]), kind.as_pointer())


def _over(typing_context: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
    """Bit mask: which of 64 numbers of ``a`` from position i on exceed those of ``b`` from j on."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (
            builder.load(_vector_at(builder, _data(context, builder, signature.args[n], arguments[n]), arguments[n + 1], LANES), align=4)
            for n in (0, 2)
        )  # fmt: skip
        return builder.bitcast(builder.fcmp_ordered(">", left, right), _LONG)

    return types.uint64(a, types.int64, b, types.int64), code


def _first_bit(typing_context: Any, mask: Any) -> Any:
    """Position of the lowest bit of a mask that is not 0."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), code


def _splat(builder: Any, number: Any, length: int = _LENGTH) -> Any:
    kind = ir.VectorType(_FLOAT, length)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), length), None)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _multiply_add(builder: Any, length: int) -> Any:
    kind = ir.VectorType(_FLOAT, length)
    return _insert(builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fmuladd.v{length}f32")


def _adds(length: int, *, fresh: bool = False) -> Any:
    """``y[i:i + length] += a * x[j:j + length]``, or ``=`` where ``fresh``."""

    def typed(typing_context: Any, y: Any, i: Any, a: Any, x: Any, j: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kinds = signature.args
            target = _vector_at(builder, _data(context, builder, kinds[0], arguments[0]), arguments[1], length)
            source = _vector_at(builder, _data(context, builder, kinds[3], arguments[3]), arguments[4], length)
            factors = [_splat(builder, arguments[2], length), builder.load(source, align=4)]
            if fresh:
                value = builder.fmul(*factors)
            else:
                value = builder.call(_multiply_add(builder, length), [*factors, builder.load(target, align=4)])
            builder.store(value, target, align=4)
            return context.get_dummy_value()

        return types.void(y, types.int64, types.float32, x, types.int64), code

    return intrinsic(typed)


def _dots(length: int) -> Any:
    """``a[i:i + length] @ b[j:j + length]``, halves added to halves."""

    def typed(typing_context: Any, a: Any, i: Any, b: Any, j: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            left, right = (
                builder.load(
                    _vector_at(
                        builder, _data(context, builder, signature.args[n], arguments[n]), arguments[n + 1], length
                    ),
                    align=4,
                )
                for n in (0, 2)
            )
            total, n = builder.fmul(left, right), length
            while n > 1:
                n //= 2
                halves = [
                    builder.shuffle_vector(
                        total, total, ir.Constant(ir.VectorType(ir.IntType(32), n), list(range(s, s + n)))
                    )
                    for s in (0, n)
                ]
                total = builder.fadd(*halves)
            return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

        return types.float32(a, types.int64, b, types.int64), code

    return intrinsic(typed)


def _products(typing_context: Any, w: Any, row: Any, bias: Any, x: Any, r: Any, out: Any) -> Any:
    """``out[f] = w[row + f] @ x + bias[row + f]`` for four rows f; ``w`` (rows, r), ``x`` (r, 64), ``out`` (4, 64)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        w, bias, x, out = (_data(context, builder, kinds[n], arguments[n]) for n in (0, 2, 3, 5))
        row, r = arguments[1], arguments[4]
        kind = ir.VectorType(_FLOAT, _LENGTH)
        add = _multiply_add(builder, _LENGTH)
        starts = [builder.add(row, _LONG(f)) for f in range(ROWS)]
        parts = range(LANES // _LENGTH)
        sums = [[_place(builder, kind) for _ in parts] for _ in starts]
        for start, mine in zip(starts, sums, strict=True):
            value = _splat(builder, builder.load(builder.gep(bias, [start])))
            for place in mine:
                builder.store(value, place)
        firsts = [builder.mul(start, r) for start in starts]
        with cgutils.for_range(builder, r) as loop:
            cells = builder.mul(loop.index, _LONG(LANES))
            xs = [
                builder.load(_vector_at(builder, x, builder.add(cells, _LONG(p * _LENGTH)), _LENGTH), align=4)
                for p in parts
            ]
            for first, mine in zip(firsts, sums, strict=True):
                weight = _splat(builder, builder.load(builder.gep(w, [builder.add(first, loop.index)])))
                for place, cell in zip(mine, xs, strict=True):
                    builder.store(builder.call(add, [weight, cell, builder.load(place)]), place)
        for f, mine in enumerate(sums):
            for p, place in zip(parts, mine, strict=True):
                at = _vector_at(builder, out, _LONG(f * LANES + p * _LENGTH), _LENGTH)
                builder.store(builder.load(place), at, align=4)
        return context.get_dummy_value()

    return types.void(w, types.int64, bias, x, types.int64, out), code


over: Any = intrinsic(_over)
first_bit: Any = intrinsic(_first_bit)
products: Any = intrinsic(_products)
_set16, _set4 = _adds(16, fresh=True), _adds(4, fresh=True)
_add16, _add4, _dot16, _dot4 = _adds(16), _adds(4), _dots(16), _dots(4)


# Rows of a few dimensions: a loop of unknown length becomes vectors of 32 and more, and the rest is done one by one.
@compiled()
def add_row(y: Any, i: int, a: Any, x: Any, j: int, n: int) -> None:
    """``y[i:i + n] += a * x[j:j + n]``."""
    e = 0
    while e + 16 <= n:
        _add16(y, i + e, a, x, j + e)
        e += 16
    while e + 4 <= n:
        _add4(y, i + e, a, x, j + e)
        e += 4
    while e < n:
        y.flat[i + e] += a * x.flat[j + e]
        e += 1


@compiled()
def set_row(y: Any, i: int, a: Any, x: Any, j: int, n: int) -> None:
    """``y[i:i + n] = a * x[j:j + n]``."""
    e = 0
    while e + 16 <= n:
        _set16(y, i + e, a, x, j + e)
        e += 16
    while e + 4 <= n:
        _set4(y, i + e, a, x, j + e)
        e += 4
    while e < n:
        y.flat[i + e] = a * x.flat[j + e]
        e += 1


@compiled()
def dot_row(a: Any, i: int, b: Any, j: int, n: int) -> Any:
    """``a[i:i + n] @ b[j:j + n]``."""
    s = np.float32(0)
    e = 0
    while e + 16 <= n:
        s += _dot16(a, i + e, b, j + e)
        e += 16
    while e + 4 <= n:
        s += _dot4(a, i + e, b, j + e)
        e += 4
    while e < n:
        s += a.flat[i + e] * b.flat[j + e]
        e += 1
    return s
