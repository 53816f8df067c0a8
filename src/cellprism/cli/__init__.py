"""The command line: one file a command, errors in one place."""

from __future__ import annotations

import io
import sys
from importlib.metadata import version

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
)
from cellprism.cli.words import spoken
from cellprism.errors import InputError

__all__ = ["app", "main"]

app = typer.Typer(
    name="cellprism",
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


def main() -> None:
    """Run the command line; input errors end with one message, in the words of the command line, and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot write must not end a finished run
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except InputError as error:
        typer.echo(f"Error: {spoken(str(error))}", err=True)
        sys.exit(2)
    except FloatingPointError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        sys.exit(130)
