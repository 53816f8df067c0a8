"""What holds for the numbers of every command: they are finite, and in their range (:mod:`cellprism.ranges`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from cellprism.cli.voice import VOICE
from cellprism.cli.words import speak_for
from cellprism.errors import InputError
from cellprism.ranges import within

__all__ = ["check_arguments", "checking"]


def checking(command: Any) -> Any:
    """The command, with its options checked once they are parsed; those of its subcommands too."""
    if getattr(command, "checks_arguments", False):
        return command
    for inner in getattr(command, "commands", {}).values():
        checking(inner)
    parse: Callable[..., Any] = command.parse_args

    def parse_args(ctx: Any, args: list[str]) -> Any:
        speak_for(command)  # of a group, then of its command: messages are in the options of the last
        rest = parse(ctx, args)
        if getattr(command, "speaks", False):
            VOICE.begin(ctx)
        check_arguments(ctx.params, str(command.name))
        return rest

    command.parse_args, command.checks_arguments = parse_args, True
    return command


def check_arguments(given: Mapping[str, Any], command: str) -> None:
    """Refuse numbers that are not finite, or that something would refuse in the middle of the work.

    Raises
    ------
    InputError
        Names the option.
    """
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, float) and not math.isfinite(one):
                raise InputError(f"{option} must be a finite number", str(one), "give one, such as 1.5")
            if isinstance(one, int | float) and not isinstance(one, bool):
                within(name, one, command)
