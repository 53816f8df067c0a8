"""Types of options: numbers are taken from any form that says them exactly, the rest is refused by name."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from cellprism.errors import InputError

__all__ = ["LARGEST_SEED", "as_number", "as_seed", "as_whole"]


LARGEST_SEED = 2**31 - 1


def as_whole(name: str, value: Any) -> int:
    """A whole number, of any numeric type.

    Raises
    ------
    InputError
        If it is none.
    """
    if _is_number(value) and value == value // 1:
        return int(value)
    raise InputError(f"`{name}` must be a whole number", repr(value), "give one, such as 16")


def as_number(name: str, value: Any) -> float:
    """A finite number, also as the text that YAML makes of ``1e-3``.

    Raises
    ------
    InputError
        If it is none.
    """
    if _is_number(value) or isinstance(value, str):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise InputError(f"`{name}` must be a number", repr(value), "give one, such as 0.1")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def as_seed(seed: Any) -> int:
    """A whole number from 0 to 2^31 - 1: from there on some generators refuse it, or the seeds that follow it.

    Raises
    ------
    InputError
        If it is none.
    """
    whole = as_whole("seed", seed)
    if whole < 0:
        raise InputError("`seed` must be at least 0", str(seed), "use 0")
    if whole > LARGEST_SEED:
        raise InputError(f"`seed` must be at most {LARGEST_SEED:,}", str(seed), "use 0")
    return whole
