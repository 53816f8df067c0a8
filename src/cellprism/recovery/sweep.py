"""The paper's sweeps: many SAEs of one embedding over width, sparsity and learning rate, each scored against the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cellprism.data.checks import already_told
from cellprism.files import replacing
from cellprism.numeric import numbers_checked
from cellprism.recovery.embedding import embed
from cellprism.recovery.grid import UNTRAINED, Trial
from cellprism.recovery.parts import kept_table, same_settings
from cellprism.recovery.presets import Preset
from cellprism.recovery.scores import score
from cellprism.recovery.task import Task
from cellprism.recovery.truth import Truth

if TYPE_CHECKING:
    from cellprism.sae import SAE

__all__ = ["sweep", "sweep_embeddings"]


@numbers_checked
def sweep(
    task: Task,
    trials: Iterable[Trial],
    *,
    seed: int = 0,
    levels: Sequence[str] | None = None,
    folder: str | Path | None = None,
    batch_size: int = 128,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Train every trial and score it on the held-out cells.

    Parameters
    ----------
    task
        Cells, embedding, split and ceiling.
    trials
        From :func:`grid`, or your own.
    seed
        Of every SAE.
    levels
        Truth levels to score; None: all but Y of a large simulation, whose genes are many and near-copies of X2.
    folder
        Where finished groups are kept: a sweep that was stopped goes on from there.
    batch_size
        Cells a step.
    report
        Called with a line as each group ends.

    Returns
    -------
    A row a trial and level, and for each width the same of an SAE at its start (``variant`` ``untrained``): the fields
    of the trial, ``width``, ``seed``, ``n_live``, ``l0``, ``redundant``, and the columns of
    :attr:`~cellprism.recovery.Scores.levels`.

    Examples
    --------
    >>> from cellprism.recovery import Task
    >>> world = prism.simulate.small(900, held_out=300, seed=0)
    >>> trials = prism.recovery.grid("small", factors=[2], epochs=2)[:2]
    >>> table = prism.recovery.sweep(Task.of(world, world.X), trials)
    >>> "untrained" in set(table["variant"])
    True
    """
    if levels is None:
        levels = [name for name in task.truth.levels if name != "Y" or "X2" not in task.truth.levels]
    truth = task.held_truth.only(*levels)
    groups: dict[tuple[int, float, int], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.factor, trial.lr, trial.epochs), []).append(trial)
    parts = []
    for (factor, lr, epochs), group in groups.items():
        # Named by the trials themselves: other variants or penalties of the same width are other SAEs.
        mark = _mark([asdict(trial) for trial in group], batch_size, levels)
        name = f"width{factor}x-lr{lr:g}-epochs{epochs}-seed{seed}-{mark}.parquet"
        part, is_new = kept_table(folder, name, partial(_group, task, truth, group, seed, batch_size))
        parts.append(part)
        if report and is_new:
            report(f"width {factor} x d, lr {lr:g}, {epochs} epochs: {len(group)} SAEs")
    for factor in sorted({factor for factor, _, _ in groups}):
        name = f"untrained-width{factor}x-seed{seed}-{_mark(levels)}.parquet"
        parts.append(kept_table(folder, name, partial(_untrained, task, truth, factor, seed))[0])
    return pd.concat(parts, ignore_index=True)


def _mark(*settings: Any) -> str:
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:8]


def _untrained(task: Task, truth: Truth, factor: int, seed: int) -> pd.DataFrame:
    """What as many random features find: in few dimensions, wide dictionaries have some near any direction."""
    import torch

    from cellprism.sae import SAE, SAEConfig
    from cellprism.sae.scaling import fit_scaling

    d = task.embedding.shape[1]
    config = SAEConfig.paper("vanilla", factor * d)
    scaling = fit_scaling(task.train_embedding, config.scaling, config.whiten_power)
    sae = SAE(config, scaling, torch.Generator().manual_seed(seed))
    about = asdict(Trial("vanilla", factor, 1.0, 1)) | {"variant": UNTRAINED, "lr": 0.0, "epochs": 0}
    return _scored(sae, task, truth, about, factor * d, seed).astype({"k_percent": float})


