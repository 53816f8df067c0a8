"""``cellprism annotate``: name the features of codes that were made elsewhere or before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellprism.cli.parameters import takes
from cellprism.cli.shared import Dask, Output, Overwrite
from cellprism.features.options import EvidenceOptions, NullOptions, TableOptions
from cellprism.run.sources import SourceOptions

if TYPE_CHECKING:
    from cellprism.features.annotate import Annotation
    from cellprism.run.annotation import Sources

__all__ = ["register"]


@takes(
    SourceOptions,
    EvidenceOptions,
    NullOptions,
    TableOptions,
    leave=("association", "expression_kind", "independent"),  # the command line knows these itself
)
def annotate(
    sources: dict[str, Any],
    evidence: dict[str, Any],
    nulls: dict[str, Any],
    tables: dict[str, Any],
    codes: Annotated[
        Path,
        typer.Argument(
            help="codes.npz (scipy CSR, cells x features), .npy, or .npz, .h5ad or .zarr of encode.", show_default=False
        ),
    ],
    data: Annotated[Path, typer.Argument(help="Cells: .h5ad, .h5mu or .zarr.", show_default=False)],
    output: Output,
    rep: Annotated[
        str | None, typer.Option(help="obsm key of the embedding the codes were made from: adds random directions.")
    ] = None,
    embedding: Annotated[Path | None, typer.Option(help="The same from a file (.npy, .parquet, .csv ...).")] = None,
    seed: Annotated[int, typer.Option(help="Fixes the permutations.")] = 0,
    dask: Dask = None,
    overwrite: Overwrite = False,
) -> None:
    """Write features, genes, sets and labels tables of given codes."""
    from cellprism.cli.common import say
    from cellprism.data.embedding import given_embedding
    from cellprism.data.modalities import modalities, with_protein
    from cellprism.data.read import read_cells
    from cellprism.data.text import cut_notes
    from cellprism.genesets.match import pointing_to_columns
    from cellprism.run.annotation import annotate_with, read_sources
    from cellprism.run.codes import codes_for
    from cellprism.run.folder import check_output
    from cellprism.workers import on_workers

    tests, others = EvidenceOptions(**evidence), NullOptions(**nulls)  # checked before anything is read
    kept = TableOptions(**tables, association=True)
    check_output(output, overwrite=overwrite)
    cells, proteins = with_protein(read_cells(data, whole=False))
    if proteins is not None:
        say(proteins)
    matrix, how = codes_for(codes, cells.obs_names)
    for note in (how, *cut_notes([data, embedding])):
        say(note)
    known = read_sources(cells, SourceOptions(**sources), say)
    expression = known.expression
    say(
        f"{cells.n_obs:,} cells, {len(expression.genes):,} genes ({expression.describe()}), {matrix.shape[1]:,} features"
    )
    given = rep is not None or embedding is not None
    values = given_embedding(cells, rep, embedding).values if given else None
    with on_workers(dask), pointing_to_columns(part.var for part in modalities(cells).values()):
        found = annotate_with(known, matrix, values, evidence=tests, nulls=others, tables=kept, seed=seed)
    _write(found, known, how, output, overwrite=overwrite)


def _write(found: Annotation, known: Sources, how: str, output: Path, *, overwrite: bool) -> None:
    """Write the tables, and print shares and sizes."""
    from cellprism.cli.common import console, print_shares
    from cellprism.cli.voice import write_log
    from cellprism.run.folder import staged
    from cellprism.run.shares import share_records
    from cellprism.run.write import write_json, write_tables

    tables = ["features", "genes", "sets", "labels", *(["regulators"] if known.networks else [])]
    shares = share_records(found.shares)
    with staged(output, overwrite=overwrite) as folder:
        write_log(folder)
        write_tables(folder, {n: getattr(found, n) for n in tables})
        write_json(
            folder / "run.json",
            {
                "shares": shares,
                "annotation": found.info,
                "descriptive": True,
                "expression": "measured",
                "expression_states": known.expression.states,
                "label_columns": list(known.labels.table.columns),
                "warnings": [how, *known.notes],
            },
        )
    print_shares(shares, console())
    share = found.info["measured_share_of_set_genes"]
    console().print(
        f"{len(found.features):,} live features: {output}\n{found.info['n_sets']:,} sets tested; {share:.0%} of the set genes "
        f"are measured. p values are {found.info['pvalues']}; expression is {found.info['expression']}.",
        highlight=False,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(annotate)
