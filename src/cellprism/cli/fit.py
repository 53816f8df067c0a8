"""``cellprism fit``: train a sparse autoencoder on an embedding, alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellprism.cli.shared import Dask, Output, Overwrite
from cellprism.cli.voice import VOICE, write_log
from cellprism.run.options import ONE_OF_THEM

if TYPE_CHECKING:
    from cellprism.run.options import RunOptions
    from cellprism.sae import Fit, SAEConfig

__all__ = ["register"]


def fit(
    embedding: Annotated[Path, typer.Argument(help="Embedding file, or cells with --rep.", show_default=False)],
    output: Output,
    rep: Annotated[str | None, typer.Option(help="obsm key, where the file holds cells.")] = None,
    width: Annotated[int | None, typer.Option(help="Number of features.")] = None,
    k: Annotated[int | None, typer.Option(help="Active features a cell.")] = None,
    activation: Annotated[str | None, typer.Option(help=ONE_OF_THEM)] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file with the fields of SAEConfig.")] = None,
    sweep: Annotated[
        Path | None,
        typer.Option(help="YAML file with `grid` or `configs`: train them all, write a table and a picture."),
    ] = None,
    memory_budget: Annotated[
        float | None,
        typer.Option(help="GiB that the models of a sweep may take together while they train.", show_default="8"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the cells.")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Cells a step, over all processes; unasked, by their number.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Folder of the training's state, from which the same command goes on.")
    ] = None,
    dictionary_shards: Annotated[
        int, typer.Option(help="Of several processes (torchrun), those over which one dictionary's features lie.")
    ] = 1,
    preset: Annotated[
        str, typer.Option(help="How much the automatic recipe tries: quick, standard or thorough.")
    ] = "standard",
    seed: Annotated[int, typer.Option(help="Fixes every random choice.")] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            help="SAEs of different seeds, with each feature's stability; the first, or with --consensus what most share, leads."
        ),
    ] = 1,
    consensus: Annotated[
        bool, typer.Option("--consensus", help="Keep the features that return in most seeds.")
    ] = False,
    dask: Dask = None,
    overwrite: Overwrite = False,
) -> None:
    """Train a sparse autoencoder and write config.json and sae.safetensors.

    Without --width, --k, --activation and --config the configuration is chosen from the embedding.
    """
    from cellprism.cli.common import say
    from cellprism.data.checks import already_told, check_embedding, remarks
    from cellprism.run.folder import check_output
    from cellprism.run.options import RunOptions
    from cellprism.sae import fit as train
    from cellprism.workers import on_workers

    one_model = {"--width": width, "--k": k, "--activation": activation, "--config": config, "--epochs": epochs}
    one_model |= {"--seeds": seeds if seeds > 1 else None, "--consensus": consensus or None}
    one_model |= {"--batch-size": batch_size, "--checkpoint": checkpoint}
    one_model |= {"--dictionary-shards": dictionary_shards if dictionary_shards > 1 else None}
    one_model |= {"--preset": preset if preset != "standard" else None}
    _refuse_twice([name for name, value in one_model.items() if value is not None], sweep, config, memory_budget)
    check_output(output, overwrite=overwrite)
    with _together() as first, on_workers(dask):
        source = load_embedding(embedding, rep)
        X = check_embedding(source.values, source.cells)
        for remark in remarks(X, source.cells):
            say(remark)
        if sweep is not None:
            room = (8 if memory_budget is None else memory_budget) * 2**30
            _sweep(X, sweep, output, seed=seed, overwrite=overwrite, memory_budget=room)
            return
        chosen: dict[str, Any] = {"width": width, "k": k, "activation": activation}
        cfg = _config(X, config, RunOptions(data=embedding, output=output, **chosen))
        asked_of_training: dict[str, Any] = {"seed": seed, "seeds": seeds, "preset": preset, "consensus": consensus}
        asked_of_training |= {"epochs": epochs, "batch_size": batch_size, "checkpoint": checkpoint}
        shows = VOICE.shows_progress and sys.stderr.isatty() and first
        with already_told(), _keeping(checkpoint):
            fitted = train(X, cfg, dictionary_shards=dictionary_shards, progress=shows, **asked_of_training)
        if first:
            _write(fitted, X, output, seed=seed, overwrite=overwrite)


def _config(X: Any, path: Path | None, asked: RunOptions) -> SAEConfig | None:
    """Config from its file or from the options; None = the automatic recipe. Says what is trained."""
    from cellprism.cli.common import say
    from cellprism.data.text import read_yaml
    from cellprism.sae import SAEConfig

    cfg = asked.sae_config(X) if path is None else SAEConfig.from_dict(read_yaml(path))
    what = "choosing a recipe" if cfg is None else f"{cfg.width} features, {cfg.activation}, k {cfg.k}"
    say(f"{len(X):,} cells x {X.shape[1]} dimensions; {what}")
    return cfg


@contextmanager
def _together() -> Iterator[bool]:
    """Train with the processes that were started with this one; the first one speaks, and alone says that they disagree."""
    from cellprism.sae.ranks.join import DisagreementError
    from cellprism.sae.ranks.start import several_processes

    with several_processes() as first:
        VOICE.quiet = VOICE.quiet or not first
        try:
            yield first
        except DisagreementError:
            if first:
                raise
            sys.exit(2)


@contextmanager
def _keeping(checkpoint: Path | None) -> Iterator[None]:
    """Say of an interrupted training what is kept."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        if checkpoint is not None and any(checkpoint.glob("*.safetensors")):
            stopped.add_note(f"The last state is in {checkpoint}: the same command goes on from it.")
        raise


