"""``cellprism report``: make the page of a run folder again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.shared import ReplaceFile

__all__ = ["register"]


def report(
    run_dir: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    other: Annotated[Path | None, typer.Option(help="Run folder of another model, to compare with.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Page to write (.html); default: in the folder.")
    ] = None,
    overwrite: ReplaceFile = False,
) -> None:
    """Make report.html of a run folder again, from its files alone."""
    from cellprism.cli.common import console, say
    from cellprism.report import build
    from cellprism.run.folder import RunFolder

    RunFolder.open(run_dir)
    console().print(
        f"Report: {build(run_dir, output, other=other, overwrite=overwrite, say=say)}", highlight=False, soft_wrap=True
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)
