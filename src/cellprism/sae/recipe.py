"""The automatic recipe: which SAE an embedding asks for, from the embedding alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from rich.progress import Progress

from cellprism.data.checks import check_embedding
from cellprism.errors import InputError
from cellprism.sae.cells import split_cells
from cellprism.sae.config import SAEConfig
from cellprism.sae.correlation import code_correlation
from cellprism.sae.fit import Fit, fit
from cellprism.sae.model import SAE

__all__ = ["PRESETS", "Preset", "Recipe", "choose_recipe", "description_length", "fit_auto"]

Preset = Literal["quick", "standard", "thorough"]

_READ_CELLS = 20_000


@dataclass(frozen=True)
class _Budget:
    cells: int
    steps: int
    widths: tuple[int, ...]  # features a dimension
    ks: tuple[int, ...]


IDENTIFIED = 0.5
"""Share of a reading's features that must return from another seed for the reading to be taken."""

PRESETS: dict[Preset, _Budget] = {
    "quick": _Budget(4_000, 250, (4,), (4, 8, 16)),
    "standard": _Budget(10_000, 500, (2, 4), (4, 8, 16, 32)),
    "thorough": _Budget(20_000, 1_000, (2, 4, 8), (4, 8, 16, 32, 64)),
}
"""Cells, steps a scout, widths and sparsities tried. ``quick`` leaves out other widths than four features a dimension;
``standard`` leaves out wide dictionaries and long scouts."""


@dataclass(frozen=True)
class Recipe:
    """What to fit, and why."""

    config: SAEConfig
    """The SAE."""
    options: dict[str, Any]
    """Training options for :func:`cellprism.fit`."""
    reasons: tuple[str, ...]
    """Sentences, for people."""
    scouts: pd.DataFrame
    """A row a candidate: ``method`` (``geometry`` or ``training``), ``width``, ``k``, ``l0``, ``explained_variance``,
    ``support_bits``, ``value_bits``, ``residual_bits``, ``bits`` (a held-out cell), ``dead_share``, ``agreement``,
    ``chosen``."""
    preset: Preset = "standard"
    """How much was tried."""
    precision: float = field(default=0.0)
    """Error variance a dimension, relative to the mean variance, down to which cells are described."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON types."""
        rows = self.scouts.astype(object).where(self.scouts.notna(), None).to_dict("records")
        return dataclasses.asdict(self) | {"config": self.config.to_dict(), "scouts": rows, "reasons": [*self.reasons]}


def description_length(sae: SAE, X: NDArray[Any], precision: float) -> dict[str, float]:
    """Bits to describe a cell down to a given precision, through an SAE.

    ``support`` is the entropy of which features are active, each by its own rate; ``values`` takes
    ``1/2 log2(1 + v / precision)`` an active feature with mean square v; ``residual`` the same of the error in each
    dimension. More features or a larger k pay only where they save more of the residual than they cost.

    Parameters
    ----------
    sae
        With decoder rows of norm 1.
    X
        (cells, d), held out.
    precision
        In the SAE's scaled units (mean variance 1).

    Returns
    -------
    ``support_bits``, ``value_bits``, ``residual_bits``, ``bits``, ``l0``, ``explained_variance``, ``dead_share``.
    """
    codes = sae.encode(X)
    n = len(X)
    count = np.bincount(codes.indices, minlength=sae.width)
    rate = ((count + 0.5) / (n + 1)).clip(1e-9, 1 - 1e-9)
    support = float(-(rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate))[count > 0].sum())
    square = np.bincount(codes.indices, weights=codes.data.astype(np.float64) ** 2, minlength=sae.width)
    values = float((count / n * np.log2(1 + square / count.clip(1) / precision) / 2).sum())
    error = np.asarray(X, dtype=np.float64) - sae.decode(codes)
    deviation = np.asarray(X, dtype=np.float64) - np.mean(X, axis=0, dtype=np.float64)
    unit = max(float(np.square(deviation).mean()), 1e-300)
    residual = float(np.log2(1 + np.square(error).mean(axis=0) / unit / precision).sum() / 2)
    return {
        "l0": codes.nnz / n,
        "explained_variance": 1 - float(np.square(error).mean()) / unit,
        "support_bits": support,
        "value_bits": values,
        "residual_bits": residual,
        "bits": support + values + residual,
        "dead_share": float((count == 0).mean()),
    }


