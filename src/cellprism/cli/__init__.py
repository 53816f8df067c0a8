"""The command line: one file a command, errors in one place."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any

import typer

from cellprism.cli import (
    annotate,
    benchmark,
    datasets,
    demo,
    differential,
    encode,
    evaluate,
    export,
    fit,
    match,
    paper_sweep,
    report,
    run,
    serve,
    simulate,
    steer,
    verify,
)
from cellprism.cli.ending import Commands, end_well

__all__ = ["app", "command_line", "main"]

app = typer.Typer(
    name="cellprism",
    cls=Commands,
    help="Split the embedding of a single-cell model into sparse features, name them, and tell which can be trusted.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    demo,
    run,
    fit,
    encode,
    evaluate,
    annotate,
    export,
    match,
    differential,
    steer,
    report,
    serve,
    verify,
    simulate,
    benchmark,
    paper_sweep,
    datasets,
):
    module.register(app)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"cellprism {version('cellprism')}")
        raise typer.Exit


@app.callback()
def _options(
    show_version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Options of every command."""


@cache
def command_line() -> Any:
    """The commands as click has them, made once: typer makes all of them anew, at a fifth of a second, whenever it is asked."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line; errors and signals end with one message, see :func:`~cellprism.cli.ending.end_well`."""
    end_well(command_line())