def _group(task: Task, truth: Truth, group: list[Trial], seed: int, batch_size: int) -> pd.DataFrame:
    """Train trials of one width, learning rate and length side by side, and score them one after another."""
    from cellprism.sae import fit_many

    d = task.embedding.shape[1]
    with already_told():
        fits = fit_many(
            task.train_embedding,
            [trial.config(d) for trial in group],
            seed=seed,
            lr=group[0].lr,
            epochs=group[0].epochs,
            batch_size=batch_size,
            # As published: a constant rate, no clipping, every cell, to the end.
            warmup=0.0,
            decay=0.0,
            max_grad_norm=None,
            patience=None,
            holdout=0.0,
        )
    tables = [
        _scored(fitted.sae, task, truth, asdict(trial), trial.factor * d, seed)
        for trial, fitted in zip(group, fits, strict=True)
    ]
    return pd.concat(tables, ignore_index=True)


def _scored(sae: SAE, task: Task, truth: Truth, about: dict[str, Any], width: int, seed: int) -> pd.DataFrame:
    scores = score(sae.encode(task.held_embedding), truth, ceiling=task.ceiling, seed=seed)
    table = scores.levels.assign(
        **about, width=width, seed=seed, n_live=scores.n_live, l0=scores.l0, redundant=scores.n_redundant
    )
    return table.astype({"k_percent": float})


@numbers_checked
def sweep_embeddings(
    preset: Preset,
    trials: Sequence[Trial],
    folder: str | Path,
    *,
    latents: Sequence[int] | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Simulate, embed at several sizes, and sweep each embedding; a stopped call goes on where it was.

    Parameters
    ----------
    preset
        Cells and autoencoder.
    trials
        From :func:`~cellprism.recovery.grid.grid`.
    folder
        Gets ``sweep.parquet``, ``figures/``, and under ``parts/`` the autoencoders and the groups that are finished,
        which a second call with the same arguments takes over.
    latents
        Dimensions of the embeddings; None: the preset's.
    seed
        Of cells, autoencoders and SAEs.
    report
        Called with a line as each step ends.

    Returns
    -------
    What :func:`sweep` gives, with a column ``latent``.

    Raises
    ------
    InputError
        If the folder holds the parts of another sweep.

    Examples
    --------
    Not run by the tests: it takes minutes.

    >>> from cellprism.recovery import PRESETS
    >>> trials = prism.recovery.grid("small", factors=[2], epochs=2)
    >>> table = prism.recovery.sweep_embeddings(PRESETS["small"], trials, "sweep")  # doctest: +SKIP
    """
    folder = Path(folder)
    say = report or (lambda line: None)
    _same_sweep(folder, preset, seed)
    adata = preset.simulate(seed)
    tables = []
    for latent in latents or [preset.autoencoder["latent"]]:
        parts = folder / "parts" / f"latent{latent}"
        size = replace(preset, autoencoder=dict(preset.autoencoder) | {"latent": latent})
        embedded = embed(adata, size, seed=seed, folder=parts / "autoencoder")
        say(f"{adata.n_obs:,} cells x {adata.n_vars:,} genes; {embedded.note}")
        task = Task.of(adata, embedded.Z, seed=seed)
        tables.append(sweep(task, trials, seed=seed, folder=parts, report=say).assign(latent=latent))
    table = pd.concat(tables, ignore_index=True)
    with replacing(folder / "sweep.parquet") as beside:
        table.to_parquet(beside, index=False)
    _save_landscapes(table, preset.level, folder / "figures")
    return table


def _same_sweep(folder: Path, preset: Preset, seed: int) -> None:
    """Refuse to mix the parts of two data sets."""
    settings: dict[str, Any] = {
        "simulation": preset.simulation,
        "cells": {name: repr(value) for name, value in preset.cells.items()},
        "autoencoder": {k: v for k, v in preset.autoencoder.items() if k != "latent"},
        "seed": seed,
    }
    rule = "a sweep goes on only with the cells, autoencoder and seed it began with"
    same_settings(folder / "parts", settings, rule)


def _save_landscapes(table: pd.DataFrame, level: str, folder: Path) -> None:
    from cellprism.recovery.plots import landscape, landscape_by_level

    folder.mkdir(exist_ok=True)
    metrics = ["n_live", "l0", "redundant", "mean_best_abs_r", "share_over_0.95"]
    for latent, part in table.groupby("latent"):
        for x in ("width", "l0", "l1"):
            figure = landscape(part, x, [m for m in metrics if m != x], level=level)
            figure.savefig(folder / f"latent{latent}-{x}.png", dpi=110)
        levels = list(dict.fromkeys([level, *pd.unique(part["level"])]))
        landscape_by_level(part, levels).savefig(folder / f"latent{latent}-levels.png", dpi=110)
