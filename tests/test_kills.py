"""Kills: at random moments of whole commands (``benchmarks/kills.py``, its short version), and at each step of a writing."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cellprism.files import PREFIX, replacing
from cellprism.folder import verify
from cellprism.folder.stage import finish, staged

KILLS = Path(__file__).parents[1] / "benchmarks" / "kills.py"
CODE = f"""
import sys; sys.path.insert(0, {str(KILLS.parent)!r})
import kills
found = kills.harness(7, seed=1)
assert len(found) == 7 and sum(sum(states.values()) for states in found.values()) == 7, found
"""
STEPS = ("open", "os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove", "os.truncate", "shutil.rmtree")
TEXT = "new\n" * 5_000


def test_nothing_is_lost_by_a_kill() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def write_page(output: Path) -> None:
    with replacing(output) as beside:
        beside.write_text(TEXT)


def write_folder(output: Path) -> None:
    with staged(output, overwrite=True) as folder:
        for name in ("a.txt", "run.json"):
            (folder / name).write_text('{"format": "cellprism-run"}' if name == "run.json" else TEXT)


def killed_at(step: int, write: Callable[[Path], None], output: Path) -> bool:
    """Write in a process that kills itself before it touches the disk for the ``step``-th time; whether it got so far."""
    child = os.fork()
    if child == 0:
        counted = itertools.count()

        def hook(event: str, _: object) -> None:
            if event in STEPS and next(counted) == step:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        code = 70
        try:
            write(output)
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.parametrize("before", ["absent", "there"])
def test_a_file_is_the_old_or_the_new_one_at_each_step(tmp_path: Path, before: str) -> None:
    for step in itertools.count():
        output = tmp_path / str(step) / "page.html"
        output.parent.mkdir()
        if before == "there":
            output.write_text("old")
        killed = killed_at(step, write_page, output)
        found = output.read_text() if output.exists() else None
        assert found in (TEXT, "old" if before == "there" else None), step
        write_page(output)  # the next writer clears what was left
        assert output.read_text() == TEXT
        assert [p.name for p in output.parent.iterdir()] == ["page.html"], step
        if not killed:
            assert found == TEXT
            break
    assert step > 8


@pytest.mark.parametrize("before", ["absent", "empty", "there"])
def test_a_folder_is_whole_or_does_not_read_as_whole_at_each_step(tmp_path: Path, before: str) -> None:
    for step in itertools.count():
        output = tmp_path / str(step) / "out"
        output.parent.mkdir()
        if before == "empty":
            output.mkdir()
        if before == "there":
            write_folder(output)
            (output / "mine.txt").write_text("a user's file")
        killed = killed_at(step, write_folder, output)
        if (output / "run.json").exists():
            assert verify(output)[1] == [], step
        if before == "there":
            assert (output / "mine.txt").read_text() == "a user's file"
        finish(output)
        write_folder(output)
        assert verify(output)[1] == []
        left = [p.name for folder in (output, output.parent) for p in folder.iterdir() if p.name.startswith(PREFIX)]
        assert left == [], step
        if not killed:
            break
    assert step > 8
