"""``cellprism match``: which features of one run return in another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.shared import ReplaceFile

__all__ = ["register"]


def match(
    first: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Run folder of the same cells.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .csv or .parquet.", show_default=False)
    ],
    encode: Annotated[
        bool,
        typer.Option(
            "--encode",
            help="Of runs on other cells, in one model's space: encode the first's cells by the second's dictionary.",
        ),
    ] = False,
    overwrite: ReplaceFile = False,
) -> None:
    """Match the features of two runs by the correlation of their codes of the same cells."""
    import numpy as np
    import pandas as pd

    from cellprism.cli.common import console
    from cellprism.errors import InputError
    from cellprism.features.matching import match as match_codes
    from cellprism.files import refuse_taken, replacing
    from cellprism.run.folder import RunFolder
    from cellprism.sae import load

    if output.suffix not in (".csv", ".parquet"):
        raise InputError("the table is written as .csv or .parquet", str(output), "give a name that ends so")
    refuse_taken(output, overwrite=overwrite)
    a, b = RunFolder.open(first), RunFolder.open(second)
    codes = load(second).encode(a.embedding) if encode else b.codes
    cells = pd.Index(a.cells["cell"] if encode else b.cells["cell"])
    rows = cells.get_indexer(pd.Index(a.cells["cell"]))
    shared = np.flatnonzero(rows >= 0)
    if len(shared) < 20:
        raise InputError(
            "two runs are matched on the cells they share, at least 20",
            f"{len(shared)} shared of {len(rows)} and {len(b.cells)}",
            "run both models on the same cells, with the same cell names; of runs with one embedding model, give --encode",
        )
    found = match_codes(a.codes[shared], codes[rows[shared]])
    table = a.features[["feature", "name"]].copy()
    other = b.features.set_index("feature")["name"]
    for what, partner, correlation in (
        ("best", found.best, found.best_correlation),
        ("partner", found.partner, found.partner_correlation),
    ):
        table[f"{what}_feature"] = partner[table["feature"]]
        table[f"{what}_name"] = other.reindex(table[f"{what}_feature"]).to_numpy()
        table[f"{what}_correlation"] = correlation[table["feature"]]
    with replacing(output, overwrite=overwrite) as beside:
        if output.suffix == ".csv":
            table.to_csv(beside, index=False)
        else:
            table.to_parquet(beside, index=False)
    share = float((table["partner_correlation"] > 0.7).mean())
    console().print(
        f"{len(shared):,} shared cells; {share:.0%} of {len(table):,} features have a one-to-one partner at r > 0.7: {output}",
        highlight=False,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(match)
