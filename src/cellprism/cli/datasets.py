"""``cellprism datasets``: what public data sets are known, and fetching one."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["register"]


def datasets(
    name: Annotated[str | None, typer.Argument(help="Data set to fetch; none = list them.", show_default=False)] = None,
) -> None:
    """List the public data sets and published models, or fetch one and print where its files lie."""
    from cellprism.cli.common import console
    from cellprism.datasets import available, fetch

    out = console()
    if name is not None:
        for path in fetch(name, progress=True):
            out.print(str(path), highlight=False, soft_wrap=True)
        return
    from rich.table import Table

    table = Table(title="Public data sets", title_justify="left")
    for column in ("name", "what", "checked by", "on disk"):
        table.add_column(column, no_wrap=column == "name")
    for row in available().itertuples():
        table.add_row(str(row.name), str(row.what), str(row.checked), "yes" if row.cached else "")
    out.print(table)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(datasets)
