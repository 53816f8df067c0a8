"""``cellprism verify``: whether a result is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def verify(
    result: Annotated[Path, typer.Argument(help="Folder that cellprism wrote.", show_default=False)],
) -> None:
    """Hold every file of a result against the checksum of what was written, and read all of a run.

    Exit code 1, and a line for each file that is missing or changed, where the result is not as it was written.
    """
    from cellprism.cli.common import console
    from cellprism.errors import InputError
    from cellprism.folder import RunFolder
    from cellprism.folder import verify as check

    n_files, problems = check(result)
    if not problems and (result / "codes.npz").is_file():
        try:
            RunFolder.open(result).check()
        except InputError as error:
            problems = [str(error)]
    out = console()
    for line in problems:
        out.print(line, highlight=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)
    out.print(f"{n_files:,} files as they were written: {result}", highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(verify)
