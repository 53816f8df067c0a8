"""The paper's sweeps: many SAEs of one embedding over width, sparsity and learning rate, each scored against the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import pandas as pd

from cellprism.errors import InputError
from cellprism.recovery.scores import score
from cellprism.recovery.task import Task
from cellprism.recovery.truth import Truth

if TYPE_CHECKING:
    from cellprism.sae import SAEConfig

__all__ = ["Trial", "Variant", "grid", "sweep"]

Variant = Literal["vanilla", "relu", "topk", "batchtopk", "jumprelu"]

PAPER_VARIANTS: tuple[Variant, ...] = ("vanilla", "relu", "topk")
SMALL_FACTORS = (2, 5, 10, 20, 50, 100, 200, 1000)
LARGE_FACTORS = (5, 10, 20, 50, 100, 200)
SMALL_EPOCHS = {1e-2: 100, 1e-3: 500, 1e-4: 750, 1e-5: 1000}
SMALL_L1 = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
LARGE_L1 = (1e-2, 1e-3, 1e-4, 1e-5)
K_PERCENT = (1, 5, 10, 20, 50, 75, 100)


@dataclass(frozen=True)
class Trial:
    """One SAE of a sweep."""

    variant: Variant
    """``vanilla``, ``relu``, ``topk`` as published; ``batchtopk``, ``jumprelu`` with this package's defaults."""
    factor: int
    """Features a dimension of the embedding."""
    lr: float
    """Adam's learning rate."""
    epochs: int
    """Passes over the training cells."""
    l1: float = 0.0
    """Weight of the published sparsity penalty (vanilla, relu, topk)."""
    k_percent: float | None = None
    """Active features in percent of the width (topk, batchtopk, jumprelu)."""

    def config(self, d: int) -> SAEConfig:
        """Give the SAE's config for an embedding of d dimensions."""
        from cellprism.sae import SAEConfig

        width = self.factor * d
        k = max(1, round(width * (self.k_percent or 5) / 100))
        if self.variant == "batchtopk":
            return SAEConfig(width, activation="batchtopk", k=k)
        if self.variant == "jumprelu":
            return SAEConfig(width, activation="jumprelu", k=k, l0=1e-2)
        return SAEConfig.paper(self.variant, width, l1=self.l1, k_percent=self.k_percent)


def grid(
    simulation: Literal["small", "large"],
    variants: Sequence[Variant] = PAPER_VARIANTS,
    *,
    full: bool = False,
    factors: Sequence[int] | None = None,
    epochs: int | None = None,
) -> list[Trial]:
    """List the trials of a sweep of the paper.

    Parameters
    ----------
    simulation
        ``small``: widths 2 to 1,000 times the dimension, L1 from 0.1 to 1e-5; ``large``: 5 to 200 times, 0.01 to 1e-5.
    variants
        SAE variants; topk takes the published percents at L1 1e-3, batchtopk and jumprelu those up to 50.
    full
        All published learning rates (with 100 to 1,000 epochs on the small simulation); else 1e-4 with 500 epochs.
    factors, epochs
        Instead of the published ones.

    Raises
    ------
    InputError
        If the simulation or a variant is unknown.
    """
    unknown = [v for v in variants if v not in get_args(Variant)]
    if simulation not in ("small", "large") or unknown:
        raise InputError(
            "a grid is of the small or the large simulation, over " + ", ".join(get_args(Variant)),
            f"{simulation!r}, {unknown}",
            "correct the names",
        )
    rates = {1e-4: 500}
    if full:
        rates = SMALL_EPOCHS if simulation == "small" else {1e-3: 500, 1e-4: 500, 1e-5: 500}
    penalties = SMALL_L1 if simulation == "small" else LARGE_L1
    trials = []
    for variant, factor, (lr, length) in product(
        variants, factors or (SMALL_FACTORS if simulation == "small" else LARGE_FACTORS), rates.items()
    ):
        length = epochs or length
        if variant in ("vanilla", "relu"):
            trials += [Trial(variant, factor, lr, length, l1=l1) for l1 in penalties]
        else:
            percents = K_PERCENT if variant == "topk" else tuple(p for p in K_PERCENT if p <= 50)
            l1 = 1e-3 if variant == "topk" else 0.0
            trials += [Trial(variant, factor, lr, length, l1=l1, k_percent=p) for p in percents]
    return trials


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
    A row a trial and level: the fields of the trial, ``width``, ``seed``, ``n_live``, ``l0``, ``redundant``, and the columns of
    :attr:`~cellprism.recovery.Scores.levels`.
    """
    if levels is None:
        levels = [name for name in task.truth.levels if name != "Y" or "X2" not in task.truth.levels]
    truth = task.held_truth.only(*levels)
    groups: dict[tuple[int, float, int], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.factor, trial.lr, trial.epochs), []).append(trial)
    parts = []
    for (factor, lr, epochs), group in groups.items():
        name = f"width{factor}x-lr{lr:g}-epochs{epochs}-{len(group)}-seed{seed}.parquet"
        kept = None if folder is None else Path(folder) / name
        if kept is not None and kept.is_file():
            parts.append(pd.read_parquet(kept))
            continue
        part = _group(task, truth, group, seed, batch_size)
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            partial = kept.with_suffix(".partial")
            part.to_parquet(partial, index=False)
            partial.rename(kept)
        parts.append(part)
        if report:
            report(f"width {factor} x d, lr {lr:g}, {epochs} epochs: {len(group)} SAEs")
    return pd.concat(parts, ignore_index=True)


def _group(task: Task, truth: Truth, group: list[Trial], seed: int, batch_size: int) -> pd.DataFrame:
    """Train trials of one width, learning rate and length side by side, and score them one after another."""
    from cellprism.sae import fit_many

    d = task.embedding.shape[1]
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
    tables = []
    for trial, fitted in zip(group, fits, strict=True):
        scores = score(fitted.sae.encode(task.held_embedding), truth, ceiling=task.ceiling, seed=seed)
        tables.append(
            scores.levels.assign(
                **asdict(trial),
                width=trial.factor * d,
                seed=seed,
                n_live=scores.n_live,
                l0=scores.l0,
                redundant=scores.n_redundant,
            )
        )
    table = pd.concat(tables, ignore_index=True)
    return table.astype({"k_percent": float})
