"""Parameters of a command out of a group of options, so that each option is declared once (:mod:`cellprism.options`)."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Collection, Sequence
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from cellprism.errors import InputError

__all__ = ["takes"]

_PAIR = tuple[str, str]


def takes(*groups: type[Any], leave: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of groups.

    Parameters
    ----------
    groups
        Frozen dataclasses; the command is called with the values of each as a dict, in this order, then with its own
        parameters by name.
    leave
        Options that the command sets itself.
    """
    fields = [[f for f in _fields(group) if f.name not in leave] for group in groups]
    types = {name: kind for group in groups for name, kind in get_type_hints(group).items()}
    made = [_parameter(types[f.name], f) for mine in fields for f in mine]

    def wrap(command: Callable[..., None]) -> Callable[..., None]:
        def run(**given: Any) -> None:
            values = [{f.name: _value(types[f.name], f.default, given.pop(f.name)) for f in mine} for mine in fields]
            command(*values, **given)

        own = list(inspect.signature(command, eval_str=True).parameters.values())[len(groups) :]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*made, *own)]
        parameters.sort(key=lambda p: p.default is not inspect.Parameter.empty)  # arguments first, as they are written
        run.__name__, run.__doc__ = command.__name__, command.__doc__
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return wrap


def _fields(group: type[Any]) -> list[dataclasses.Field[Any]]:
    """A group's own options, then those that it has from others."""
    return sorted(dataclasses.fields(group), key=lambda f: f.name not in group.__annotations__)


def _parameter(kind: Any, field: dataclasses.Field[Any]) -> inspect.Parameter:
    """One option as the command line has it."""
    about, spoken, flags = field.metadata, _spoken(kind), field.metadata["flags"]
    required = field.default is dataclasses.MISSING
    default: Any = field.default
    several = spoken == list[str] | None  # what is not given leaves the default, as a file of options does
    meaning = about["meaning"].removesuffix(".") + "; may be repeated." if several else about["meaning"]
    if required and not flags:
        told: Any = typer.Argument(help=meaning, show_default=False)
    else:
        flags = flags or ((f"--{field.name.replace('_', '-')}",) if kind is bool else ())
        shown: Any = ", ".join(default) if several else not required
        told = typer.Option(*flags, help=meaning, show_default=shown)
    start = inspect.Parameter.empty if required else None if several else default
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[spoken, told], default=start
    )


def _spoken(kind: Any) -> Any:
    """The type that is written for one: a word for a choice, FROM,TO for a pair of names, several words for a list."""
    if get_origin(kind) is Literal or kind == _PAIR:
        return str
    if (get_origin(kind) in (tuple, Sequence) and Ellipsis in get_args(kind)) or get_origin(kind) is Sequence:
        return list[str] | None
    if NoneType in get_args(kind):
        return _spoken(next(one for one in get_args(kind) if one is not NoneType)) | None
    return kind


def _value(kind: Any, default: Any, given: Any) -> Any:
    """What was given, as the group holds it."""
    if given is None or given == []:
        return None if default is dataclasses.MISSING else default
    if _PAIR in (kind, *get_args(kind)):
        return _pair(given)
    return tuple(given) if isinstance(given, list) else given


def _pair(columns: str) -> tuple[str, str]:
    """The two names of FROM,TO."""
    source, comma, target = columns.partition(",")
    if not (comma and source and target) or "," in target:
        raise InputError("--id-columns are two names, FROM,TO", repr(columns), "such as --id-columns mouse,human")
    return source, target
