"""``cellprism run``: the whole main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellprism.cli.config_file import ConfigFile

__all__ = ["register"]

# Options that other commands have too.
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder to write; new or empty.", show_default=False)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result in the output folder.")]
ReplaceFile = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
GeneSets = Annotated[
    list[str] | None, typer.Option(help="GMT file or name of a library; may be repeated. Default: bundled.")
]
Labels = Annotated[
    list[str] | None,
    typer.Option(help="obs column to compare features with, COL, COL:category or COL:number; may be repeated."),
]
GeneSymbols = Annotated[str | None, typer.Option(help="var column with the symbols that gene sets use.")]
IdTable = Annotated[
    Path | None, typer.Option(help="Table that names genes as the gene sets do (Ensembl ids, orthologs).")
]
IdColumns = Annotated[
    str | None, typer.Option(help="Its columns, FROM,TO: names as in the data, names as in the gene sets.")
]
Ontology = Annotated[
    Path | None, typer.Option(help="OBO file: sets of its terms are shown with their level-1 ancestor.")
]
Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="collectri, progeny, or a table: regulators as evidence for names."),
]
Strata = Annotated[str | None, typer.Option(help="obs column (donor, batch) within which cells are compared.")]
Donor = Annotated[
    str | None, typer.Option(help="obs column with the donors; with three or more they are the unit of the tests.")
]
Layer = Annotated[str | None, typer.Option(help="Layer with the expression.")]
ExpressionState = Annotated[
    str | None,
    typer.Option(help="What the expression is: counts, normalised, log1p, log2 or fractions. Default: by evidence."),
]
Raw = Annotated[bool, typer.Option("--raw", help="Take the expression from .raw.")]


def run(
    data: Annotated[Path, typer.Argument(help="Cells: .h5ad, .h5mu or .zarr.", show_default=False)],
    output: Output,
    rep: Annotated[str | None, typer.Option(help="obsm key of the embedding.")] = None,
    embedding: Annotated[
        Path | None, typer.Option(help="File of the embedding: .npy, .npz, .parquet, .csv, .tsv, .pt.")
    ] = None,
    embed: Annotated[str | None, typer.Option(help="Train this embedding model here: pca, …")] = None,
    components: Annotated[int | None, typer.Option(help="Dimensions of the embedding made with --embed.")] = None,
    gene_sets: GeneSets = None,
    labels: Labels = None,
    gene_symbols: GeneSymbols = None,
    id_table: IdTable = None,
    id_columns: IdColumns = None,
    ontology: Ontology = None,
    networks: Networks = None,
    strata: Strata = None,
    donor: Donor = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="auto, reading (read off the embedding), default, or a YAML file with the fields of SAEConfig."
        ),
    ] = "auto",
    width: Annotated[int | None, typer.Option(help="Number of features.")] = None,
    k: Annotated[int | None, typer.Option(help="Active features a cell.")] = None,
    activation: Annotated[str | None, typer.Option(help="relu, topk, batchtopk, jumprelu or gated.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the cells in training.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    seeds: Annotated[int | None, typer.Option(help="SAEs of different seeds, for stability. Default: 3.")] = None,
    thin: Annotated[
        bool | None, typer.Option("--thin/--no-thin", help="Make features from one part of the counts, test the other.")
    ] = None,
    layer: Layer = None,
    raw: Raw = False,
    expression_state: ExpressionState = None,
    expression: Annotated[str, typer.Option(help="Test measured or predicted expression.")] = "measured",
    consensus: Annotated[
        bool, typer.Option("--consensus", help="Keep the features that return in most seeds.")
    ] = False,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="10 seeds in place of 3, and more candidates for the recipe.")
    ] = False,
    device: Annotated[str, typer.Option(help="Where to train: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what a stopped run into the same folder has finished.")
    ] = False,
    overwrite: Overwrite = False,
    config: ConfigFile = None,
) -> None:
    """Turn cells and an embedding into named features, and write a run folder with its report."""
    from cellprism.cli.common import name_pair, print_findings, say
    from cellprism.cli.voice import VOICE
    from cellprism.run import RunOptions
    from cellprism.run import run as execute

    choices: dict[str, Any] = {"activation": activation, "expression": expression}
    options = RunOptions(
        data=data,
        output=output,
        rep=rep,
        embedding=embedding,
        embed=embed,
        components=components,
        gene_sets=tuple(gene_sets or ("bundled",)),
        labels=tuple(labels or ()),
        gene_symbols=gene_symbols,
        id_table=id_table,
        id_columns=name_pair(id_columns),
        ontology=ontology,
        networks=tuple(networks or ()),
        strata=strata,
        donor=donor,
        recipe=recipe,
        width=width,
        k=k,
        epochs=epochs,
        seed=seed,
        seeds=seeds,
        consensus=consensus,
        thin=thin,
        layer=layer,
        raw=raw,
        expression_state=expression_state,
        preset="thorough" if thorough else "run",
        overwrite=overwrite,
        device=device,
        resume=resume,
        progress=VOICE.shows_progress,
        **choices,
    )
    print_findings(execute(options, say))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)
