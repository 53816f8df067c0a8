"""No published figure changes unsaid: those of a small job are kept, and CHANGELOG.md says why they are what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from golden.figures import FILE, figures, versions

KEPT = json.loads(FILE.read_text(encoding="utf-8"))


def test_the_figures_are_those_that_were_kept(tmp_path: Path) -> None:
    if versions() != KEPT["versions"]:
        pytest.skip(f"kept with {KEPT['versions']}")
    found = figures(tmp_path)
    told = "a figure changed: say so in CHANGELOG.md, then `python tests/golden/figures.py SENTENCE`"
    assert found == pytest.approx(KEPT["figures"], rel=2e-3, abs=1e-6, nan_ok=True), told


def test_the_last_change_is_declared() -> None:
    said = " ".join((Path(__file__).parents[2] / "CHANGELOG.md").read_text(encoding="utf-8").split())
    assert len(KEPT["declared"]) > 20
    assert KEPT["declared"] in said
