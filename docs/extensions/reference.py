"""Reference pages made from the code when the site is built, so that they cannot say what is no longer so."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import types
from pathlib import Path
from typing import Any

import numpy as np

import cellprism
from cellprism.cli import command_line
from cellprism.folder.columns import FILES

__all__ = ["api_pages", "command_page", "file_page", "setup"]

EXAMPLES = """`import cellprism as prism`

Examples take for granted, besides `np` and `pd`: `cells`, an AnnData of counts with an embedding in `obsm["X_scVI"]`; `X`, that embedding;
`model`, which made it; `sae`, a dictionary of it, and `codes`, its activations; `expression` (log1p), `genes` and `sets` (gene sets);
`types`, `donors` and `conditions`, a name a cell; `adata`, the cells after `prism.tl.fit` and `prism.tl.annotate`, and `annotation`, what that gave;
`mdata`, cells with RNA and protein; and `RUN`, a folder that `cellprism run` wrote."""

INNER = "What the files of this room share with each other. No promise is made for it: it may change with any version."

OUT = Path(__file__).parents[1] / "reference" / "generated"


def public_rooms() -> dict[str, types.ModuleType]:
    """The rooms among the public names of the package, by name."""
    named = {name: getattr(cellprism, name) for name in cellprism.__all__}
    return {name: value for name, value in named.items() if isinstance(value, types.ModuleType)}


def public_names(room: types.ModuleType) -> dict[str, list[str]]:
    """Module -> its public names: of a room that imports none itself, those that it lists by file."""
    if hasattr(room, "__all__"):
        return {room.__name__: sorted(room.__all__, key=str.lower)}
    return {f"{room.__name__}.{file}": list(names) for file, names in room.PUBLIC.items()}


def inner_names(room: types.ModuleType) -> dict[str, list[str]]:
    """Module -> what the files of a room share beyond its public names, where the room lists these by file."""
    if hasattr(room, "__all__"):
        return {}
    files = [importlib.import_module(f"{room.__name__}.{m.name}") for m in pkgutil.iter_modules(room.__path__)]
    shared = {f.__name__: [n for n in getattr(f, "__all__", ()) if n not in _listed(room, f)] for f in files}
    return {name: names for name, names in shared.items() if names}


def _listed(room: types.ModuleType, file: types.ModuleType) -> tuple[str, ...]:
    return tuple(room.PUBLIC.get(file.__name__.rpartition(".")[2], ()))


def entry(module: str, name: str, seen: set[int]) -> str:
    """Directive of one public name; a name that another page has too is indexed there alone."""
    value = getattr(importlib.import_module(module), name)
    if not callable(value):
        keys = isinstance(value, dict | tuple | list | frozenset)
        holds = ", ".join(f"``{v}``" for v in value) if keys else f"``{value}``" if np.isscalar(value) else "an array"
        return f".. py:data:: {module}.{name}\n\n   {holds}\n"
    options = ["   :members:"] if inspect.isclass(value) else []
    options += ["   :no-index:"] if id(value) in seen else []
    seen.add(id(value))
    kind = "autoclass" if inspect.isclass(value) else "autofunction"
    return "\n".join([f".. {kind}:: {module}.{name}", *options, ""])


def page(title: str, body: list[str], directives: list[str], inner: list[str] | None = None) -> str:
    """A page of Markdown around directives of autodoc."""
    lines = [f"# {title}", "", *body, "", "```{eval-rst}", *directives, "```", ""]
    if inner:
        lines += ["## For those who extend it", "", INNER, "", "```{eval-rst}", *inner, "```", ""]
    return "\n".join(lines)


def api_pages() -> dict[str, str]:
    """Name of a page -> its text: one for the names of the package itself, one a room."""
    rooms = public_rooms()
    seen: set[int] = set()
    top = [entry("cellprism", name, seen) for name in cellprism.__all__ if name not in rooms]
    pages = {"cellprism": page("cellprism", [EXAMPLES], top)}
    for name, room in rooms.items():
        body = [
            inspect.getdoc(room) or "",
            "",
            "What the examples take for granted stands [on the first page](api-cellprism.md).",
        ]
        public, inner = (
            [entry(module, n, seen) for module, names in of_room.items() for n in names]
            for of_room in (public_names(room), inner_names(room))
        )
        pages[name] = page(f"cellprism.{name}", body, public, inner)
    return pages


def keep_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let ``|r|`` in a docstring be the size of r, where reStructuredText would look for a substitution."""
    lines[:] = [re.sub(r"(?<![`\\])\|(\w+)\|(?!`)", r"\\|\1\\|", line) for line in lines]