def choose_recipe(X: ArrayLike, *, preset: Preset = "standard", seed: int = 0, progress: bool = False) -> Recipe:
    """Choose activation, width, sparsity and length for an embedding, without labels or truth.

    Candidates are (a) a dictionary read off the geometry of the embedding (:mod:`cellprism.sae.recipe_start`), whose
    width and sparsity follow from the data, and (b) short BatchTopK trainings over a grid of widths and k. The reading is
    chosen where at least half of its features return from another seed, which says that the data determine them; else the
    candidate that describes held-out cells in the fewest bits.

    Parameters
    ----------
    X
        (cells, d) array or memory map.
    preset
        ``quick``, ``standard`` or ``thorough``: see :data:`PRESETS`.
    seed
        Seed of the sample of cells and of all scouts.
    progress
        Show a bar over the candidates.

    Returns
    -------
    Recipe
        Config, options, reasons and the table of candidates.

    Raises
    ------
    InputError
        If X cannot be used or the preset is unknown.
    """
    if preset not in PRESETS:
        raise InputError("`preset` must be known", repr(preset), f"use one of {', '.join(PRESETS)}")
    X = check_embedding(X)
    budget = PRESETS[preset]
    order = np.random.default_rng(seed).permutation(len(X))
    sample = np.ascontiguousarray(X[np.sort(order[: budget.cells])], dtype=np.float32)
    more = np.ascontiguousarray(X[np.sort(order[budget.cells : _READ_CELLS])], dtype=np.float32)
    held, kept = split_cells(len(sample), 0.2, seed)
    if len(held) < 2:
        held = kept
    train, test = sample[kept], sample[held]
    # Regions need cells and reading is cheap, so it gets more of them than a scout.
    readable = np.concatenate([train, more])
    precision = _precision(train)
    candidates = _candidates(train.shape, budget)
    table, saes = [], []
    with Progress(disable=not progress, transient=True) as bar:
        task = bar.add_task("choosing a recipe", total=len(candidates))
        for config, options in candidates:
            cells = readable if config.init == "geometry" else train
            fitted = fit(cells, config, seed=seed, device="cpu", **options)
            row: dict[str, Any] = {
                "method": "geometry" if config.init == "geometry" else "training",
                "width": config.width,
                "k": config.k,
            }
            row |= description_length(fitted.sae, test, precision) | {"agreement": np.nan}
            if config.init == "geometry":
                twin = fit(cells, config, seed=seed + 1, device="cpu", **options)
                row["agreement"] = _agreement(fitted.sae, twin.sae, test)
            table.append(row)
            saes.append((config, fitted.sae))
            bar.advance(task)
    scouts = pd.DataFrame(table)
    best = _best(scouts)
    scouts["chosen"] = np.arange(len(scouts)) == best
    config = saes[best][0]
    if config.init == "geometry":
        config = dataclasses.replace(config, k=max(1, min(config.width, round(float(scouts["l0"].iloc[best])))))
    return Recipe(config, {}, _reasons(scouts, best, precision, len(sample)), scouts, preset, precision)


def fit_auto(
    X: ArrayLike,
    *,
    preset: Preset = "standard",
    seed: int = 0,
    seeds: int = 1,
    device: str = "auto",
    progress: bool = False,
    holdout: float = 0.1,
    **options: Any,
) -> Fit:
    """Choose a recipe and fit it.

    Parameters
    ----------
    X
        (cells, d) array or memory map.
    preset
        See :func:`choose_recipe`.
    seed, seeds, device, progress, holdout, options
        As :func:`cellprism.fit`; the recipe is chosen on the training cells alone.

    Returns
    -------
    Fit
        ``options["recipe"]`` holds :meth:`Recipe.to_dict`.
    """
    X = check_embedding(X)
    held, kept = split_cells(len(X), holdout, seed)
    recipe = choose_recipe(X[kept] if len(held) else X, preset=preset, seed=seed, progress=progress)
    fitted = fit(
        X,
        recipe.config,
        seed=seed,
        seeds=seeds,
        device=device,
        progress=progress,
        holdout=holdout,
        **(recipe.options | options),
    )
    return dataclasses.replace(fitted, options=fitted.options | {"recipe": recipe.to_dict()})


