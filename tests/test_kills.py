"""The short version of ``benchmarks/kills.py``: one SIGKILL a command at a random moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KILLS = Path(__file__).parents[1] / "benchmarks" / "kills.py"
CODE = f"""
import sys; sys.path.insert(0, {str(KILLS.parent)!r})
import cellprism.cli, kills
found = kills.harness(7, seed=1)
assert len(found) == 7 and sum(sum(states.values()) for states in found.values()) == 7, found
"""


def test_nothing_is_lost_by_a_kill() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
