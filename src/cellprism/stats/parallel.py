"""Threads over chunks of rows: the compiled loops and NumPy both let go of the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
from numpy.typing import DTypeLike
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped,unused-ignore]

__all__ = ["for_chunks", "nan_array"]

_FILL = 1 << 22


def for_chunks(work: Callable[[slice], None], n: int, step: int) -> None:
    """Call ``work(slice)`` for consecutive slices of ``range(n)``, on threads.

    Each call writes its own rows, so the result does not depend on the number of threads: ``CELLPRISM_THREADS`` where
    that is set, the cores this process may use elsewhere.
    """
    slices = [slice(a, min(a + step, n)) for a in range(0, n, max(step, 1))]
    threads = min(_n_threads(), len(slices))
    if threads <= 1:
        for part in slices:
            work(part)
        return
    # small products within a chunk would each wake all threads of the BLAS, which then compete with these
    with _libraries().limit(limits=1, user_api="blas"), ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, part) for part in slices]:
            done.result()


def nan_array(shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> np.ndarray:
    """An array of NaN, filled on threads: for large ones the first touch of the memory is what takes the time."""
    out = np.empty(shape, dtype=dtype)
    flat = out.ravel()

    def fill(span: slice) -> None:
        flat[span] = np.nan

    for_chunks(fill, flat.size, _FILL)
    return out


@cache
def _libraries() -> ThreadpoolController:
    """The BLAS libraries of this process; NumPy's and SciPy's are loaded by the time this is asked."""
    return ThreadpoolController()


def _n_threads() -> int:
    asked = os.environ.get("CELLPRISM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
