"""Imports run one way, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

import cellprism

ROOT = Path(cellprism.__file__).parent
# A room may import the rooms of its own floor and of every floor below.
FLOORS = [
    {"errors", "ranges", "numeric", "options", "progress", "files", "numba_cache", "workers"},
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


def modules(path: Path, known: Mapping[str, Path]) -> set[str]:
    """As :func:`imports`; of a package whose files are imported by name, the files; and files named to be imported later."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            files = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (files & set(known)) | ({node.module} if files - set(known) else set())
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            if name in known and known[name].name != "__init__.py":  # a package may be named for the data files in it
                found.add(name)
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


def wanted_files() -> dict[str, set[str]]:
    """Files that each file imports, in functions and for annotations too."""
    known = {
        ".".join(("cellprism", *p.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): p for p in FILES
    }
    return {name: {one for one in modules(path, known) if one in known and one != name} for name, path in known.items()}


def circles(wants: dict[str, set[str]]) -> set[frozenset[str]]:
    """Groups of files that all reach each other."""
    reached: dict[str, set[str]] = {}
    for name in wants:
        found, new = set(), set(wants[name])
        while new:
            found |= new
            new = set().union(*(wants[one] for one in new)) - found
        reached[name] = found
    return {
        frozenset({name, *(b for b in found if name in reached[b])}) for name, found in reached.items() if name in found
    }


def test_files_make_no_circle() -> None:
    wants = wanted_files()
    assert wants["cellprism.cli"] > {"cellprism.cli.run", "cellprism.cli.ending"}
    assert wants["cellprism.sae.front"] > {"cellprism.sae.fit", "cellprism.sae.consensus"}
    assert wants["cellprism.embed"] > {"cellprism.embed.pca"}  # named in a string
    assert not circles(wants)


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"f"}, "f": {"e"}}) == {
        frozenset("bc"),
        frozenset("ef"),
    }


def test_the_trainer_knows_no_way_to_train() -> None:
    """It asks the table, and what it is given answers the protocol: a new way touches its own file and the table."""
    trainer = ROOT / "sae" / "trainer.py"
    assert {name for name in imports(trainer) if name.startswith("cellprism.sae.steps")} == {
        "cellprism.sae.steps.table",
        "cellprism.sae.steps.way",
    }
    asked = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(trainer.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"isinstance", "getattr", "hasattr", "type"}
    ]
    # the model's activation is no way, and the trainer's own numbers are not a way's
    assert set(asked) <= {"isinstance(activation, BatchTopK)", "getattr(self, name)"}


def test_every_room_has_a_floor() -> None:
    assert {room(p) for p in FILES} <= set(FLOOR)
