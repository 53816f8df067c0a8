"""``cellprism benchmark planted``: what is found of programmes planted in a user's own counts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellprism.cli.shared import Layer, Output, Overwrite, Raw

if TYPE_CHECKING:
    from cellprism.evaluation.planted import PlantedBenchmark

__all__ = ["planted"]


def planted(
    counts: Annotated[Path, typer.Argument(help="Cells with raw counts: .h5ad or .zarr.", show_default=False)],
    output: Output,
    embed: Annotated[
        str, typer.Option(help="Embedding model to train each time: pca, scvi, drvi, dgd, autoencoder.")
    ] = "pca",
    components: Annotated[
        int | None, typer.Option(help="Dimensions of the embedding.", show_default="the model's own")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Programmes to plant, turn by turn over the grid.")] = 90,
    per_round: Annotated[int, typer.Option(help="Programmes in the counts at the same time.")] = 15,
    genes: Annotated[
        list[int] | None, typer.Option(help="Genes of a programme; may be repeated.", show_default="30")
    ] = None,
    share: Annotated[
        list[float] | None,
        typer.Option(help="Share of the cells that have it; may be repeated.", show_default="0.03, 0.1, 0.3"),
    ] = None,
    fold: Annotated[
        list[float] | None,
        typer.Option(help="Factor on its genes; may be repeated.", show_default="1.5, 2, 3, 4, 8"),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(help="obs column to confine programmes to, such as cell types.", show_default="clusters"),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Dictionaries beside, separated by commas; 'all': also every method of the other benchmarks.",
            show_default="every rival",
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="auto, or a YAML file with the fields of SAEConfig.")] = "auto",
    held_out: Annotated[float, typer.Option(help="Share of cells that are only scored; at least 100 cells.")] = 0.3,
    thin: Annotated[bool, typer.Option("--thin", help="Embed half of the molecules, as run does.")] = False,
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    layer: Layer = None,
    raw: Raw = False,
    overwrite: Overwrite = False,
) -> None:
    """Plant programmes in your own counts, embed and fit anew, and see which are found.

    Interrupted, the same command goes on after the last round that was finished.
    """
    import shutil

    from cellprism import embed as models
    from cellprism.cli.common import say
    from cellprism.data.text import read_yaml
    from cellprism.evaluation.planted import over_grid
    from cellprism.evaluation.planted import planted as execute
    from cellprism.run.folder import check_output, staged

    check_output(output, overwrite=overwrite)
    X, names, where = _counts(counts, layer=layer, raw=raw, regions=regions)
    grid: dict[str, Any] = {"n_genes": genes, "shares": share, "folds": fold}
    programmes = over_grid(n, **{name: values for name, values in grid.items() if values})
    # Finished rounds lie beside the output until all of it is there.
    parts = output.parent / f".{output.name}.parts"
    found = execute(
        X,
        names,
        programmes,
        embed=embed,
        embed_options={} if components is None else models.dimensions(embed, components),
        thinned=thin,
        recipe=None if recipe == "auto" else read_yaml(Path(recipe)),
        methods=_names(methods),
        regions=where,
        per_round=per_round,
        held_out=held_out,
        seed=seed,
        folder=parts,
        report=say,
    )
    with staged(output, overwrite=overwrite) as folder:
        found.save(folder)
    shutil.rmtree(parts)
    _show(found, output)


def _show(found: PlantedBenchmark, output: Path) -> None:
    """Print what was found, beside the other dictionaries."""
    from cellprism.cli.common import console
    from cellprism.evaluation.found import standing

    out = console()
    out.print("\nPlanted programmes on held-out cells:", highlight=False)
    out.print(standing(found.recovery, found.summary).round(3).to_string(index=False), highlight=False, soft_wrap=True)
    for sentence in found.said:
        out.print(f"\n{sentence}", highlight=False)
    out.print(f"\nTables, figures and page: {output / 'index.html'}", highlight=False, soft_wrap=True)


def _names(methods: str | None) -> list[str] | None:
    from cellprism.evaluation.rivals import RIVALS
    from cellprism.recovery.methods import METHODS

    if methods == "all":
        rivals = [name for name, rival in RIVALS.items() if rival.installed]
        return [*rivals, *(name for name, method in METHODS.items() if method.installed)]
    return None if methods is None else [name.strip() for name in methods.split(",") if name.strip()]


def _counts(path: Path, *, layer: str | None, raw: bool, regions: str | None) -> tuple[Any, tuple[str, ...], Any]:
    """Counts, gene names and regions of a file."""
    from cellprism.data.expression import take_matrix
    from cellprism.data.modalities import modalities
    from cellprism.data.read import read_cells
    from cellprism.errors import InputError

    cells = read_cells(path)
    parts = modalities(cells)
    if len(parts) > 1 and "rna" not in parts:
        raise InputError("programmes are planted in one modality, rna", f"{', '.join(parts)}", "name it rna")
    adata = parts["rna"] if len(parts) > 1 else next(iter(parts.values()))
    matrix = take_matrix(adata, layer=layer, raw=raw)
    if regions is not None and regions not in cells.obs:
        raise InputError(
            "--regions must name a column of obs", repr(regions), f"choose among {', '.join(map(str, cells.obs))}"
        )
    return matrix.values, matrix.genes, None if regions is None else cells.obs[regions]