def _best(scouts: pd.DataFrame) -> int:
    """The reading where most of its features return from another seed, else the fewest bits.

    A dictionary that two different sets of random regions agree on is a property of the data, whatever it costs to write down;
    fewest bits alone would prefer a few features that stand for whole cell types.
    """
    returns = scouts["agreement"].fillna(0).to_numpy()
    return int(returns.argmax()) if returns.max() >= IDENTIFIED else int(scouts["bits"].argmin())


def _precision(X: NDArray[np.floating]) -> float:
    """Error down to which cells are worth describing: the variance of the least direction, within 1 % and 10 %."""
    values = np.linalg.eigvalsh(np.cov(X.T.astype(np.float64)).reshape(X.shape[1], X.shape[1]))
    return float(np.clip(values[0] / max(values.mean(), 1e-300), 0.01, 0.1))


def _candidates(shape: tuple[int, int], budget: _Budget) -> list[tuple[SAEConfig, dict[str, Any]]]:
    n, d = shape
    found: list[tuple[SAEConfig, dict[str, Any]]] = []
    if n >= 5 * d and d >= 2:
        axes = min(d, 200)
        found.append((SAEConfig(axes, activation="jumprelu", init="geometry", pre_bias="none"), {"holdout": 0.0}))
    widths = sorted({int(max(8, min(w * d, n // 10, 4096))) for w in budget.widths})
    batch = min(512, n)
    epochs = max(1, round(budget.steps * batch / n))
    for width in widths:
        for k in budget.ks:
            if k <= max(4, width // 3):
                options = {"epochs": epochs, "batch_size": batch, "holdout": 0.0, "patience": None}
                found.append((SAEConfig(width, k=min(k, width)), options))
    return found


def _agreement(sae: SAE, twin: SAE, X: NDArray[Any]) -> float:
    """Share of live features whose codes another seed gives at r > 0.9."""
    codes = sae.encode(X)
    live = np.bincount(codes.indices, minlength=sae.width) > 0
    r = code_correlation(codes, twin.encode(X)).max(axis=1).toarray().ravel()
    return float((r[live] > 0.9).mean()) if live.any() else 0.0


def _reasons(scouts: pd.DataFrame, best: int, precision: float, n: int) -> tuple[str, ...]:
    row = scouts.iloc[best]
    others = scouts.drop(index=best)
    said = [
        f"{len(scouts)} candidates were tried on {n:,} cells and compared by the bits that a held-out cell takes down to an "
        f"error of {100 * precision:.0f} % of the variance.",
        f"Chosen: {row['width']:.0f} features "
        + ("read off the geometry of the embedding" if row["method"] == "geometry" else "trained by BatchTopK")
        + f", {row['l0']:.1f} active a cell, explaining {100 * row['explained_variance']:.1f} % of held-out variance at "
        f"{row['bits']:.0f} bits a cell.",
    ]
    if len(others):
        second = others.iloc[int(others["bits"].argmin())]
        said.append(
            f"Next: {second['width']:.0f} features by {second['method']}, {second['l0']:.1f} active, "
            f"{100 * second['explained_variance']:.1f} %, {second['bits']:.0f} bits."
        )
    read = scouts.loc[scouts["method"] == "geometry", "agreement"].dropna()
    if len(read):
        share = float(read.iloc[0])
        said.append(
            f"{100 * share:.0f} % of the features read off return from another seed at r > 0.9; from {100 * IDENTIFIED:.0f} % on "
            "the reading is taken whatever its bits."
        )
    return tuple(said)
