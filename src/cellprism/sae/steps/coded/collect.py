"""Product and selection in one loop, so that no array of pre-activations exists: entries over each cell's bar."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellprism.numba_cache import compiled
from cellprism.sae.steps.shared.largest import keep_largest
from cellprism.sae.steps.shared.vectors import LANES, ROWS, first_bit, over, products

__all__ = ["collect"]


@compiled()
def collect(
    xs: Any, first: int, W: Any, c: Any, k: int, out: Any, bar: Any, feature: Any, value: Any, count: Any
) -> None:
    """Entries over each cell's bar, of cells from ``first`` on; full lists keep their k largest and raise it.

    ``xs`` (r, 64) and ``bar`` (64,); bars of lanes without a cell are infinite. ``W`` has four rows or more; ``out`` (4,
    64) is written over.
    """
    w, r = W.shape
    most = feature.shape[1]
    flat = out.ravel()
    j = 0
    while j < w:
        row = min(j, w - ROWS)  # the last four overlap with those before where the width is no multiple of four
        products(W, row, c, xs, r, out)
        for f in range(j - row, ROWS):
            hits = over(flat, f * LANES, bar, 0)
            while hits:
                q = first_bit(hits)
                hits &= hits - np.uint64(1)
                b = first + q
                m = count[b]
                feature[b, m] = row + f
                value[b, m] = out[f, q]
                count[b] = m + 1
                if m + 1 == most and most < w:
                    keep_largest(value[b], feature[b], most, k)
                    count[b] = k
                    least = value[b, 0]
                    for t in range(1, k):
                        least = min(least, value[b, t])
                    bar[q] = least
        j = row + ROWS
