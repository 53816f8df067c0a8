"""Every block of Python or shell on a page runs, in order, in a folder that has the files it speaks of.

A block that cannot run here says why in a comment before it, ``<!-- not run: reason -->``; they are few.
"""

from __future__ import annotations

import shlex
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import page_workspace as workspace
import pytest
from page_blocks import ROOT, Block, blocks
from typer.testing import CliRunner

from cellprism.cli import app
from cellprism.run.options import PRESETS

DOCS = ROOT / "docs"
ELSEWHERE = {"learn", "generated", "_build", "extensions"}
"""Notebooks have a test of their own; what is made from the code is made anew by every build."""
PAGES = [ROOT / "README.md"] + [
    path for path in sorted(DOCS.rglob("*.md")) if not ELSEWHERE & set(path.relative_to(DOCS).parts)
]
RUN = {"python", "bash"}
WITHOUT = ("pip ", "nox ", "python -m venv", "pytest", "cellprism demo")
"""Commands that set up the house: ``.ci/run`` and the release check do what they say."""


def listed(path: Path) -> list[Block]:
    return [b for b in blocks(path) if b.language in RUN]


SLOW = {"planted.md", "embedding-models.md"}
WITH_BLOCKS = [path for path in PAGES if listed(path)]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    workspace.make_files(folder)
    workspace.make_run(folder / "RUN", folder)
    workspace.copy(folder / "RUN", folder / "RUN-scvi")
    return folder


@pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.name in SLOW else ()) for path in WITH_BLOCKS],
    ids=[str(path.relative_to(ROOT)) for path in WITH_BLOCKS],
)
def test_blocks_run(path: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.name == "scvi.md" and find_spec("scvi") is None:
        pytest.skip("this page needs scvi-tools, and has a test of its own with them: tests/test_scvi_page.py")
    workspace.copy(made, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "run", replace(PRESETS["demo"], seeds=2, nulls=("random",)))  # quick
    runnable = [b for b in listed(path) if not b.not_run]
    ns: dict[str, Any] = workspace.names(tmp_path) if any(b.language == "python" for b in runnable) else {}
    with mpl.rc_context({"backend": "agg"}):
        for block in runnable:
            if block.language == "python":
                exec(compile("\n" * (block.line - 1) + block.code, str(path), "exec"), ns)
            else:
                for command in commands(block):
                    run_command(command, block)
        plt.close("all")


def commands(block: Block) -> list[str]:
    """Lines of a shell block without comments; what stands on the left and right of ``&&`` apart."""
    joined = block.code.replace("\\\n", " ")
    lines = [line.split("  #")[0].strip() for line in joined.splitlines()]
    return [part.strip() for line in lines for part in line.split("&&") if part.strip() and not line.startswith("#")]


def run_command(command: str, block: Block) -> None:
    if command.startswith(WITHOUT):
        return
    words = shlex.split(command)
    assert words[0] == "cellprism", f"{block}: {command!r} needs a comment `<!-- not run: reason -->` before its block"
    if words[1] == "run" and "-o" in words:  # the lines of a block are alternatives for one output
        shutil.rmtree(words[words.index("-o") + 1], ignore_errors=True)
    result = CliRunner().invoke(app, words[1:])
    assert result.exit_code == 0, f"{block}: {command}\n{result.output}\n{result.exception!r}"


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    left_out = [b for path in PAGES for b in listed(path) if b.not_run]
    assert all(len(b.not_run) > 10 for b in left_out)
    total = sum(len(listed(path)) for path in PAGES)
    assert len(left_out) <= total / 4, [str(b) for b in left_out]


def test_no_command_hides_outside_a_block() -> None:
    hidden = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in PAGES
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if line.startswith("    cellprism ")
    ]
    assert not hidden, hidden
