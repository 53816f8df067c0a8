"""Compiled loops work wherever a cache can or cannot be written, under one rule."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cellprism

ROOT = Path(cellprism.__file__).parent

NOWHERE = """
import numba.core.caching as caching
for cls in vars(caching).values():
    if isinstance(cls, type) and hasattr(cls, "_locator_classes"):
        cls._locator_classes = []
"""
FIT = """
import numpy as np, cellprism
X = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
cellprism.fit(X, cellprism.SAEConfig(8, "topk", k=3), epochs=1)
print(cellprism.cli.app.info.name)
"""


@pytest.mark.slow
@pytest.mark.parametrize("case", ["no locator", "unwritable NUMBA_CACHE_DIR"])
def test_training_works_without_a_cache(tmp_path: Path, case: str) -> None:
    (tmp_path / "file").write_text("")
    place = {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "inside")} if case != "no locator" else {}
    code = "import cellprism.cli\n" + FIT
    done = subprocess.run(
        [sys.executable, "-c", (NOWHERE if case == "no locator" else "") + code],
        env=os.environ | place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "cellprism\n"


def test_one_home_says_whether_compiled_code_is_kept() -> None:
    elsewhere = [
        str(p.relative_to(ROOT))
        for p in ROOT.rglob("*.py")
        if p.name != "numba_cache.py" and re.search(r"numba\.n?jit|cache=True|NUMBA_CACHE_DIR", p.read_text())
    ]
    assert elsewhere == []


KERNEL = """
from {records} import Pair
from cellprism.numba_cache import compiled

@compiled()
def total(pair):
    return pair.a + pair.b

print(total(Pair(1, {second})))
"""


def test_records_that_have_moved_since_the_cache_was_written(tmp_path: Path) -> None:
    """A cache names the classes of records, and an upgrade may put them elsewhere."""
    pair = "from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: int\n    b: int\n"
    for records, second in (("before", 2), ("after", 3), ("after", 3)):
        for old in tmp_path.glob("*.py"):
            old.unlink()
        (tmp_path / f"{records}.py").write_text(pair)
        (tmp_path / "kernel.py").write_text(KERNEL.format(records=records, second=second))
        done = subprocess.run(
            [sys.executable, "-B", "-c", "import kernel"],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}, cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{1 + second}\n"
    assert len(list((tmp_path / "cache").rglob("*.nbi"))) == 1
