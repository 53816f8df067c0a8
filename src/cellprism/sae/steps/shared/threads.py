"""Threads of one training step: compiled loops and torch's products, each thread on its own part of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from threading import Barrier
from typing import Any

import torch

__all__ = ["one_torch_thread", "share", "spread"]

_LEAST_ROWS = 32


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads in which torch uses no further ones."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="cellprism")
    met = Barrier(threads)

    def prepare() -> None:
        torch.set_num_threads(1)
        met.wait()  # or one thread would prepare itself twice and another never

    for done in [pool.submit(prepare) for _ in range(threads)]:
        done.result()
    torch.set_num_threads(before)
    return pool


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to this thread: its own threads wait by spinning, and would take the cores from those of :func:`share`."""
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


def share(work: Callable[[int, int], Any], n: int, threads: int, least: int = 1) -> None:
    """Call ``work(lo, hi)`` on parts of ``range(n)``, a part a thread, none with fewer than ``least``."""
    threads = min(threads, max(1, n // least))
    if threads <= 1:
        work(0, n)
        return
    parts = list(pairwise(n * i // threads for i in range(threads + 1)))
    waiting = [_pool(threads - 1).submit(work, lo, hi) for lo, hi in parts[1:]]
    work(*parts[0])
    for future in waiting:
        future.result()


def spread(kernel: Callable[..., Any], n: int, *args: Any, threads: int, first: int = 0) -> None:
    """Call ``kernel(lo, hi, *args)`` on parts of ``range(first, first + n)``."""
    share(lambda lo, hi: kernel(first + lo, first + hi, *args), n, threads, _LEAST_ROWS)
