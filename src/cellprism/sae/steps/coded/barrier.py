"""A meeting point for threads inside compiled loops: microseconds, where handing work to a pool costs a hundred."""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from cellprism.numba_cache import compiled

__all__ = ["meet"]

_SPINS = 2_000  # looks before the core is offered to others
_give_way = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


def _arrive_code(typing_context: Any, counter: Any) -> Any:
    """Add 1 to an int64 array's first entry, for all threads to see; its former value."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counter), code


def _arrived_code(typing_context: Any, counter: Any) -> Any:
    """Read an int64 array's first entry as other threads left it."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        return builder.load_atomic(array.data, "acquire", 8)

    return types.int64(counter), code


_arrive: Any = intrinsic(_arrive_code)
_arrived: Any = intrinsic(_arrived_code)


@compiled()
def meet(counter: Any, threads: int) -> None:
    """Return when all threads have called this as often; ``counter`` is an int64 array that starts at 0."""
    if threads == 1:
        return
    target = (_arrive(counter) // threads + 1) * threads
    looks = 0
    while _arrived(counter) < target:
        looks += 1
        if looks > _SPINS:
            _give_way()
