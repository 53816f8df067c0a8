"""Numbers that options take: from any form that says them exactly, the rest refused by name, before any work.

:func:`numbers_checked` reads off a public function's annotations which of its arguments are numbers, and holds what it is
called with against them, and against its range (:mod:`cellprism.ranges`). NaN, infinity, truth values, text and complex
numbers are none.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from cellprism.errors import InputError
from cellprism.ranges import LARGEST, within

__all__ = ["as_declared", "as_number", "as_seed", "as_whole", "numbers_checked", "seed_after"]

F = TypeVar("F", bound=Callable[..., Any])

_SEVERAL = {
    "Sequence[int]": "int", "Sequence[float]": "float", "tuple[int, ...]": "int", "tuple[float, ...]": "float",
    "tuple[int, int]": "int", "tuple[float, float]": "float",
}  # fmt: skip


def as_whole(name: str, value: Any, owner: str = "") -> int:
    """A whole number, of any numeric type, in the range of the argument ``name`` of ``owner``.

    Raises
    ------
    InputError
        If it is none.
    """
    if _is_number(value) and value == value // 1:
        within(name, int(value), owner)
        return int(value)
    raise InputError(f"`{name}` must be a whole number", repr(value), "give one, such as 16")


def as_number(name: str, value: Any, owner: str = "") -> float:
    """A finite number in the range of the argument ``name`` of ``owner``, also as the text that YAML makes of ``1e-3``.

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
            within(name, number, owner)
            return number
    raise InputError(f"`{name}` must be a number", repr(value), "give one, such as 0.1")


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)  # no numpy.bool_ is Real


def as_seed(seed: Any) -> int:
    """A whole number from 0 to 2^31 - 1: from there on some generators refuse it, or the seeds that follow it.

    Raises
    ------
    InputError
        If it is none.
    """
    return as_whole("seed", seed)


def seed_after(seed: int, steps: int) -> int:
    """The seed so many steps on, of another random choice of the same job; behind the largest comes 0."""
    return (seed + steps) % (LARGEST + 1)


def as_declared(name: str, value: Any, annotation: str, owner: str = "") -> Any:
    """A value as its annotation has it, where that speaks of numbers; what else an annotation allows is left as it is.

    Parameters
    ----------
    name
        Of the argument.
    value
        What was given.
    annotation
        As it is written, such as ``"float | None"`` or ``"int | Sequence[int]"``.
    owner
        The function or class that it is an argument of.

    Raises
    ------
    InputError
        If it is no such number, or out of its range.
    """
    parts = [part.strip() for part in annotation.split("|")]
    single = next((part for part in ("float", "int") if part in parts), "")  # a float may be whole
    several = next((part for part in parts if part in _SEVERAL), "")
    if (
        (not single and not several)
        or (value is None and "None" in parts)
        or (isinstance(value, bool) and "bool" in parts)
    ):
        return value
    if isinstance(value, str) and ("str" in parts or "Literal" in annotation):
        return value
    others = {part for part in parts if part not in ("float", "int", "None", several)}
    scalar = value is None or isinstance(value, numbers.Number | str) or getattr(value, "ndim", None) == 0
    scalar = scalar or (isinstance(value, list | tuple) and not several and not any("[" in part for part in others))
    if several and not scalar and isinstance(value, Iterable):
        found = [_one(name, each, _SEVERAL[several], owner, several=True) for each in value]
        return tuple(found) if several.startswith("tuple") else found
    if single and (scalar or not others):
        return _one(name, value, single, owner)
    if scalar or not others:
        raise InputError(
            f"`{name}` are several numbers", repr(value), f"give a list, such as [{'1' if 'int' in several else '0.1'}]"
        )
    return value


def _one(name: str, value: Any, kind: str, owner: str, *, several: bool = False) -> Any:
    if name == "seeds" and several:  # the seeds themselves; a number alone counts them
        owner, kind = "several", "int"
    if kind == "int":
        return as_whole(name, value, owner)
    if isinstance(value, str):
        raise InputError(f"`{name}` must be a number", repr(value), "give one, such as 0.1")
    return as_number(name, value, owner)


def numbers_checked(function: F) -> F:
    """A function, or a class with what it is made of, that refuses numbers that its annotations do not have.

    What it is called with is looked at before anything else, other missing arguments included.

    Examples
    --------
    >>> from cellprism.numeric import numbers_checked
    >>> @numbers_checked
    ... def half(of: float) -> float:
    ...     return of / 2
    >>> half(float("nan"))
    Traceback (most recent call last):
    cellprism.errors.InputError: `of` must be a number; met nan. Remedy: give one, such as 0.1.
    """
    if inspect.isclass(function):
        function.__init__ = numbers_checked(function.__init__)  # type: ignore[method-assign]
        return function
    signature = inspect.signature(function)
    owner = function.__qualname__.removesuffix(".__init__")
    spoken_of = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, str)
    }

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind_partial(*args, **kwargs)
        except TypeError:  # arguments that there are none of: the function says so
            return function(*args, **kwargs)
        for name, value in given.arguments.items():
            if name in spoken_of:
                given.arguments[name] = as_declared(name, value, spoken_of[name], owner)
        return function(*given.args, **given.kwargs)

    return checked  # type: ignore[return-value]
