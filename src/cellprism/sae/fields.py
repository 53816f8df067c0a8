"""Types of options: numbers are taken from any form that says them exactly, the rest is refused by name."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from cellprism.errors import InputError

__all__ = ["as_number", "as_seed", "as_whole"]


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
    """A number, also as the text that YAML makes of ``1e-3``.

    Raises
    ------
    InputError
        If it is none.
    """
    if _is_number(value) or isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    raise InputError(f"`{name}` must be a number", repr(value), "give one, such as 0.1")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def as_seed(seed: Any) -> int:
    """A whole number of at least 0.

    Raises
    ------
    InputError
        If it is none.
    """
    whole = as_whole("seed", seed)
    if whole < 0:
        raise InputError("`seed` must be at least 0", str(seed), "use 0")
    return whole
