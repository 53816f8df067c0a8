"""``cellprism match``: which features of one run return in another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellprism.cli.parameters import takes
from cellprism.cli.shared import ReplaceFile
from cellprism.features.options import CompareOptions

__all__ = ["register"]


@takes(CompareOptions)
def match(
    given: dict[str, Any],
    first: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Another run folder.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .csv or .parquet.", show_default=False)
    ],
    others: Annotated[Path | None, typer.Option(help="The same table for the second run: .csv or .parquet.")] = None,
    page: Annotated[Path | None, typer.Option(help="Page to write (.html) that shows both runs side by side.")] = None,
    encode: Annotated[
        bool,
        typer.Option(
            "--encode",
            help="Of runs on other cells, in one model's space: encode the first's cells by the second's dictionary.",
        ),
    ] = False,
    overwrite: ReplaceFile = False,
) -> None:
    """Match the features of two runs one to one, and tell which are shared, split, merged or unique, and which by chance.

    Runs of the same cells are matched by codes; of other cells by genes or sets.
    """
    from cellprism.cli.common import console, say
    from cellprism.features.comparison import compare
    from cellprism.features.dictionary import encoded_by, folder_dictionary
    from cellprism.files import check_ending, refuse_taken
    from cellprism.options import check

    tables = [path for path in (output, others) if path is not None]
    for path in tables:
        check_ending(path, ".csv", ".parquet", what="a table")
    if page is not None:
        check_ending(page, ".html", ".htm", what="a page")
    refuse_taken(*tables, *([page] if page else []), overwrite=overwrite)
    options = CompareOptions(**given)
    check(options)
    say(f"comparing features by {options.by}")
    other = encoded_by(second, first, options.by) if encode else folder_dictionary(second, options.by)
    found = compare(folder_dictionary(first, options.by), other, options)
    _write(found.table, output, overwrite=overwrite)
    if others is not None:
        _write(found.others, others, overwrite=overwrite)
    if page is not None:
        from cellprism.report import build

        build(first, page, other=second, comparison=found, overwrite=overwrite, say=say)
    out, score = console(), found.info["score"]
    out.print(f"{len(found.table):,} features against {len(found.others):,} by {options.by}, {found.info['basis']}: {output}",
              highlight=False, soft_wrap=True)  # fmt: skip
    for which, counts in (("first", found.info["relations"]), ("second", found.info["relations_there"])):
        told = ", ".join(f"{n:,} {word}" for word, n in counts.items())
        out.print(f"  of the {which}: {told} ({score} of {found.info['level']:g} and more)", highlight=False)
    if options.permutations:
        alike, paired = (int((found.table[f"{which}_qval"] < 0.05).sum()) for which in ("best", "partner"))
        out.print(f"  of the first: {alike:,} have a counterpart that chance would not give (q < 0.05), {paired:,} of them one to "
                  "one", highlight=False, soft_wrap=True)  # fmt: skip
        few = found.few_draws
        if few:
            out.print(f"  {few}", highlight=False, soft_wrap=True)


def _write(table: Any, path: Path, *, overwrite: bool) -> None:
    from cellprism.files import replacing

    with replacing(path, overwrite=overwrite) as beside:
        if path.suffix == ".csv":
            table.to_csv(beside, index=False)
        else:
            table.to_parquet(beside, index=False)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(match)
