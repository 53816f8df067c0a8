"""``--config``: the options of a command from a YAML file; what is given on the command line wins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["ConfigFile"]


def _defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's options as the defaults of the command; called before the other options are read."""
    from cellprism.data.text import read_yaml
    from cellprism.errors import InputError

    if path is None or context.resilient_parsing:
        return path
    content: Any = read_yaml(path)
    names = {parameter.name for parameter in context.command.params} - {"config", "help"}
    given = {str(name).removeprefix("--").replace("-", "_"): value for name, value in dict(content).items()}
    if unknown := sorted(set(given) - names):
        raise InputError(
            "a file of options holds options of its command",
            f"{unknown} in {path}",
            f"use some of {', '.join(sorted(str(name).replace('_', '-') for name in names))}",
        )
    context.default_map = dict(context.default_map or {}) | given
    return path


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with options of this command (labels: [cell_type]); those given here win.",
        callback=_defaults,
        is_eager=True,
    ),
]
