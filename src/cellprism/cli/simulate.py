"""``cellprism simulate``: cells whose hidden variables are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

commands = typer.Typer(
    help="Simulate cells whose hidden variables are known, as .h5ad or .zarr.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Cells = Annotated[
    Path, typer.Option("-o", "--output", help="File to write: .h5ad, .h5mu or .zarr.", show_default=False)
]
Seed = Annotated[int, typer.Option(help="Fixes the draw of the cells.")]
Replace = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]


@commands.command()
def small(
    output: Cells,
    n_cells: Annotated[int, typer.Option(help="Cells.")] = 12_000,
    held_out: Annotated[int, typer.Option(help="How many of them are marked held_out in obs['split'].")] = 2_000,
    seed: Seed = 0,
    overwrite: Replace = False,
) -> None:
    """Five genes under three regulators."""
    from cellprism.files import check_ending
    from cellprism.simulate import small as simulate

    check_ending(output, ".h5ad", ".zarr", what="a file of cells")
    _free(output, overwrite)
    _write(simulate(n_cells, held_out=held_out, seed=seed), output)


@commands.command()
def large(
    output: Cells,
    n_cells: Annotated[int, typer.Option(help="Cells.")] = 10_000,
    n_genes: Annotated[int, typer.Option(help="Genes.")] = 20_000,
    n_programs: Annotated[int, typer.Option(help="Gene programs.")] = 100,
    n_cell_types: Annotated[int, typer.Option(help="Cell types.")] = 40,
    n_covariates: Annotated[int, typer.Option(help="Batches.")] = 3,
    p_program_gene: Annotated[float, typer.Option(help="Probability that a program drives a gene.")] = 0.1,
    p_type_program: Annotated[
        float | None,
        typer.Option(help="Probability that a type expresses a program.", show_default="0.3; 0.7 with one batch"),
    ] = None,
    program_correlation: Annotated[float, typer.Option(help="Correlation of the programs of a module.")] = 0.0,
    continuous: Annotated[
        bool, typer.Option("--continuous", help="Cells along a lineage tree over the types.")
    ] = False,
    noise: Annotated[str, typer.Option(help="Sampling noise: none, poisson or nb.")] = "none",
    library_size: Annotated[
        float | None, typer.Option(help="Median total count of a cell.", show_default="that of the expression")
    ] = None,
    dropout: Annotated[float, typer.Option(help="Share of the entries set to zero.")] = 0.0,
    peaks: Annotated[int, typer.Option(help="ATAC-like peaks of a second modality; writes .h5mu.")] = 0,
    held_out: Annotated[
        int | None, typer.Option(help="Cells marked held_out in obs['split'].", show_default="a tenth, at most 2,000")
    ] = None,
    seed: Seed = 0,
    structure_seed: Annotated[int, typer.Option(help="Fixes which type expresses which program of which genes.")] = 0,
    overwrite: Replace = False,
) -> None:
    """Many cell types that express programs of genes, in batches; .zarr is written block by block, at any size."""
    from cellprism.files import check_ending, replacing
    from cellprism.simulate import large as simulate
    from cellprism.simulate import large_zarr, multiome
    from cellprism.simulate.measurement import Measurement

    check_ending(output, *((".h5mu",) if peaks else (".h5ad", ".zarr")), what="a file of cells")
    _free(output, overwrite)
    options: dict[str, Any] = {
        "n_genes": n_genes,
        "n_programs": n_programs,
        "n_cell_types": n_cell_types,
        "n_covariates": n_covariates,
        "p_program_gene": p_program_gene,
        "p_type_program": p_type_program,
        "program_correlation": program_correlation,
        "continuous": continuous,
        "structure_seed": structure_seed,
        "seed": seed,
        "held_out": held_out,
        "measurement": Measurement(noise=noise, library_size=library_size, dropout=dropout),  # type: ignore[arg-type]
    }
    if peaks:
        _write(multiome(n_cells, n_peaks=peaks, **options), output)
    elif output.suffix == ".zarr":
        with replacing(output) as beside:
            large_zarr(beside, n_cells, **options)
        _report(output, f"{n_cells:,} cells x {n_genes:,} genes")
    else:
        _write(simulate(n_cells, **options), output)


def _free(output: Path, overwrite: bool) -> None:
    """Refuse a place that is taken, before anything is drawn; what stands there is replaced by the finished cells alone."""
    from cellprism.errors import InputError
    from cellprism.files import check_place, refuse_taken

    refuse_taken(output, overwrite=overwrite)
    if output.is_dir() and any(output.iterdir()) and not (output / "uns" / "simulation").is_dir():
        raise InputError(
            "--overwrite replaces a .zarr folder that holds a simulation and no other", str(output), "name another file"
        )
    check_place(output)


def _write(cells: Any, output: Path) -> None:
    """Write beside the output's place and move it there when whole."""
    from mudata import set_options

    from cellprism.files import replacing

    with replacing(output) as beside:
        if output.suffix == ".zarr":
            import zarr
            from anndata.io import write_elem

            write_elem(zarr.open_group(beside, mode="w", zarr_format=2), "/", cells)
        else:
            with set_options(pull_on_update=False):  # the coming default of mudata
                cells.write(beside)
    _report(output, f"{cells.n_obs:,} cells x {cells.n_vars:,} features")


def _report(output: Path, size: str) -> None:
    from cellprism.cli.common import console

    console().print(f"{size}: {output}", highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="simulate")
