"""Compiled loops of jumprelu and gated training: what :mod:`cellprism.sae.steps.kernels` decodes for the other activations.

Entries come in as pre-activations; codes are worked out here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled

__all__ = ["decode_gated", "decode_jumps"]


@compiled(fastmath=FASTMATH)
def _add_codes(t: int, stop: int, feature: Any, value: Any, decoder: Any, residual: Any, b: int) -> Any:
    """Add the entries' codes times decoder rows to a cell's residual; its squared length."""
    r = decoder.shape[1]
    for e in range(t, stop):
        v = value[e]
        if v != 0:
            j = feature[e]
            for i in range(r):
                residual[b, i] += v * decoder[j, i]
    s = np.float32(0)
    for i in range(r):
        s += residual[b, i] * residual[b, i]
    return s


@compiled(fastmath=FASTMATH)
def decode_jumps(
    lo: int, hi: int, x: Any, start: Any, stop: Any, feature: Any, pre: Any, decoder: Any, bias: Any, scale: float,
    threshold: Any, bandwidth: float, residual: Any, code: Any, slope: Any, edge: Any, near: Any, squared: Any,
    active: Any,
) -> None:  # fmt: skip
    """Codes, residuals and gradients by the pre-activations of jumprelu.

    ``near`` is 1 where a pre-activation lies within half the ``bandwidth`` of its threshold, and ``edge`` the
    reconstruction's gradient by that threshold there. ``active`` (cells,) counts codes.
    """
    r = x.shape[1]
    half = bandwidth / np.float32(2)
    for b in range(lo, hi):
        for i in range(r):
            residual[b, i] = bias[i] - x[b, i]
        n = 0
        for t in range(start[b], stop[b]):
            on = pre[t] > threshold[feature[t]]
            code[t] = pre[t] if on else np.float32(0)
            n += on
        active[b] = n
        squared[b] = _add_codes(start[b], stop[b], feature, code, decoder, residual, b)
        for t in range(start[b], stop[b]):
            j = feature[t]
            s = np.float32(0)
            for i in range(r):
                s += residual[b, i] * decoder[j, i]
            close = abs(pre[t] - threshold[j]) < half
            near[t] = np.float32(1) if close else np.float32(0)
            edge[t] = -(threshold[j] / bandwidth) * scale * s if close else np.float32(0)
            slope[t] = scale * s if pre[t] > threshold[j] else np.float32(0)


@compiled(fastmath=FASTMATH)
def decode_gated(
    lo: int, hi: int, x: Any, start: Any, stop: Any, feature: Any, pre: Any, decoder: Any, bias: Any, scale: float,
    press: Any, gain: Any, shift: Any, residual: Any, by_gate: Any, code: Any, slope: Any, opened: Any, turned: Any,
    squared: Any,
) -> None:  # fmt: skip
    """Codes, residuals of both paths and gradients by the pre-activations of gated.

    ``by_gate`` (cells, r) is the residual of the gate's own reconstruction; ``opened`` the gradient by the measured code
    and ``turned`` that gradient times the pre-activation. ``squared`` sums both paths.
    """
    r = x.shape[1]
    zero = np.float32(0)
    for b in range(lo, hi):
        for i in range(r):
            residual[b, i] = bias[i] - x[b, i]
            by_gate[b, i] = bias[i] - x[b, i]
        for t in range(start[b], stop[b]):
            j = feature[t]
            code[t] = max(gain[j] * pre[t] + shift[j], zero)
        squared[b] = _add_codes(start[b], stop[b], feature, code, decoder, residual, b)
        squared[b] += _add_codes(start[b], stop[b], feature, pre, decoder, by_gate, b)
        for t in range(start[b], stop[b]):
            j = feature[t]
            s = g = zero
            for i in range(r):
                s += residual[b, i] * decoder[j, i]
                g += by_gate[b, i] * decoder[j, i]
            measured = scale * s if code[t] > 0 else zero
            opened[t] = measured
            turned[t] = measured * pre[t]
            slope[t] = scale * g + press[j] + gain[j] * measured