def _refuse_twice(given: list[str], sweep: Path | None, config: Path | None, memory_budget: float | None) -> None:
    """Refuse options of one model beside files that say all of it; ``given`` are those that are not left out."""
    from cellprism.errors import InputError

    if sweep is None and memory_budget is not None:
        raise InputError("`--memory-budget` is of a sweep", f"{memory_budget:g} without --sweep", "leave it out")
    if sweep is not None and given:
        raise InputError(
            "`--sweep` takes the models from its file", f"{', '.join(given)} beside it", "write them into the file"
        )
    chosen = [name for name in given if name in ("--width", "--k", "--activation")]
    if config is not None and chosen:
        raise InputError(
            "`--config` takes the model from its file", f"{', '.join(chosen)} beside it", "write them into the file"
        )


def _write(fitted: Fit, X: Any, output: Path, *, seed: int, overwrite: bool) -> None:
    """Write the SAE, its history and what was measured, and say what stands out."""
    from cellprism.cli.common import console, say
    from cellprism.features.stability import fit_matches
    from cellprism.run.folder import staged
    from cellprism.run.write import recipe_records, write_json, write_landscape
    from cellprism.sae.metrics import no_description

    about = recipe_records(fitted)
    for reason in about.get("recipe", {}).get("reasons", ()):
        say(reason)
    m = fitted.metrics
    if fitted.consensus is not None:
        first = fitted.options["before_consensus"]
        say(
            f"consensus: {fitted.sae.width} of {first['n_live']:.0f} live features return in most seeds; explained variance "
            f"{first['explained_variance']:.3f} before, {m['explained_variance']:.3f} with these alone"
        )
    if poor := no_description(m["explained_variance"]):
        say(poor)
    if m["n_dead"] > m["n_live"]:
        say(
            f"{m['n_dead']:.0f} of {fitted.sae.width} features fire in no held-out cell: a smaller width, a larger k or a "
            "weaker penalty leaves fewer of them"
        )
    with staged(output, overwrite=overwrite) as folder:
        fitted.sae.save(folder)
        fitted.history.to_parquet(folder / "training.parquet", index=False)
        for i, sibling in enumerate(fitted.siblings, 1):
            sibling.save(folder / f"seed-{seed + i}")
        if fitted.siblings:
            stable, matches = fit_matches(fitted, X)
            stable.reset_index().to_parquet(folder / "stability.parquet", index=False)
            matches.to_parquet(folder / "matches.parquet", index=False)
        if fitted.consensus is not None:
            fitted.consensus.reset_index().to_parquet(folder / "consensus.parquet", index=False)
        if "landscape" in about:
            write_landscape(folder, about["landscape"])
        write_json(folder / "run.json", {"metrics": fitted.metrics, **about})
        write_log(folder)
    console().print(
        f"explained variance {m['explained_variance']:.3f}, L0 {m['l0']:.1f}, {m['n_live']:.0f} live features: {output}",
        highlight=False,
    )


def _sweep(X: Any, path: Path, output: Path, *, seed: int, overwrite: bool, memory_budget: float) -> None:
    """Train all models of a sweep file and write ``summary.parquet``, ``landscape.png`` and a folder a model."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from cellprism.cli.common import console
    from cellprism.cli.sweep import families, run_sweep
    from cellprism.data.checks import already_told
    from cellprism.data.text import read_yaml
    from cellprism.errors import InputError
    from cellprism.pl import landscape
    from cellprism.run.folder import staged
    from cellprism.sae.ranks.join import in_several

    if in_several():
        raise InputError("a sweep is trained in one process", "--sweep in several", "start it without torchrun")
    with already_told():
        table, fits = run_sweep(
            X,
            read_yaml(path),
            seed=seed,
            progress=VOICE.shows_progress and sys.stderr.isatty(),
            memory_budget=memory_budget,
        )
    with staged(output, overwrite=overwrite) as folder:
        table.to_parquet(folder / "summary.parquet", index=False)
        for i, fitted in enumerate(fits):
            fitted.sae.save(folder / f"sae-{i}")
        figure, axes = plt.subplots(figsize=(6, 4.5))
        landscape(table.assign(family=families(table)), "l0", "explained_variance", by="family", ax=axes)
        figure.savefig(folder / "landscape.png", dpi=150, bbox_inches="tight")
        plt.close(figure)
    console().print(table.to_string(index=False, float_format="{:.3g}".format), highlight=False, soft_wrap=True)


def load_embedding(path: Path, rep: str | None) -> Any:
    """Embedding from an array file, or from the ``obsm`` of a file of cells."""
    from cellprism.cli.common import say
    from cellprism.data.embedding import embedding_from_obsm, read_embedding
    from cellprism.data.read import describe_keys, read_cells
    from cellprism.data.text import cut_notes
    from cellprism.errors import InputError

    for note in cut_notes([path]):
        say(note)
    if path.suffix not in (".h5ad", ".h5mu", ".zarr"):
        if rep is not None:
            raise InputError("--rep is a key of a file of cells", f"--rep {rep} of {path.name}", "leave it out")
        return read_embedding(path)
    cells = read_cells(path, whole=False)
    if rep is None:
        raise InputError(
            "a file of cells needs --rep", f"obsm with {describe_keys(cells.obsm)}", "give one of its keys"
        )
    return embedding_from_obsm(cells, rep)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(fit)
