"""``cellprism serve``: the report of a run from a small local server, for runs too large for one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def serve(
    run_dir: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    other: Annotated[Path | None, typer.Option(help="Run folder of another model, to compare with.")] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 8765,
    host: Annotated[str, typer.Option(help="Address to listen on; only loopback is closed to others.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Name by which others may address the server; may be repeated.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open it in the browser of this machine.")] = False,
) -> None:
    """Serve the report of a run folder to the browser until interrupted."""
    from cellprism.cli.common import say
    from cellprism.report.serve import serve as start
    from cellprism.run.folder import RunFolder

    RunFolder.open(run_dir)
    start(run_dir, other=other, host=host, port=port, allowed_hosts=allow_host, open_browser=open_browser, say=say)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(serve)