_LINE, _COLON = "\ue000", "\ue001"
"""Stand for the end of a line and a colon while napoleon looks for types."""


def fold_prose(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make one line of a section of returns that is prose: napoleon would take each of its lines for a type."""
    if "Returns" not in lines:
        return
    start = lines.index("Returns") + 2
    stop = next((i - 1 for i in range(start, len(lines)) if re.fullmatch("-{3,}", lines[i])), len(lines))
    body = lines[start:stop]
    if not any(line.startswith(" ") for line in body) and any(" " in line for line in body):
        lines[start:stop] = [_LINE.join([*body, ""]).replace(":", _COLON), ""]


def unfold_prose(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Undo :func:`fold_prose` once napoleon has made fields of the sections."""
    for i, line in enumerate(lines):
        if _LINE in line:
            text = line.removeprefix(":returns: ").strip("*").replace(_COLON, ":")
            first, *rest = text.removesuffix(_LINE).split(_LINE)
            lines[i : i + 1] = [f":returns: {first}", *(f"    {part}" if part else "" for part in rest)]
            return


def _said(text: str | None) -> str:
    """Help of the command line as one cell of a table."""
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")


def _rows(command: Any) -> list[str]:
    rows = []
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        names = ", ".join(f"`{o}`" for o in [*parameter.opts, *parameter.secondary_opts])
        kind = "argument" if parameter.opts == [parameter.name] else ("flag" if parameter.is_flag else "option")
        notes = ["required"] if parameter.required else []
        notes += ["may be repeated"] if parameter.multiple else []
        default = parameter.default
        shown = default is not None and default not in ((), [], False) and not callable(default)
        notes += [f"default `{getattr(default, 'value', default)}`"] if shown else []
        rows.append(f"| {names} | {kind} | {_said(parameter.help)} | {', '.join(notes)} |")
    return rows


def _command(name: str, command: Any, depth: int) -> list[str]:
    lines = [f"{'#' * depth} {name}", "", _said(command.help), ""]
    inner = getattr(command, "commands", None)
    if inner:
        return lines + [line for n, c in inner.items() for line in _command(f"{name} {n}", c, depth + 1)]
    rows = _rows(command)
    table = ["| name | kind | what it is | |", "|---|---|---|---|", *rows] if rows else []
    return [*lines, *table, ""]


def command_page() -> str:
    """Every command of ``cellprism`` with every option."""
    top = command_line()
    lines = ["# Command line", "", "Every command with every option, as `cellprism COMMAND --help` has it.", ""]
    lines += [
        "Every command also takes `--quiet`, `--verbose` and `--json`: see [what a command says](../../reliability.md).",
        "",
    ]
    for name, command in top.commands.items():
        lines += _command(f"cellprism {name}", command, 2)
    return "\n".join(lines)


def file_page() -> str:
    """Every column of every table that a command writes."""
    lines = ["# Files and their columns", "", "Every table that a command writes, and every column it can have.", ""]
    for file, described in FILES.items():
        lines += [f"## `{file}`", "", described.what, "", "| column | what it is |", "|---|---|"]
        lines += [f"| `{column}` | {_said(meaning)} |" for column, meaning in described.columns.items()] + [""]
    return "\n".join(lines)


def write_pages(_: object = None) -> None:
    """Write what has changed, so that a second build has little to do."""
    OUT.mkdir(parents=True, exist_ok=True)
    pages = {f"api-{name}": text for name, text in api_pages().items()}
    pages |= {"commands": command_page(), "files": file_page()}
    for name, text in pages.items():
        path = OUT / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", keep_bars)
    app.connect("autodoc-process-docstring", fold_prose, priority=400)  # before napoleon, which comes at 500
    app.connect("autodoc-process-docstring", unfold_prose, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
