"""``cellprism sweep``: the paper's grids of hyperparameters, every SAE scored against the truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from cellprism.cli.shared import Dask

__all__ = ["register"]


def sweep(
    simulation: Annotated[str, typer.Argument(help="small, or large (2,000 genes, 22,000 cells).", show_default=False)],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Folder; a stopped sweep goes on with what is in it.", show_default=False),
    ],
    variants: Annotated[
        str, typer.Option(help="Among vanilla, relu, topk, batchtopk, jumprelu, separated by commas.")
    ] = "vanilla,relu,topk",
    latent: Annotated[
        list[int] | None,
        typer.Option(help="Dimensions of the embedding; may be repeated.", show_default="4; 20, 150 and 1000"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="All published learning rates instead of 1e-4.")] = False,
    short: Annotated[
        bool, typer.Option("--short", help="Three widths, 20 epochs at 1e-3 and latent 150: a look in minutes.")
    ] = False,
    n_cells: Annotated[int | None, typer.Option(help="Cells.", show_default="12,000; 22,000")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the cells.", show_default="as published")] = None,
    seed: Annotated[int, typer.Option(help="Of cells, embeddings and SAEs.")] = 0,
    dask: Dask = None,
) -> None:
    """Train the SAEs of the paper's grids on simulated cells and draw the landscapes of what they recover."""
    from cellprism.cli.common import console, say
    from cellprism.errors import InputError
    from cellprism.folder.stage import check_folder_name
    from cellprism.recovery import PRESETS, grid, sweep_embeddings
    from cellprism.recovery.grid import short as thinned
    from cellprism.workers import on_workers

    names = [name.strip() for name in variants.split(",") if name.strip()]
    if not names:
        raise InputError("a sweep needs a variant", repr(variants), "such as --variants topk")
    check_folder_name(output)
    if short and full:
        raise InputError("a sweep is either short or full", "--short and --full", "leave one out")
    trials = grid(simulation, names, full=full, epochs=epochs)  # type: ignore[arg-type]
    if short:
        trials = thinned(trials, epochs=20 if epochs is None else epochs)
    preset = PRESETS["small" if simulation == "small" else "reduced"]
    if n_cells is not None:
        held = min(int(preset.cells["held_out"]), n_cells // 5)
        preset = dataclasses.replace(preset, cells=dict(preset.cells) | {"n_cells": n_cells, "held_out": held})
    latents = latent or ([4] if simulation == "small" else [150] if short else [20, 150, 1000])
    with on_workers(dask):
        table = sweep_embeddings(preset, trials, output, latents=latents, seed=seed, report=say)
    best = (
        table[table["level"] == preset.level]
        .sort_values("mean_best_abs_r", ascending=False)
        .groupby(["latent", "variant"], sort=False)
        .head(1)[
            ["latent", "variant", "width", "l1", "k_percent", "l0", "n_live", "mean_best_abs_r", "share_over_0.95"]
        ]
    )
    out = console()
    out.print(f"\nBest of each variant at level {preset.level}, held-out cells:", highlight=False)
    out.print(best.round(4).to_string(index=False), highlight=False, soft_wrap=True)
    out.print(f"\n{len(trials) * len(latents)} SAEs: {output / 'sweep.parquet'}", highlight=False, soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(sweep)
