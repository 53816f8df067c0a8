"""``cellprism demo``: the whole main job on real cells that ship with scanpy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.shared import Overwrite

__all__ = ["register"]


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; new or empty.")] = Path(
        "cellprism-demo"
    ),
    overwrite: Overwrite = False,
) -> None:
    """Name the features of 700 real blood cells, offline, in under a minute."""
    from cellprism.cli.common import print_findings, say
    from cellprism.cli.voice import VOICE
    from cellprism.demo import run_demo

    print_findings(
        run_demo(output, overwrite=overwrite, progress=VOICE.shows_progress and sys.stderr.isatty(), say=say)
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)
