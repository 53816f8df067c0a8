"""``cellprism annotate``: name the features of codes that were made elsewhere or before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.run import Output, Overwrite

__all__ = ["register"]


def annotate(
    codes: Annotated[Path, typer.Argument(help="codes.npz (scipy CSR, cells x features).", show_default=False)],
    data: Annotated[Path, typer.Argument(help="Cells: .h5ad, .h5mu or .zarr.", show_default=False)],
    output: Output,
    gene_sets: Annotated[list[str] | None, typer.Option(help="GMT file or name of a library; may be repeated.")] = None,
    labels: Annotated[list[str] | None, typer.Option(help="obs column; may be repeated.")] = None,
    gene_symbols: Annotated[str | None, typer.Option(help="var column with gene symbols.")] = None,
    strata: Annotated[str | None, typer.Option(help="obs column within which cells are compared.")] = None,
    layer: Annotated[str | None, typer.Option(help="Layer with the expression.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Take the expression from .raw.")] = False,
    seed: Annotated[int, typer.Option(help="Fixes the permutations.")] = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write features, genes, sets and labels tables of given codes."""
    import zipfile

    import scipy.sparse as sp

    from cellprism import genesets
    from cellprism.cli.common import console, say
    from cellprism.data.expression import measured_expression
    from cellprism.data.read import describe_keys, read_cells
    from cellprism.errors import InputError
    from cellprism.features.annotate import annotate as run_annotate
    from cellprism.run.folder import staged
    from cellprism.run.shares import share_records
    from cellprism.run.write import write_json, write_tables

    try:
        matrix = sp.csr_array(sp.load_npz(codes))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            "codes are a sparse matrix written by scipy.sparse.save_npz", f"{codes}: {error}", "check the path"
        ) from error
    cells = read_cells(data)
    for column in [*(labels or []), *([strata] if strata else [])]:
        if column not in cells.obs:
            raise InputError(
                "the column must exist in obs", f"{column!r}; there are {describe_keys(cells.obs)}", "give one"
            )
    expression = measured_expression(cells, layer=layer, raw=raw, gene_symbols=gene_symbols)
    say(
        f"{cells.n_obs:,} cells, {len(expression.genes):,} genes ({expression.describe()}), {matrix.shape[1]:,} features"
    )
    found = run_annotate(
        matrix,
        expression.values,
        expression.genes,
        genesets.load(tuple(gene_sets or ("bundled",))),
        labels=cells.obs[list(labels)].reset_index(drop=True) if labels else None,
        strata=cells.obs[strata].astype(str).to_numpy() if strata else None,
        symbols=expression.symbols,
        modality=expression.modality,
        nulls=("permuted",),
        seed=seed,
    )
    with staged(output, overwrite=overwrite) as folder:
        write_tables(folder, {n: getattr(found, n) for n in ("features", "genes", "sets", "labels")})
        write_json(
            folder / "run.json",
            {
                "shares": share_records(found.shares),
                "annotation": found.info,
                "descriptive": True,
                "expression": "measured",
            },
        )
    share = found.info["measured_share_of_set_genes"]
    console().print(
        f"{len(found.features):,} live features: {output}\n{found.info['n_sets']:,} sets tested; {share:.0%} of the set genes "
        f"are measured. p values are {found.info['pvalues']}; expression is {found.info['expression']}.",
        highlight=False,
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(annotate)
