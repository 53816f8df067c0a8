"""Options as data: each is declared once, with its default and meaning, for Python and the command line.

A group of options is a frozen dataclass whose fields are made by :func:`option`. Signatures take their defaults from it
(``level: float = EvidenceOptions.level``), docstrings their text (:func:`documented`), and the command line its parameters
(:mod:`cellprism.cli.parameters`). Nothing heavy is imported here, so that ``--help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from cellprism.errors import InputError
from cellprism.numeric import as_declared

__all__ = ["check", "chosen", "described", "documented", "meaning", "option", "settle"]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
_WIDTH = 112


def option(
    default: Any = dataclasses.MISSING,
    meaning: str = "",
    *,
    choices: tuple[str, ...] = (),
    flags: tuple[str, ...] = (),
) -> Any:
    """A field of a group of options.

    Parameters
    ----------
    default
        Its value where nothing else is asked for; left out, it must be given.
    meaning
        What it does, in a sentence or two.
    choices
        Words that a sequence may hold; those of a single word are told by its type.
    flags
        How the command line writes it, where that is not ``--name``.
    """
    return dataclasses.field(default=default, metadata={"meaning": meaning, "flags": flags, "choices": choices})


def meaning(group: type[Any], name: str) -> str:
    """What an option does, in words."""
    return str({f.name: f for f in dataclasses.fields(group)}[name].metadata["meaning"])


def settle(options: Any) -> None:
    """Write as its type has it what people write shorter: a path as text, one of several by itself, several as a list.

    Parameters
    ----------
    options
        Of a group, whose fields are changed.
    """
    types = get_type_hints(type(options))
    for field in dataclasses.fields(options):
        value, kinds = getattr(options, field.name), _kinds(types[field.name])
        if isinstance(value, str) and Path in kinds and str not in kinds:
            object.__setattr__(options, field.name, Path(value))
        elif any(get_origin(kind) in (tuple, Sequence) for kind in kinds) and isinstance(value, str | list):
            object.__setattr__(options, field.name, (value,) if isinstance(value, str) else tuple(value))


def _kinds(kind: Any) -> tuple[Any, ...]:
    """Parts of a union."""
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def check(options: Any) -> None:
    """Refuse values that an option does not have: choices are those of its type, bounds those of its name.

    Parameters
    ----------
    options
        Of a group.

    Raises
    ------
    InputError
        For the first that is out of bounds.
    """
    types = get_type_hints(type(options))
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), f"`{field.name}`"
        choices = field.metadata.get("choices") or _words(types[field.name])
        given = list(value) if field.metadata.get("choices") or isinstance(value, list | tuple) else [value]
        wrong = [one for one in given if choices and one not in choices]
        if wrong:
            raise InputError(f"{name} must be of {', '.join(choices)}", repr(wrong[0]), "use one of these")
        value = as_declared(field.name, value, str(field.type), type(options).__name__)
        object.__setattr__(options, field.name, value)


def _words(kind: Any) -> tuple[str, ...]:
    """Words of a Literal."""
    return get_args(kind) if get_origin(kind) is Literal else ()


def chosen(group: type[T], whole: T | None, **single: Any) -> T:
    """A group of options, given as a whole or one by one.

    Raises
    ------
    InputError
        Where both ways are used at once.
    """
    if whole is None:
        return group(**single)
    beside = [name for name, value in single.items() if value != getattr(group, name)]
    if beside:
        raise InputError(
            f"an option is given by itself or in {group.__name__}", f"{beside[0]!r} beside it", "give it in one place"
        )
    return whole


def described(group: type[T]) -> type[T]:
    """The class, with its options in its docstring."""
    names = [field.name for field in dataclasses.fields(group)]  # type: ignore[arg-type]
    group.__doc__ = f"{group.__doc__}\n\n    Attributes\n    ----------\n{_entries(group, names)}\n    "
    return group


def documented(*groups: type[Any]) -> Callable[[F], F]:
    """Fill a docstring's lines ``{Group}`` and ``{Group: name, name}`` with the options of that group."""
    known = {group.__name__: group for group in groups}

    def entries(line: re.Match[str]) -> str:
        group = known[line[1]]
        names = (
            [name.strip() for name in line[2].split(",")] if line[2] else [f.name for f in dataclasses.fields(group)]
        )
        return _entries(group, names)

    def fill(function: F) -> F:
        if function.__doc__:  # python -OO keeps none
            function.__doc__ = re.sub(r"^    \{(\w+)(?:: ([^}]*))?\}$", entries, function.__doc__, flags=re.MULTILINE)
        return function

    return fill


def _entries(group: type[Any], names: list[str]) -> str:
    """Options as numpydoc has them."""
    lines = []
    for name in names:
        text = textwrap.wrap(meaning(group, name), _WIDTH, break_long_words=False, break_on_hyphens=False)
        lines += [f"    {name}", *(f"        {line}" for line in text)]
    return "\n".join(lines)
