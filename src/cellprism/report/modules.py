"""Links the page's own ES modules into one script, so that one file holds the page and no build tool is needed.

The modules keep to two forms, which browsers understand as they stand and which a regular expression can follow:
``import { a, b } from "./file.js";`` and ``export`` before a ``function``, ``class`` or ``const``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["link"]

IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
EXPORT: Final = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)
LEFT: Final = re.compile(r"^\s*(?:import|export)\b.*$", re.MULTILINE)


def link(modules: Mapping[str, str], entry: str) -> str:
    """One classic script that runs `entry` after what it imports, each module in a scope of its own.

    Raises
    ------
    ValueError
        For an import of an unknown module or name, a circle, or another form of import or export.
    """
    order: list[str] = []
    exports = {name: set(exported_names(source)) for name, source in modules.items()}
    state: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if state.get(name) == "done":
            return
        if state.get(name) == "open":
            raise ValueError(f"modules import each other in a circle: {' -> '.join((*trail, name))}")
        if name not in modules:
            raise ValueError(f"{trail[-1] if trail else 'the page'} imports {name}, which does not exist")
        state[name] = "open"
        for names, other in IMPORT.findall(modules[name]):
            visit(other, (*trail, name))
            for wanted in _names(names):
                if wanted not in exports[other]:
                    raise ValueError(f"{name} imports {wanted}, which {other} does not export")
        state[name] = "done"
        order.append(name)

    visit(entry, ())
    parts = ['"use strict";', "const $m = {};"]
    for name in order:
        parts.append(f"// {name}\n{_wrap(name, modules[name])}")
    return "\n".join(parts) + "\n"


def exported_names(source: str) -> list[str]:
    """Names that a module exports."""
    return EXPORT.findall(source)


def _names(braces: str) -> list[str]:
    return [n.strip() for n in braces.split(",") if n.strip()]


def _wrap(name: str, source: str) -> str:
    exported = exported_names(source)
    body = IMPORT.sub(lambda m: f'const {{ {", ".join(_names(m[1]))} }} = $m["{m[2]}"];\n', source)
    body = EXPORT.sub("", body)
    other = LEFT.search(body)
    if other:
        raise ValueError(f"{name} has a line the linker does not know: {other[0].strip()}")
    return f'$m["{name}"] = (() => {{\n{body}return {{ {", ".join(exported)} }};\n}})();'
