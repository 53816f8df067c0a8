"""Vector operations that a compiler does not find by itself: products held in registers, comparisons as bit masks.

They are written as vectors of 16 or 64 numbers, which the compiler splits for a processor with shorter ones. Positions count
from an array's first number; arrays lie in one piece.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["LANES", "ROWS", "first_bit", "over", "products"]

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


def _splat(builder: Any, number: Any) -> Any:
    kind = ir.VectorType(_FLOAT, _LENGTH)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _LENGTH), None)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _products(typing_context: Any, w: Any, row: Any, bias: Any, x: Any, r: Any, out: Any) -> Any:
    """``out[f] = w[row + f] @ x + bias[row + f]`` for four rows f; ``w`` (rows, r), ``x`` (r, 64), ``out`` (4, 64)."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args
        w, bias, x, out = (_data(context, builder, kinds[n], arguments[n]) for n in (0, 2, 3, 5))
        row, r = arguments[1], arguments[4]
        kind = ir.VectorType(_FLOAT, _LENGTH)
        add = _insert(builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fmuladd.v{_LENGTH}f32")
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
