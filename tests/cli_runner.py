"""The command line in this process: exit code and what it printed."""

from __future__ import annotations

import sys
from typing import NamedTuple

import pytest

from cellprism.cli import main


class Result(NamedTuple):
    code: int
    out: str
    err: str


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> Result:
    """Run ``cellprism ARGUMENTS`` and catch its exit."""
    before, code = sys.argv, 0
    sys.argv = ["cellprism", *map(str, arguments)]
    try:
        main()
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    finally:
        sys.argv = before
    captured = capsys.readouterr()
    return Result(code, captured.out, captured.err)
