"""``cellprism differential``: features that differ between two conditions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellprism.cli.shared import Output, Overwrite

if TYPE_CHECKING:
    import pandas as pd

    from cellprism.features.differential import Differential

__all__ = ["register"]


def differential(
    run_dir: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    by: Annotated[str, typer.Option(help="Column of cells.parquet with the two conditions.", show_default=False)],
    output: Output,
    donor: Annotated[str | None, typer.Option(help="Column with the donors: the test is then over donors.")] = None,
    within: Annotated[str | None, typer.Option(help="Compare these cells only: VALUE or COLUMN=VALUE.")] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            help="The two conditions, A,B (A is the reference), where there are more; or given twice, a name each."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Compare every feature between two conditions, over cells or over donors."""
    from cellprism.cli.choose import cells_with, column, two_names
    from cellprism.cli.common import say
    from cellprism.cli.voice import write_log
    from cellprism.data.missing import groups
    from cellprism.data.read import describe_keys
    from cellprism.errors import InputError
    from cellprism.features.differential import differential as compare
    from cellprism.run.folder import RunFolder, check_output, staged
    from cellprism.run.knowledge import already_said
    from cellprism.run.write import write_json, write_tables

    check_output(output, overwrite=overwrite)
    folder = RunFolder.open(run_dir)
    groups_of = column(folder.cells, by)
    chosen = None if within is None else cells_with(folder.cells, within, "--within")
    values = groups(groups_of if chosen is None else groups_of[chosen])
    there = [str(name) for name in values.names]
    if conditions:
        pair = two_names(conditions, there, "--conditions")
    elif len(there) == 2:
        pair = (there[0], there[1])
    else:
        raise InputError(
            "two conditions are compared",
            f"{len(there)} in {by!r}: {describe_keys(there)}",
            "name the two with --conditions A,B",
        )
    say(
        f"comparing the features of {run_dir} between {pair[0]} and {pair[1]}, over {'cells' if donor is None else 'donors'}"
    )
    with already_said():  # the notes are printed below
        found = compare(
            folder.codes,
            groups_of,
            None if donor is None else column(folder.cells, donor),
            within=chosen,
            conditions=pair,
        )
    table = found.table.merge(folder.features[["feature", "name"]], on="feature", how="left")
    table = table.sort_values(["pval", "feature"], kind="stable", ignore_index=True)
    with staged(output, overwrite=overwrite) as target:
        write_tables(target, {"differential": table, "untestable": found.untestable})
        write_json(target / "run.json", found.info | {"by": by, "donor": donor, "within": within})
        write_log(target)
    _show(found, table)


def _show(found: Differential, table: pd.DataFrame) -> None:
    """Print what was compared and the features that differ most."""
    from rich.table import Table
    from rich.text import Text

    from cellprism.cli.common import console

    out = console()
    about = found.info
    sizes = f"{about['cells_b']:,} against {about['cells_a']:,} cells"
    out.print(f"{about['b']} against {about['a']} ({sizes}): {about['power']}", highlight=False, markup=False)
    for note in about["notes"]:
        out.print(f"  Note: {note}", highlight=False, markup=False)
    if len(found.untestable):
        out.print(
            f"  {len(found.untestable)} features with too few active cells among these are not compared (untestable.parquet)",
            highlight=False,
        )
    unit = f"over {about['unit']}s"
    shown = Table(title=f"Features that differ most, {unit}", title_justify="left")
    for title in ("feature", "name", "active share", "effect (SD)", "p", "q"):
        shown.add_column(title, justify="left" if title == "name" else "right")
    for row in table.head(10).to_dict("records"):
        share = f"{row['fraction_a']:.0%} -> {row['fraction_b']:.0%}"
        numbers = (f"{row['effect']:+.2f}", f"{row['pval']:.1e}", f"{row['qval']:.1e}")
        shown.add_row(str(row["feature"]), Text(str(row["name"])), share, *numbers)
    out.print(shown)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(differential)
