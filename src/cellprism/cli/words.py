"""Messages in the words of the command line: what the library calls `layer='counts'` is `--layer counts` there."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Collection
from typing import Any

__all__ = ["RENAMED", "in_options", "options_of", "spoken"]

RENAMED = {
    "n_components": "components",
    "n_latent": "components",
    "latent": "components",
    "allowed_hosts": "allow-host",
    "networks": "network",
}
"""Arguments whose option has another name."""
_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)=([^`]*)`")


def options_of(command: str) -> set[str]:
    """Options of a command, with their dashes."""
    from cellprism.cli import command_line

    known: dict[str, Any] = getattr(command_line(), "commands", {})
    found = known.get(command)
    return {name for one in (found.params if found else ()) for name in (*one.opts, *one.secondary_opts)}


def spoken(message: str) -> str:
    """A message in the options of the command that runs."""
    if "`" not in message:
        return message
    return in_options(message, options_of(next((a for a in sys.argv[1:] if not a.startswith("-")), "")))


def in_options(message: str, options: Collection[str]) -> str:
    """A message with Python arguments written as options, where the command has them.

    Parameters
    ----------
    message
        Text with arguments as ```name=value```.
    options
        Options of the command, with their dashes.
    """

    def written(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        option = "--" + RENAMED.get(name, name).replace("_", "-")
        if value == "False" and "--no-" + option[2:] in options:
            return "--no-" + option[2:]
        if option not in options:
            return match[0]
        if value in ("", "True", "…"):
            return option
        plain = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
        return f"{option} {shlex.quote(plain)}"

    return _ARGUMENT.sub(written, message)
