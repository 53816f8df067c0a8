"""Every test that the page of cases names exists, and every case has one."""

from __future__ import annotations

import ast
import re

import pytest
from page_blocks import ROOT

PAGE = (ROOT / "docs" / "contributing" / "cases.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (\d+\.|[A-Z]\d* |wish)", line)]


@pytest.mark.parametrize("file", sorted({file for file, _ in NAMED}))
def test_named_tests_exist(file: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert {name for place, name in NAMED if place == file and name} <= there


def test_every_kind_and_case_is_there_with_a_test() -> None:
    first = [row.split()[1].rstrip(".") for row in ROWS]
    numbered = [f"{letter}{i}" for letter, n in (("B", 2), ("W", 9), ("C", 13)) for i in range(1, n + 1)]
    wanted = [*map(str, range(1, 16)), *"ABCDEFGHIJKLMNOPQR", *numbered]
    assert [name for name in first if name != "wish"] == wanted
    assert all("`tests/" in row for row in ROWS)


def test_homes_of_kinds_exist() -> None:
    homes = [home for row in ROWS[:15] for home in re.findall(r"`([\w/]+\.py|\w+/)`", row.split("|")[2])]
    assert len(homes) > 15
    assert all((ROOT / "src" / "cellprism" / home).exists() for home in homes)
