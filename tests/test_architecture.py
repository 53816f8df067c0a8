"""Imports run one way, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Collection
from pathlib import Path

import pytest

import cellprism

ROOT = Path(cellprism.__file__).parent
# A room may import the rooms of its own floor and of every floor below.
FLOORS = [
    {"errors", "options", "progress", "files", "numba_cache"},
    {"data", "genesets", "datasets", "folder"},
    {"stats", "sae", "embed", "simulate"},
    {"features", "steering", "recovery", "evaluation"},
    {"report"},
    {"run", "pl"},
    {"tl", "demo"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: i for i, floor in enumerate(FLOORS) for room in floor}
FORBIDDEN = {"stats": {"torch", "anndata"}, "sae": {"anndata", "mudata", "scanpy"}}
FILES = sorted(p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py")


def imports(path: Path) -> set[str]:
    """Modules that a file imports, in functions too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "cellprism":
                found |= {f"cellprism.{alias.name}" for alias in node.names}
    return found


def modules(path: Path, known: Collection[str]) -> set[str]:
    """As :func:`imports`; of a package whose files are imported by name, the files."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            files = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (files & set(known)) | ({node.module} if files - set(known) else set())
    return found


def room(path: Path) -> str:
    """Room of a file."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    own = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "cellprism" and len(parts) > 1 and parts[1] in FLOOR:
            assert FLOOR[parts[1]] <= FLOOR[own], f"{own} imports {parts[1]}, which lies above it"
        assert parts[0] not in FORBIDDEN.get(own, set()), f"{own} imports {name}"


def test_files_of_the_command_line_make_no_circle() -> None:
    known = {f"cellprism.cli.{p.stem}": p for p in FILES if room(p) == "cli" and p.stem != "__init__"}
    known["cellprism.cli"] = ROOT / "cli" / "__init__.py"
    wants = {
        name: {one for one in modules(path, known) if one in known and one != name} for name, path in known.items()
    }
    assert wants["cellprism.cli"] > {"cellprism.cli.run", "cellprism.cli.ending"}
    graphlib.TopologicalSorter(wants).prepare()  # raises CycleError, with the circle


def test_every_room_has_a_floor() -> None:
    assert {room(p) for p in FILES} <= set(FLOOR)
