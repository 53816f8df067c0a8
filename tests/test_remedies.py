"""Every remedy names what exists: options of the command line, arguments of functions, functions, files, columns."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer

import cellprism
from cellprism.cli import app
from cellprism.cli.words import RENAMED, in_options
from cellprism.errors import InputError

ROOT = Path(cellprism.__file__).parent
# What a remedy may hand to the interpreter: the packages that a user of this one has.
PACKAGES = ("anndata", "mudata", "numpy", "pandas", "scanpy", "scipy.sparse", "torch")
FACES = {"np": "numpy", "pd": "pandas", "ad": "anndata", "md": "mudata", "sc": "scanpy", "sp": "scipy.sparse"}
# Methods of what a user holds, by the class that has them.
METHODS = {"adata": "anndata.AnnData", "mdata": "mudata.MuData"}
# Arguments of functions of other packages that a remedy may name.
FOREIGN = {"allow_pickle", "weights_only"}


class Said(NamedTuple):
    """Text of one refusal in the source; what is filled in stands as …."""

    where: str
    text: str


def shown(node: ast.expr) -> str:
    """Text of an expression of strings."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(shown(v) if isinstance(v, ast.Constant) else "…" for v in node.values)
    if isinstance(node, ast.BinOp):
        return shown(node.left) + shown(node.right)
    if isinstance(node, ast.IfExp):
        return f"{shown(node.body)} | {shown(node.orelse)}"
    return "…"


def refusals() -> list[Said]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError" and len(node.args) == 3:
                found.append(Said(f"{path.relative_to(ROOT)}:{node.lineno}", " # ".join(map(shown, node.args))))
    return found


REFUSALS = refusals()


def commands() -> dict[str, set[str]]:
    return options_of(typer.main.get_command(app))


def options_of(group: Any) -> dict[str, set[str]]:
    """Options of every command of a group, those of its own groups too."""
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        found[name] = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        if hasattr(command, "commands"):
            found |= {f"{name} {inner}": options for inner, options in options_of(command).items()}
    return found


OPTIONS = {option for options in commands().values() for option in options} | {"--help", "--version"}


def arguments() -> set[str]:
    """Parameters of all functions, methods and classes of the package."""
    names: set[str] = set()
    for module in pkgutil.walk_packages(cellprism.__path__, "cellprism."):
        if "__main__" in module.name:
            continue
        try:
            loaded = importlib.import_module(module.name)
        except ImportError:  # an optional package is not installed
            continue
        for _, thing in inspect.getmembers(loaded):
            if not getattr(thing, "__module__", "").startswith("cellprism"):
                continue
            inside = [f for _, f in inspect.getmembers(thing, callable)] if inspect.isclass(thing) else []
            for function in (thing, *inside):
                try:
                    names |= set(inspect.signature(function).parameters)
                except (TypeError, ValueError):
                    continue
    return names


def test_there_are_refusals_to_look_at() -> None:
    assert len(REFUSALS) > 300


@pytest.mark.parametrize("said", REFUSALS, ids=lambda s: s.where)
def test_named_options_exist(said: Said) -> None:
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", said.text):
        assert option in OPTIONS, f"{said.where}: {option}"


