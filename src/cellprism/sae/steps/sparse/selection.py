"""Which features are active in which cell: the encoder's product and the selection, a block of cells at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.sae.steps.shared.threads import share
from cellprism.sae.steps.sparse import kernels

__all__ = ["Entries", "Selector", "has_bf16_products"]

Array = NDArray[Any]
Product = Callable[[Tensor, Tensor], Tensor]
_CACHED = 2**21  # pre-activations held at a time by a thread: 8 MiB in float32
_BLOCKS = 8  # of a batch at least, for so many threads
_LEAST = 64  # cells of a block: fewer make the product slow
_SPARE = 16  # bf16 candidates beyond k that are scored again in float32


class Entries(NamedTuple):
    """Codes as entries; cell b owns ``start[b]:stop[b]``."""

    start: Array
    stop: Array
    feature: Array
    value: Array


def has_bf16_products() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


@cache
def _onednn_pays() -> bool:
    """Whether oneDNN's float32 product uses longer vectors than the BLAS may (MKL keeps to 256 bits on some processors)."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and torch.backends.cpu.get_cpu_capability().startswith("AVX512")


class Selector:
    """Pre-activations in blocks that stay in the cache, and the entries kept of them.

    Blocks do not depend on the number of threads, so the bits do not either.

    Parameters
    ----------
    threads
        That share the blocks.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._buffers: dict[tuple[object, ...], Tensor] = {}

    def _buffer(self, key: object, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Memory that is kept: fresh memory costs as much as filling it."""
        found = self._buffers.get((key, dtype))
        if found is None or found.numel() < np.prod(shape):
            found = self._buffers[key, dtype] = torch.empty(int(np.prod(shape)), dtype=dtype)
        return found[: int(np.prod(shape))].view(shape)

    def _product(self, encoder: Tensor, bias: Tensor, dtype: torch.dtype) -> Product:
        """``x @ encoder.T + bias``, of which the second argument is memory to write to."""
        if dtype == torch.float32 and _onednn_pays():
            packed, offset = encoder.detach().to_mkldnn(), bias.detach().to_mkldnn()
            return lambda x, out: torch.nn.functional.linear(x.to_mkldnn(), packed, offset).to_dense()
        weights, offset = encoder.detach(), bias.detach().to(dtype)
        if dtype != torch.float32:
            rounded = self._buffer("weights", tuple(encoder.shape), dtype)
            share(lambda lo, hi: rounded[lo:hi].copy_(weights[lo:hi]), len(weights), self.threads, _LEAST)
            weights = rounded
        return lambda x, out: torch.addmm(offset, x.to(dtype), weights.T, out=out[: len(x)])

    def blocks(
        self, x: Tensor, encoder: Tensor, bias: Tensor, dtype: torch.dtype, keep: Callable[[int, int, int, Array], None]
    ) -> int:
        """Call ``keep(number, first cell, thread's mark, pre-activations)`` for all blocks; their number."""
        n, w = len(x), len(encoder)
        rows = max(_LEAST, min(_CACHED // w, -(-n // _BLOCKS)))
        product = self._product(encoder, bias, dtype)
        count = -(-n // rows)

        def work(lo: int, hi: int) -> None:
            out = self._buffer(("pre", lo), (rows, w), dtype)
            for i in range(lo, hi):
                pre = product(x[i * rows : (i + 1) * rows], out)
                keep(i, i * rows, lo, pre.view(torch.int16 if dtype == torch.bfloat16 else dtype).numpy())

        share(work, count, self.threads)
        return count

    def largest(self, x: Tensor, encoder: Tensor, bias: Tensor, k: int, *, bf16: bool = False) -> Entries:
        """The k largest positive pre-activations of each cell; with ``bf16`` candidates are found in bfloat16."""
        n, w = len(x), len(encoder)
        m = min(k + _SPARE, w) if bf16 else k
        feature, count = np.zeros((n, m), np.int32), np.zeros(n, np.int64)
        scores = np.zeros((n, m), np.float32)
        value = np.zeros((n, m), np.int16) if bf16 else scores.view(np.int32)
        exact = (x.numpy(), encoder.detach().numpy(), bias.detach().numpy())

        def keep(_number: int, first: int, _mark: int, pre: Array) -> None:
            part = slice(first, first + len(pre))
            bits = pre if bf16 else pre.view(np.int32)
            kernels.select_topk(0, len(pre), bits, m, feature[part], value[part], count[part])
            if bf16:
                kernels.rescore(part.start, part.start + len(pre), *exact, feature, scores, count, k)

        self.blocks(x, encoder, bias, torch.bfloat16 if bf16 else torch.float32, keep)
        start = np.arange(n, dtype=np.int64) * m
        return Entries(start, start + count, feature.ravel(), scores.ravel())

    def above(self, x: Tensor, encoder: Tensor, bias: Tensor, bar: Array, *, copy: Array | None = None) -> Entries:
        """All pre-activations over ``bar`` (width,), float32; ``copy`` (cells or more, width) gets every one."""
        stop = np.zeros(len(x), np.int64)
        found: dict[int, tuple[slice, Array, Array]] = {}

        def keep(number: int, first: int, mark: int, pre: Array) -> None:
            # room for as many as there may be: what is not written to takes no memory
            feature = self._buffer(("feature", mark), (pre.size,), torch.int32).numpy()
            value = self._buffer(("value", mark), (pre.size,), torch.float32).numpy()
            part = slice(first, first + len(pre))
            if copy is not None:
                copy[part] = pre
            kernels.select_above(pre, bar, feature, value, stop[part])
            n = stop[part.stop - 1]
            found[number] = part, feature[:n].copy(), value[:n].copy()

        count = self.blocks(x, encoder, bias, torch.float32, keep)
        total = 0
        for i in range(count):
            part, feature, _ = found[i]
            stop[part] += total
            total += len(feature)
        start = np.concatenate([[0], stop[:-1]])
        features, values = (np.concatenate([found[i][n] for i in range(count)]) for n in (1, 2))
        return Entries(start, stop, features, values)
