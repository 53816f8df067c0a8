"""Adam, as in torch: the moments that its first step would begin with, and compiled steps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cellprism.numba_cache import FASTMATH, compiled

__all__ = ["adam", "adam_flat", "start_moments", "update_rows"]

_AT_A_TIME = 2_048  # numbers of each array that an update holds in the nearest cache


def start_moments(optimiser: torch.optim.Optimizer, parameters: Iterable[Tensor]) -> None:
    """Give parameters that have none the state that Adam's first step would begin with."""
    for p in parameters:
        state = optimiser.state[p]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)


# Division that may fail, or a position that may count from the end, would keep the loop from becoming vectors (ten times).
@compiled(fastmath=FASTMATH, error_model="numpy")
def adam_flat(p: Any, g: Any, m: Any, v: Any, clip: Any, beta1: float, beta2: float, size: Any, over: Any) -> None:
    """One step of Adam, as in torch: ``p -= size * m / (sqrt(v) * over + 1e-8)``; float32 but for the betas."""
    eps = np.float32(1e-8)
    b1, b2 = np.float32(beta1), np.float32(beta2)
    d1, d2 = np.float32(1 - beta1), np.float32(1 - beta2)  # 1 less a rounded 0.999 would be 1e-5 off
    for i in range(p.size):
        q = np.uint64(i)
        grad = clip * g[q]
        mean = b1 * m[q] + d1 * grad
        square = b2 * v[q] + d2 * grad * grad
        m[q] = mean
        v[q] = square
        p[q] -= size * mean / (np.sqrt(square) * over + eps)


@compiled()
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
    adam_flat(p[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], f(clip), beta1, beta2, f(step_size), f(1 / root2))


@compiled(fastmath=FASTMATH)
def update_rows(
    lo: int, hi: int, p: Any, g: Any, m: Any, v: Any, clip: float, beta1: float, beta2: float, step_size: float,
    root2: float, unit: bool,
) -> None:  # fmt: skip
    """Adam on rows ``lo:hi``, which are then divided by their length where ``unit`` says so, while they are in the cache."""
    f = np.float32
    r = p.shape[1]
    rows = max(1, _AT_A_TIME // r)
    for s in range(lo, hi, rows):
        e = min(s + rows, hi)
        i, k = s * r, e * r
        adam_flat(
            p.ravel()[i:k], g.ravel()[i:k], m.ravel()[i:k], v.ravel()[i:k], f(clip), beta1, beta2, f(step_size),
            f(1 / root2),
        )  # fmt: skip
        if unit:
            for j in range(s, e):
                total = f(0)
                for c in range(r):
                    total += p[j, c] * p[j, c]
                total = f(1) / max(np.sqrt(total), f(1e-12))
                for c in range(r):
                    p[j, c] *= total