def spoken_in_python() -> list[Said]:
    """All text of the rooms that the command line and Python share, without their docstrings."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        place = path.relative_to(ROOT)
        if place.parts[0] in ("cli", "run", "folder", "files.py"):  # outputs are of the command line
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        apart = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}  # docstrings of all kinds
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
                found.append(Said(f"{place}:{node.lineno}", node.value))
    return found


def test_what_python_may_print_speaks_python() -> None:
    """Options stand only where the command line alone can come; elsewhere it is `name=value`, which the command line turns."""
    wrong = [
        said
        for said in spoken_in_python()
        if re.search(r"(?<![\w-])--[a-z][a-z-]*", said.text) and "on the command line" not in said.text
    ]
    assert wrong == []


def test_named_arguments_exist() -> None:
    known = arguments() | FOREIGN
    wrong = [
        (said.where, name)
        for said in REFUSALS
        for name in re.findall(r"`([a-z_][a-z0-9_]*)=", said.text)
        if name not in known
    ]
    assert wrong == []


def test_arguments_with_values_stand_in_backquotes() -> None:
    """Only so are they written as options on the command line."""
    bare = re.compile(r"(?<![\w(,] )\b[a-z_]{2,}=[^ ]+")
    remedies = {said.where: said.text.rpartition(" # ")[2] for said in REFUSALS}
    assert [where for where, text in remedies.items() if bare.search(re.sub(r"`[^`]*`", "", text))] == []


def test_named_functions_exist() -> None:
    """`package.function(…)` of the packages at hand, and methods of `adata` and `mdata`."""
    wrong = []
    for said in REFUSALS:
        for dotted in re.findall(r"\b((?:[a-zA-Z_]\w*\.)+[a-zA-Z_]\w*)\(", said.text):
            head, *rest = dotted.split(".")
            start = FACES.get(head, head)
            if start == "prism":
                thing: object = cellprism
            elif start in METHODS:
                module, _, name = METHODS[start].rpartition(".")
                thing = getattr(importlib.import_module(module), name)
            elif start in PACKAGES:
                thing = importlib.import_module(start)
            else:
                continue
            for name in rest:
                if name in ("obs_names", "var_names", "obs", "var", "mod", "X"):
                    thing = None
                    break
                thing = getattr(thing, name, ...)
                if thing is ...:
                    wrong.append((said.where, dotted))
                    break
    assert wrong == []


def test_named_commands_exist() -> None:
    known = set(commands())
    wrong = [
        (said.where, name)
        for said in REFUSALS
        for name in re.findall(r"`cellprism ([a-z-]+)", said.text)
        if name not in known
    ]
    assert wrong == []


def test_named_extras_exist() -> None:
    import tomllib

    extras = tomllib.loads((ROOT.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    for said in REFUSALS:
        for names in re.findall(r"cellprism\[([a-z,]+)\]", said.text):
            assert set(names.split(",")) <= set(extras), said.where


def test_every_refusal_has_three_clauses() -> None:
    assert [s.where for s in REFUSALS if not all(part.strip(" ") for part in s.text.split(" # "))] == []


@pytest.mark.parametrize(
    ("said", "options", "wanted"),
    [
        ("try `raw=True` or `layer='counts'`", {"--raw", "--layer"}, "try --raw or --layer counts"),
        ("give one with `gene_symbols=`", {"--gene-symbols"}, "give one with --gene-symbols"),
        ("`labels='my type:number'` takes", {"--labels"}, "--labels 'my type:number' takes"),
        ("lower `n_components=`", {"--components"}, "lower --components"),
        ("raise `min_overlap=`", {"--raw"}, "raise `min_overlap=`"),
        ("`min_cells` must be at least 1", {"--min-cells"}, "--min-cells must be at least 1"),
        ("`min_cells` must be at least 1", {"--seed"}, "`min_cells` must be at least 1"),
        ("`n_genes` of a programme", {"--genes"}, "--genes of a programme"),
        ("`n_genes` must be at least 1", {"--genes", "--n-genes"}, "--n-genes must be at least 1"),
    ],
)
def test_the_command_line_speaks_of_options(said: str, options: set[str], wanted: str) -> None:
    assert in_options(said, options) == wanted


def test_renamed_options_exist() -> None:
    assert {"--" + name for name in RENAMED.values()} <= OPTIONS


def test_messages_keep_their_parts() -> None:
    error = InputError("a rule", "a value", "a remedy.")
    assert str(error) == "A rule; met a value. Remedy: a remedy."
    assert np.all([error.rule == "a rule", error.met == "a value"])
