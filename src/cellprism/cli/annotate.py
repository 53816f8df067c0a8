"""``cellprism annotate``: name the features of codes that were made elsewhere or before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.run import (
    Donor,
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
    seed: Annotated[int, typer.Option(help="Fixes the permutations.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write features, genes, sets and labels tables of given codes."""
    import pandas as pd

    from cellprism import genesets
    from cellprism.cli.common import console, name_pair, print_shares, say
    from cellprism.data.arrays import read_sparse
    from cellprism.data.embedding import given_embedding
    from cellprism.data.expression import measured_expression
    from cellprism.data.read import read_cells
    from cellprism.features.annotate import annotate as run_annotate
    from cellprism.run.folder import staged
    from cellprism.run.knowledge import label_columns, map_names, nuisance_columns, read_networks, set_ancestors
    from cellprism.run.shares import share_records
    from cellprism.run.write import write_json, write_tables

    matrix = read_sparse(codes, "codes are a sparse matrix written by scipy.sparse.save_npz")
    cells = read_cells(data)
    obs = label_columns(cells, labels or (), strata, donor)
    collections = tuple(gene_sets or ("bundled",))
    sets = genesets.load(collections)
    expression = measured_expression(cells, layer=layer, raw=raw, gene_symbols=gene_symbols)
    expression = map_names(expression, id_table, name_pair(id_columns), say)
    nuisance = nuisance_columns(expression)
    known = read_networks(networks or ())
    say(
        f"{cells.n_obs:,} cells, {len(expression.genes):,} genes ({expression.describe()}), {matrix.shape[1]:,} features"
    )
    given = rep is not None or embedding is not None
    values = given_embedding(cells, rep, embedding)[0] if given else None
    columns = pd.concat([obs.reset_index(drop=True), nuisance], axis=1)
    found = run_annotate(
        matrix,
        expression.values,
        expression.genes,
        sets,
        labels=columns if columns.shape[1] else None,
        strata=obs[strata].astype(str).to_numpy() if strata else None,
        donor=obs[donor].astype(str).to_numpy() if donor else "strata",
        depth=expression.depth,
        symbols=expression.symbols,
        embedding=values,
        modality=expression.modality,
        nulls=("random", "permuted"),
        association=True,
        ancestors=set_ancestors(collections, ontology, sets),
        networks=known,
        confounds=[*nuisance.columns, *([strata] if strata else [])],
        kind_by=next((c for c in labels or () if isinstance(obs[c].dtype, pd.CategoricalDtype)), None),
        seed=seed,
    )
    tables = ["features", "genes", "sets", "labels", *(["regulators"] if known else [])]
    with staged(output, overwrite=overwrite) as folder:
        write_tables(folder, {n: getattr(found, n) for n in tables})
        write_json(
            folder / "run.json",
            {
                "shares": share_records(found.shares),
                "annotation": found.info,
                "descriptive": True,
                "expression": "measured",
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
