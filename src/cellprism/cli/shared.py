"""Options that are of the command line alone and that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.options import meaning
from cellprism.run.options import RunOptions

__all__ = ["Dask", "Layer", "Output", "Overwrite", "Raw", "ReplaceFile"]

Output = Annotated[Path, typer.Option("-o", "--output", help=meaning(RunOptions, "output"), show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=meaning(RunOptions, "overwrite"))]
ReplaceFile = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
Dask = Annotated[
    str | None,
    typer.Option(
        "--dask", help="Address of a Dask scheduler, or its file, whose workers share the work (tcp://host:8786)."
    ),
]
Layer = Annotated[str | None, typer.Option(help=meaning(RunOptions, "layer"))]
Raw = Annotated[bool, typer.Option("--raw", help=meaning(RunOptions, "raw"))]
