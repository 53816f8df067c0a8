"""Kernels and functions stay small; those that do not yet are listed, and the lists can only shrink."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import cellprism

ROOT = Path(cellprism.__file__).parent
PARAMETERS, LINES = 20, 80
LONG_FUNCTIONS: set[str] = set()


def functions() -> Iterator[tuple[str, ast.FunctionDef, bool]]:
    """Every function with its place, and whether it is compiled."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                compiled = any(
                    "jit" in (name := ast.unparse(d)) or name.startswith("compiled(") for d in node.decorator_list
                )
                yield f"{path.relative_to(ROOT).as_posix()}:{node.name}", node, compiled


def lines(node: ast.FunctionDef) -> int:
    """Lines of a function without its docstring."""
    first = node.body[0]
    has_docstring = ast.get_docstring(node) is not None
    docstring = (first.end_lineno or first.lineno) - first.lineno + 1 if has_docstring else 0
    return (node.end_lineno or node.lineno) - node.lineno + 1 - docstring


def test_kernels_take_few_parameters() -> None:
    wide = {
        name
        for name, node, compiled in functions()
        if compiled and len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) > PARAMETERS
    }
    assert not wide


def test_functions_are_short() -> None:
    assert {name for name, node, compiled in functions() if not compiled and lines(node) > LINES} == LONG_FUNCTIONS
