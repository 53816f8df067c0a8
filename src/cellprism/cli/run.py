"""``cellprism run``: the whole main job."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cellprism.cli.config_file import ConfigFile
from cellprism.cli.parameters import takes
from cellprism.cli.shared import Dask
from cellprism.run.options import RunOptions

__all__ = ["register"]


@takes(RunOptions, leave=("preset", "progress"))
def run(
    given: dict[str, Any],
    thorough: Annotated[
        bool, typer.Option("--thorough", help="10 seeds in place of 3, and more candidates for the recipe.")
    ] = False,
    config: ConfigFile = None,
    dask: Dask = None,
) -> None:
    """Turn cells and an embedding into named features, and write a run folder with its report."""
    from cellprism.cli.common import print_findings, say
    from cellprism.cli.voice import VOICE
    from cellprism.run import run as execute
    from cellprism.workers import on_workers

    preset = "thorough" if thorough else "run"
    with on_workers(dask):
        print_findings(execute(RunOptions(**given, preset=preset, progress=VOICE.shows_progress), say))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)
