"""The walkthroughs of CONTRIBUTING.md, followed word for word in a copy of the source: each ends with its own test passing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from page_blocks import ROOT

GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(
    re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", GUIDE.partition("## Four walkthroughs")[2], flags=re.M | re.S)
)


def parts(section: str) -> list[tuple[str, str, str]]:
    """Language, file and content of each block."""
    found = []
    for language, code in re.findall(r"```(diff|python)\n(.*?)```", section, flags=re.DOTALL):
        head, _, content = code.partition("\n")
        found.append((language, head.removeprefix("--- ").removeprefix("# "), content))
    return found


def changed(text: str, diff: str) -> str:
    """The text after a diff without line numbers: every run of kept and removed lines must be there exactly once."""
    hunks, current = [], []
    for line in diff.splitlines():
        ends = line == "@@" or (line.startswith(("-", " ")) and current and current[-1].startswith("+"))
        if ends and any(c[:1] in "- " for c in current if c):
            hunks.append(current)
            current = []
        if line != "@@":
            current.append(line)
    for hunk in [*hunks, current]:
        old = "".join(f"{line[1:]}\n" for line in hunk if line[0] in "- ")
        new = "".join(f"{line[1:]}\n" for line in hunk if line[0] in "+ ")
        assert text.count(old) == 1, f"the walkthrough changes lines that are not there:\n{old}"
        text = text.replace(old, new)
    return text


def followed(name: str, root: Path) -> list[str]:
    """Do what a walkthrough says in a copy of the source; gives the files of its tests."""
    tests = []
    for language, file, content in parts(SECTIONS[name]):
        path = root / file
        if language == "diff":
            path.write_text(changed(path.read_text(encoding="utf-8"), content), encoding="utf-8")
            continue
        assert not (ROOT / file).exists(), f"{file} is there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        if file.startswith("tests/"):
            tests.append(file)
    return tests


def test_there_are_four_and_each_has_a_test() -> None:
    assert len(SECTIONS) == 4
    for section in SECTIONS.values():
        assert any(file.startswith("tests/") for _, file, _ in parts(section))


@pytest.mark.parametrize("name", SECTIONS)
def test_it_can_be_followed(name: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    tests = followed(name, tmp_path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--import-mode=importlib",
        "-W",
        "error",
        *tests,
    ]
    settings = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


CHECKS = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",))


@pytest.mark.slow
@pytest.mark.skipif(not all(shutil.which(c[0]) for c in CHECKS), reason="ruff or mypy is not installed")
def test_all_four_together_pass_the_checks_that_a_pull_request_must_pass(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests").mkdir()
    for name in SECTIONS:
        followed(name, tmp_path)
    settings = os.environ | {"PYTHONPATH": str(tmp_path / "src")}
    for command in CHECKS:
        done = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-2000:]}"
