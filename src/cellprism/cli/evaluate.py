"""``cellprism evaluate``: what a run's features are worth, beside rivals and nulls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def evaluate(
    run_dir: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    truth: Annotated[
        list[str] | None,
        typer.Option(
            help="Column that the embedding was not told, obsm:KEY for proteins, or mod:NAME for a modality; may be "
            "repeated. "
            "Default: the labels of the run."
        ),
    ] = None,
    replicate: Annotated[
        str | None, typer.Option(help="Column of donors or replicates: choose in some, score in the others.")
    ] = None,
    within: Annotated[str | None, typer.Option(help="Column of cell types: transfer to others of both.")] = None,
    hierarchy: Annotated[
        list[str] | None,
        typer.Option(
            help="Columns from broad to narrow, A,B, or given several times, a name each: do broad features stay silent?"
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The run's data, where they have moved.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One feature beside rivals without training, and nothing else.")
    ] = False,
    spike_in: Annotated[
        int, typer.Option(help="Programmes to plant in the run's counts, to be embedded and fitted anew.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
) -> None:
    """Hold a run's features against nulls, rivals and a linear probe; writes evaluation.parquet into the folder."""
    from cellprism.cli.choose import listed
    from cellprism.cli.common import console, print_evaluation, say
    from cellprism.cli.voice import write_log
    from cellprism.evaluation.result import headline
    from cellprism.run.evaluation import evaluate_folder
    from cellprism.run.folder import RunFolder

    folder = RunFolder.open(run_dir)
    say("evaluating: probing beside rivals" + ("" if quick else ", training nulls and dictionaries of disjoint cells"))
    found = evaluate_folder(
        folder,
        truth=tuple(truth or ()),
        replicate=replicate,
        within=within,
        hierarchy=listed(hierarchy or ()),
        data=data,
        full=not quick,
        spike_in=spike_in,
        report=say,
        seed=seed,
    )
    write_log(folder.path)
    out = console()
    print_evaluation(found.table, headline(found.table, found.differences), out)
    for note in found.notes:
        out.print(f"  Note: {note}", highlight=False, markup=False)
    out.print(f"\nTable: {folder.path / 'evaluation.parquet'}", highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(evaluate)
