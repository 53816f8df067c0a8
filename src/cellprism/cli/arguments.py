"""What holds for the options of every command by their type: numbers are finite, and no larger than all that counts can take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from cellprism.cli.voice import VOICE
from cellprism.cli.words import speak_for
from cellprism.errors import InputError

__all__ = ["LARGEST", "check_arguments", "checking"]

LARGEST = 2**31 - 1
"""Of whole numbers: seeds of some generators, and rows of compiled loops, end here."""


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
        check_arguments(ctx.params)
        return rest

    command.parse_args, command.checks_arguments = parse_args, True
    return command


def check_arguments(given: Mapping[str, Any]) -> None:
    """Refuse numbers that are not finite, and whole ones that something would refuse in the middle of the work.

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
            if isinstance(one, int) and not isinstance(one, bool):
                if (name == "seed" or name.endswith("_seed")) and one < 0:
                    raise InputError(f"{option} must be at least 0", str(one), "use 0")
                if abs(one) > LARGEST:
                    raise InputError(f"{option} must be at most {LARGEST:,}", str(one), "give a smaller one")
