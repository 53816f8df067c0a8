"""The n-th largest of numbers that lie in several processes, without bringing them together."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["nth_largest"]

_DIGIT = 11  # bits looked at in a round: 2,048 counts travel


def nth_largest(values: Tensor, n: int, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Exact n-th largest, by the digits of the numbers' bits from the highest on.

    The bits of non-negative floating-point numbers, read as whole numbers, have the numbers' order. Each round counts the
    values that share the digits found so far by their next digit, adds the counts up over processes, and goes on with the
    digit in which the n-th lies; three rounds in single precision, six in double.

    Parameters
    ----------
    values
        Non-negative numbers of this process, any number of them.
    n
        From 1 to as many as all processes have.
    total
        Sum of a tensor over processes.

    Returns
    -------
    Tensor
        Scalar of the values' type.
    """
    whole, bits = (torch.int32, 32) if values.dtype == torch.float32 else (torch.int64, 64)
    # Adding 0 turns -0, whose sign is its highest bit, into 0.
    left = (values.detach().flatten() + 0.0).view(whole)
    found, low, remaining = 0, bits - 1, n
    while low > 0:
        width = min(_DIGIT, low)
        low -= width
        digits = (left >> low) & ((1 << width) - 1)
        counts = total(torch.bincount(digits, minlength=1 << width))
        at_least = counts.flip(0).cumsum(0)  # values with the highest digit, the two highest, …
        steps = int((at_least < remaining).sum())
        digit = (1 << width) - 1 - steps
        remaining -= int(at_least[steps - 1]) if steps else 0
        left = left[digits == digit]
        found = (found << width) | digit
    return torch.tensor([found], dtype=whole, device=values.device).view(values.dtype)[0]
