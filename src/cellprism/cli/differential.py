"""``cellprism differential``: features that differ between two conditions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellprism.cli.run import Output, Overwrite

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["register"]


def differential(
    run_dir: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    by: Annotated[str, typer.Option(help="Column of cells.parquet with the two conditions.", show_default=False)],
    output: Output,
    donor: Annotated[str | None, typer.Option(help="Column with the donors: the test is then over donors.")] = None,
    within: Annotated[str | None, typer.Option(help="Compare these cells only: VALUE or COLUMN=VALUE.")] = None,
    conditions: Annotated[str | None, typer.Option(help="The two conditions, A,B, where there are more.")] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare every feature between two conditions, over cells or over donors."""
    from rich.table import Table

    from cellprism.cli.common import console
    from cellprism.features.differential import differential as compare
    from cellprism.run.folder import RunFolder, check_output, staged
    from cellprism.run.write import write_json, write_tables

    check_output(output, overwrite=overwrite)
    folder = RunFolder.open(run_dir)
    pair = tuple(conditions.split(",")) if conditions else None
    found = compare(
        folder.codes,
        _column(folder.cells, by),
        None if donor is None else _column(folder.cells, donor),
        within=None if within is None else _chosen(folder.cells, within),
        conditions=None if pair is None else (pair[0], pair[-1]),
    )
    table = found.table.merge(folder.features[["feature", "name"]], on="feature", how="left")
    table = table.sort_values("qval", kind="stable", ignore_index=True)
    with staged(output, overwrite=overwrite) as target:
        write_tables(target, {"differential": table})
        write_json(target / "run.json", found.info | {"by": by, "donor": donor, "within": within})
    out = console()
    out.print(f"{found.info['b']} against {found.info['a']}: {found.info['power']}", highlight=False)
    shown = Table(title="Features that differ most", title_justify="left")
    for column in ("feature", "name", "active share", "effect", "q"):
        shown.add_column(column, justify="left" if column == "name" else "right")
    for row in table.head(10).to_dict("records"):
        share = f"{row['fraction_a']:.0%} -> {row['fraction_b']:.0%}"
        shown.add_row(str(row["feature"]), str(row["name"]), share, f"{row['effect']:+.2f}", f"{row['qval']:.1e}")
    out.print(shown)


def _column(cells: pd.DataFrame, name: str) -> np.ndarray:
    from cellprism.data.read import describe_keys
    from cellprism.errors import InputError

    if name not in cells:
        raise InputError(
            "the column must be among those that the run kept",
            f"{name!r}; there are {describe_keys(cells.columns)}",
            f"run again with --labels {name}",
        )
    return cells[name].to_numpy(dtype=object)


def _chosen(cells: pd.DataFrame, within: str) -> np.ndarray:
    """Cells whose named column, or any column of text, holds a value."""
    from cellprism.errors import InputError

    column, _, value = within.rpartition("=")
    columns = [column] if column else [c for c in cells if c not in ("cell", "x", "y")]
    for name in columns:
        hits: np.ndarray = _column(cells, str(name)).astype(str) == value
        if hits.any():
            return hits
    raise InputError(
        "--within must name cells", f"no cell with {within!r}", "give VALUE or COLUMN=VALUE of a kept column"
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(differential)
