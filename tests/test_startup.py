"""Nothing heavy is imported before it is used: `import cellprism` and every `--help` answer at once."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

import cellprism
from cellprism.cli import app

ROOT = Path(cellprism.__file__).parent
HEAVY = (
    "anndata", "h5py", "matplotlib", "mudata", "numba", "numpy", "pandas", "pyarrow", "scanpy", "scipy", "sklearn",
    "torch", "zarr",
)  # fmt: skip
CLI = "from cellprism.cli import main; main()"


def imported(statement: str, *arguments: str) -> set[str]:
    """Heavy packages that a fresh Python has imported after a statement that ends well."""
    lines = (
        "import json, sys",
        "try:",
        f"    {statement}",
        "except SystemExit as end:",
        "    assert not end.code, end.code",
        "print(json.dumps(list(sys.modules)))",
    )
    program = [sys.executable, "-c", "\n".join(lines), *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1])) & set(HEAVY)


def commands(group: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command and subcommand, the program itself first."""
    inner = getattr(group, "commands", {}).items()
    return [before, *(found for name, one in inner for found in commands(one, (*before, name)))]


COMMANDS = commands(typer.main.get_command(app))


def test_the_question_sees_what_is_imported() -> None:
    assert {"numba", "numpy", "torch"} <= imported("import cellprism; cellprism.fit")


def test_import_takes_nothing_heavy() -> None:
    assert imported("import cellprism") == set()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_takes_nothing_heavy(command: tuple[str, ...]) -> None:
    assert imported(CLI, *command, "--help") == set()


def test_version_takes_nothing_heavy() -> None:
    assert imported(CLI, "--version") == set()


def test_all_commands_are_asked() -> None:
    registered = {path.stem for path in (ROOT / "cli").glob("*.py") if "\ndef register(" in path.read_text()}
    assert len(COMMANDS) > len(registered) > 10


@pytest.mark.parametrize("order", ["", "[::-1]"], ids=["forwards", "backwards"])
def test_public_names_stay_what_they_are(order: str) -> None:
    """Every name resolves, and to the same thing once all that lies beside it was imported."""
    lines = (
        "import importlib, pkgutil, cellprism",
        f"first = {{n: getattr(cellprism, n) for n in cellprism.__all__{order}}}",
        "for one in pkgutil.iter_modules(cellprism.__path__):",
        "    one.name == '__main__' or importlib.import_module('cellprism.' + one.name)",
        "assert all(getattr(cellprism, n) is first[n] for n in first)",
        "print(len(first))",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(cellprism.__all__) > 40


def test_no_function_is_named_as_a_room() -> None:
    """Importing a room sets the package's attribute of its name, whatever stood there."""
    rooms = {path.stem for path in ROOT.iterdir()}
    functions = {n for n in cellprism.__all__ if type(getattr(cellprism, n)) is not type(cellprism)}
    assert len(functions) > 25
    assert functions.isdisjoint(rooms)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="nothing"):
        _ = cellprism.nothing
    assert set(cellprism.__all__) <= set(dir(cellprism))


def test_the_stub_says_all() -> None:
    """What type checkers read has the same names, each under its own."""
    stub = ast.parse((ROOT / "__init__.pyi").read_text())
    names = [a for node in stub.body if isinstance(node, ast.ImportFrom) for a in node.names]
    assert sorted(a.name for a in names) == sorted(cellprism.__all__)
    assert all(a.asname == a.name for a in names)  # else a checker takes them for private
