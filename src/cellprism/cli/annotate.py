"""``cellprism annotate``: name the features of codes that were made elsewhere or before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.run import (
    Donor,
    ExpressionState,
    GeneSets,
    GeneSymbols,
    IdColumns,
    IdTable,
    Labels,
    Layer,
    Networks,
    Ontology,
    Output,
    Overwrite,
    Raw,
    Strata,
)

__all__ = ["register"]


def annotate(
    codes: Annotated[Path, typer.Argument(help="codes.npz (scipy CSR, cells x features).", show_default=False)],
    data: Annotated[Path, typer.Argument(help="Cells: .h5ad, .h5mu or .zarr.", show_default=False)],
    output: Output,
    gene_sets: GeneSets = None,
    labels: Labels = None,
    rep: Annotated[
        str | None, typer.Option(help="obsm key of the embedding the codes were made from: adds random directions.")
    ] = None,
    embedding: Annotated[Path | None, typer.Option(help="The same from a file (.npy, .parquet, .csv ...).")] = None,
    gene_symbols: GeneSymbols = None,
    id_table: IdTable = None,
    id_columns: IdColumns = None,
    ontology: Ontology = None,
    networks: Networks = None,
    strata: Strata = None,
    donor: Donor = None,
    layer: Layer = None,
    raw: Raw = False,
    expression_state: ExpressionState = None,
    seed: Annotated[int, typer.Option(help="Fixes the permutations.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write features, genes, sets and labels tables of given codes."""
    import pandas as pd

    from cellprism import genesets
    from cellprism.cli.common import console, name_pair, print_shares, say
    from cellprism.cli.voice import write_log
    from cellprism.data.arrays import read_sparse
    from cellprism.data.embedding import given_embedding
    from cellprism.data.expression import measured_expression
    from cellprism.data.modalities import with_protein
    from cellprism.data.read import read_cells
    from cellprism.data.text import cut_notes
    from cellprism.features.annotate import annotate as run_annotate
    from cellprism.run.folder import check_output, staged
    from cellprism.run.knowledge import (
        already_said,
        cell_columns,
        codes_of,
        map_names,
        nuisance_columns,
        read_networks,
        set_ancestors,
    )
    from cellprism.run.options import states
    from cellprism.run.shares import share_records
    from cellprism.run.write import write_json, write_tables

    check_output(output, overwrite=overwrite)
    matrix = read_sparse(codes, "codes are a sparse matrix written by scipy.sparse.save_npz")
    cells, proteins = with_protein(read_cells(data))
    if proteins is not None:
        say(proteins)
    matrix, how = codes_of(matrix, codes, cells.obs_names)
    columns = cell_columns(cells, labels or (), strata, donor)
    if labels:
        say(f"labels: {columns.labels.taken()}")
    networks_from = genesets.files_behind(networks or ()).values()
    for note in (how, *columns.notes, *cut_notes([embedding, id_table, ontology, *networks_from])):
        say(note)
    collections = tuple(gene_sets or ("bundled",))
    sets = genesets.load(collections, say)
    expression = measured_expression(
        cells, layer=layer, raw=raw, gene_symbols=gene_symbols, state=states(expression_state)
    )
    expression = map_names(expression, id_table, name_pair(id_columns), say)
    nuisance = nuisance_columns(expression)
    known = read_networks(networks or ())
    say(
        f"{cells.n_obs:,} cells, {len(expression.genes):,} genes ({expression.describe()}), {matrix.shape[1]:,} features"
    )
    given = rep is not None or embedding is not None
    values = given_embedding(cells, rep, embedding).values if given else None
    table = pd.concat([columns.labels.table.reset_index(drop=True), nuisance], axis=1)
    with already_said():
        found = run_annotate(
            matrix,
            expression.values,
            expression.genes,
            sets,
            labels=table if table.shape[1] else None,
            strata=columns.strata,
            donor="strata" if columns.donor is None else columns.donor,
            depth=expression.depth,
            symbols=expression.symbols,
            embedding=values,
            modality=expression.modality,
            nulls=("random", "permuted"),
            association=True,
            ancestors=set_ancestors(collections, ontology, sets),
            networks=known,
            confounds=list(nuisance.columns),
            label_kinds=columns.labels.kinds | dict.fromkeys(nuisance.columns, "number"),
            seed=seed,
        )
    tables = ["features", "genes", "sets", "labels", *(["regulators"] if known else [])]
    with staged(output, overwrite=overwrite) as folder:
        write_log(folder)
        write_tables(folder, {n: getattr(found, n) for n in tables})
        write_json(
            folder / "run.json",
            {
                "shares": share_records(found.shares),
                "annotation": found.info,
                "descriptive": True,
                "expression": "measured",
                "expression_states": expression.states,
                "label_columns": list(columns.labels.table.columns),
                "warnings": [how, *columns.notes],
            },
        )
    print_shares(share_records(found.shares), console())
    share = found.info["measured_share_of_set_genes"]
    console().print(
        f"{len(found.features):,} live features: {output}\n{found.info['n_sets']:,} sets tested; {share:.0%} of the set genes "
        f"are measured. p values are {found.info['pvalues']}; expression is {found.info['expression']}.",
        highlight=False,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(annotate)
