"""``cellprism benchmark``: how much of a known truth each method finds."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cellprism.cli.planted import planted
from cellprism.cli.shared import Output, Overwrite

__all__ = ["SIMULATED", "register"]

SIMULATED = ("small", "reduced", "paper")
"""Presets of :data:`cellprism.recovery.PRESETS`, named here so that the command line starts without torch."""


def benchmark(
    preset: str,
    output: Output,
    seed: Annotated[
        list[int] | None, typer.Option(help="Data set and fits; may be repeated.", show_default="0")
    ] = None,
    recipe: Annotated[str, typer.Option(help="auto, or a YAML file with the fields of SAEConfig.")] = "auto",
    methods: Annotated[
        str | None,
        typer.Option(help="Names separated by commas; 'all' runs every one installed.", show_default="the preset's"),
    ] = None,
    n_cells: Annotated[
        int | None, typer.Option(help="Cells, instead of the preset's.", show_default="the preset's")
    ] = None,
    n_programs: Annotated[int | None, typer.Option(help="Programs (large simulation).", show_default="100")] = None,
    n_cell_types: Annotated[int | None, typer.Option(help="Cell types (large simulation).", show_default="40")] = None,
    n_covariates: Annotated[int | None, typer.Option(help="Batches (large simulation).", show_default="3")] = None,
    latent: Annotated[
        int | None, typer.Option(help="Dimensions of the embedding.", show_default="the preset's")
    ] = None,
    embedding: Annotated[str, typer.Option("--embed", help="autoencoder, pca or scvi.")] = "autoencoder",
    noise: Annotated[
        str | None, typer.Option(help="Sampling noise (large simulation): poisson or nb.", show_default="none")
    ] = None,
    library_size: Annotated[
        float | None, typer.Option(help="Median total count of a cell; with noise.", show_default="that of the cells")
    ] = None,
    program_correlation: Annotated[
        float | None, typer.Option(help="Correlation of programs (large simulation).", show_default="0")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Simulate cells, embed them, fit every method and score it against the truth, its null and the ceiling."""
    import dataclasses

    from cellprism.cli.common import console, say
    from cellprism.data.text import read_yaml
    from cellprism.errors import InputError
    from cellprism.recovery import METHODS, PRESETS
    from cellprism.recovery import benchmark as run
    from cellprism.recovery.benchmark import preset_of
    from cellprism.recovery.page import headline
    from cellprism.run.folder import check_output, staged

    check_output(output, overwrite=overwrite)
    size = preset_of(preset)
    if latent is not None:
        size = dataclasses.replace(size, autoencoder=dict(size.autoencoder) | {"latent": latent})
    of_large = {
        "n_programs": n_programs,
        "n_cell_types": n_cell_types,
        "n_covariates": n_covariates,
        "program_correlation": program_correlation,
        "measurement": _measurement(noise, library_size),
    }
    changes: dict[str, Any] = {name: value for name, value in of_large.items() if value is not None}
    told = {name: f"--{name.replace('_', '-')}" for name in of_large} | {"measurement": "--noise or --library-size"}
    if changes and size.simulation == "small":
        raise InputError(
            "programs, types, batches and noise belong to the large simulation",
            f"{', '.join(told[name] for name in changes)} with {preset!r}",
            "leave them out, or take reduced",
        )
    if n_cells is not None:
        changes["n_cells"] = n_cells
    names = [name for name in METHODS if METHODS[name].installed] if methods == "all" else _split(methods)
    fields = None if recipe == "auto" else read_yaml(Path(recipe))
    found = run(size, seeds=seed or [0], methods=names, recipe=fields, cells=changes, embedding=embedding, report=say)
    with staged(output, overwrite=overwrite) as folder:
        found.save(folder)
    level = PRESETS[preset].level
    out = console()
    out.print(f"\nLevel {level} on held-out cells:", highlight=False)
    out.print(headline(found, level).round(3).to_string(index=False), highlight=False, soft_wrap=True)
    out.print(f"\nTables, figures and page: {output / 'index.html'}", highlight=False, soft_wrap=True)


def _measurement(noise: str | None, library_size: float | None) -> Any:
    if noise is None and library_size is None:
        return None
    from cellprism.simulate.measurement import Measurement

    return Measurement(noise=noise or "none", library_size=library_size)  # type: ignore[arg-type]


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _of(preset: str) -> Callable[..., None]:
    """The command of one preset: :func:`benchmark` without its first argument."""

    def command(**options: Any) -> None:
        benchmark(preset, **options)

    whole = inspect.signature(benchmark, eval_str=True)
    own = whole.replace(parameters=[p for name, p in whole.parameters.items() if name != "preset"])
    command.__signature__ = own  # type: ignore[attr-defined]
    command.__doc__ = benchmark.__doc__
    return command


def register(app: typer.Typer) -> None:
    """Add the commands: one a preset, and that of planted programmes."""
    group = typer.Typer(help="How much of a known truth each method finds.", no_args_is_help=True)
    for preset in SIMULATED:
        group.command(preset)(_of(preset))
    group.command()(planted)
    app.add_typer(group, name="benchmark")
