"""Messages in the words of the command line: what the library calls `layer` or `layer='counts'` is `--layer counts` there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from typing import Any

__all__ = ["RENAMED", "in_options", "speak_for", "spoken"]

RENAMED = {
    "n_components": "components",
    "n_latent": "components",
    "latent": "components",
    "allowed_hosts": "allow-host",
    "networks": "network",
    "n_genes": "genes",
}
"""Arguments whose option has another name."""
_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


_options: set[str] = set()
"""Options of the command that runs: a process has one."""


def speak_for(command: Any) -> None:
    """Say messages in the options of a command from here on."""
    _options.clear()
    _options.update(name for one in command.params for name in (*one.opts, *one.secondary_opts))


def spoken(message: str) -> str:
    """A message in the options of the command that runs."""
    return in_options(message, _options)


def in_options(message: str, options: Collection[str]) -> str:
    """A message with Python arguments written as options, where the command has them.

    An argument stands as ```name``` or ```name=value```; one that the command lacks is left as it is.

    Parameters
    ----------
    message
        Text with arguments in backquotes.
    options
        Options of the command, with their dashes.
    """

    def written(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        option = "--" + name.replace("_", "-")
        if option not in options:
            option = "--" + RENAMED.get(name, name).replace("_", "-")
        if value == "False" and "--no-" + option[2:] in options:
            return "--no-" + option[2:]
        if option not in options:
            return match[0]
        if value in (None, "", "True", "…"):
            return option
        plain = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
        return f"{option} {shlex.quote(plain)}"

    return _ARGUMENT.sub(written, message)
