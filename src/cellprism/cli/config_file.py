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
    known = {str(one.name): one for one in context.command.params if one.name not in ("config", "help")}
    defaults: dict[str, Any] = {}
    for key, value in content.items():
        name = str(key).removeprefix("--").replace("-", "_")
        if name not in known:
            raise InputError(
                "a file of options holds options of its command",
                f"{str(key)!r} in {path}",
                f"use some of {', '.join(sorted(name.replace('_', '-') for name in known))}",
            )
        if name in defaults:
            raise InputError("an option stands once in a file of options", f"{key!r} twice in {path}", "keep one")
        if value is not None:
            defaults[name] = _as_typed(str(key), value, several=bool(getattr(known[name], "multiple", False)))
    context.default_map = dict(context.default_map or {}) | defaults
    return path


def _as_typed(name: str, value: Any, *, several: bool) -> str | list[str]:
    """An option's value as it would be typed, so that the same checks read it: 2.7 is no whole number here either."""
    from cellprism.errors import InputError

    values = value if isinstance(value, list) and several else [value]
    if any(isinstance(one, (list, dict)) or one is None for one in values):
        wanted = "one value, or a list of them" if several else "one value"
        raise InputError(f"`{name}` takes {wanted}", repr(value), "write it as it is typed on the command line")
    words = [str(one) for one in values]
    return words if several else words[0]


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML file with options of this command (labels: [cell_type]); those given here win.",
        callback=_defaults,
        is_eager=True,
    ),
]
