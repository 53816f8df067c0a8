"""The command line: one file a command, errors in one place."""

from __future__ import annotations

import io
import sys
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
from cellprism.cli.words import in_options
from cellprism.errors import InputError

__all__ = ["app", "main", "options_of"]

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


def options_of(command: str) -> set[str]:
    """Options of a command, with their dashes."""
    known: dict[str, Any] = getattr(typer.main.get_command(app), "commands", {})
    found = known.get(command)
    return {
        name for parameter in (found.params if found else ()) for name in (*parameter.opts, *parameter.secondary_opts)
    }


def main() -> None:
    """Run the command line; input errors end with one message, in the words of the command line, and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot write must not end a finished run
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except InputError as error:
        command = next((a for a in sys.argv[1:] if not a.startswith("-")), "")
        typer.echo(f"Error: {in_options(str(error), options_of(command))}", err=True)
        sys.exit(2)
    except FloatingPointError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("Interrupted; nothing was written.", err=True)
        sys.exit(130)
