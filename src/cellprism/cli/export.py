"""``cellprism export``: the features of a run as gene sets and as a weighted gene network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.shared import ReplaceFile

__all__ = ["register"]


def export(
    run_dir: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    gmt: Annotated[Path | None, typer.Option(help="GMT file to write: the up genes of each feature.")] = None,
    network: Annotated[
        Path | None, typer.Option(help="Table to write (.csv, .tsv or .parquet): source, target, weight.")
    ] = None,
    level: Annotated[float, typer.Option(help="q value that a gene must pass.")] = 0.05,
    top: Annotated[int, typer.Option(help="Most genes a feature.")] = 100,
    symbols: Annotated[bool, typer.Option("--symbols", help="Name genes by symbol.")] = False,
    overwrite: ReplaceFile = False,
) -> None:
    """Write features in forms that other tools take: gene sets (GMT) and a signed, weighted network."""
    from cellprism.cli.common import console
    from cellprism.errors import InputError
    from cellprism.features.export import NETWORK_ENDINGS, feature_network, feature_sets, write_network
    from cellprism.files import check_ending, refuse_taken
    from cellprism.genesets import write_gmt
    from cellprism.genesets.gmt import ENDINGS
    from cellprism.run.folder import RunFolder

    if gmt is None and network is None:
        raise InputError("something must be written", "neither --gmt nor --network", "give one of them, or both")
    if gmt is not None:
        check_ending(gmt, *ENDINGS, what="a GMT file")
    if network is not None:
        check_ending(network, *NETWORK_ENDINGS, what="a network")
    refuse_taken(*(path for path in (gmt, network) if path is not None), overwrite=overwrite)
    folder = RunFolder.open(run_dir)
    column = "symbol" if symbols else "gene"
    if gmt is not None:
        sets = feature_sets(folder.genes, folder.features, level=level, top=top, column=column)
        write_gmt(sets, gmt)
        console().print(f"{len(sets):,} features as gene sets: {gmt}", highlight=False, soft_wrap=True)
    if network is not None:
        table = feature_network(folder.genes, folder.features, level=level, top=top, column=column)
        write_network(table, network)
        console().print(f"{len(table):,} edges: {network}", highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)
