"""The compiled loop of matryoshka training: what :mod:`cellprism.sae.steps.kernels` decodes without prefixes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled

__all__ = ["decode_prefixes"]


@compiled(fastmath=FASTMATH)
def decode_prefixes(
    lo: int, hi: int, x: Any, start: Any, stop: Any, feature: Any, value: Any, decoder: Any, bias: Any, scale: float,
    press: Any, segment: Any, residual: Any, slope: Any, squared: Any,
) -> None:  # fmt: skip
    """Residuals summed from each prefix on: (prefixes, cells, r), since a code has a part in every prefix from its own on.

    ``segment`` (width,) = the first prefix with that feature. ``squared`` (cells,) sums the squared lengths of the
    prefixes' own residuals; ``slope`` is the gradient by the entry's code, as without prefixes.
    """
    prefixes, _, r = residual.shape
    for b in range(lo, hi):
        for i in range(r):
            residual[0, b, i] = bias[i] - x[b, i]
        for p in range(1, prefixes):
            for i in range(r):
                residual[p, b, i] = 0
        for t in range(start[b], stop[b]):
            j = feature[t]
            p = segment[j]
            v = value[t]
            for i in range(r):
                residual[p, b, i] += v * decoder[j, i]
        for p in range(1, prefixes):
            for i in range(r):
                residual[p, b, i] += residual[p - 1, b, i]
        s = np.float32(0)
        for p in range(prefixes):
            for i in range(r):
                s += residual[p, b, i] * residual[p, b, i]
        squared[b] = s
        for p in range(prefixes - 2, -1, -1):
            for i in range(r):
                residual[p, b, i] += residual[p + 1, b, i]
        for t in range(start[b], stop[b]):
            j = feature[t]
            p = segment[j]
            s = np.float32(0)
            for i in range(r):
                s += residual[p, b, i] * decoder[j, i]
            slope[t] = scale * s + press[j]
