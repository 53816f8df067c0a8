"""Simulate, embed, fit every method, score: the whole comparison as two tables."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.recovery.embedding import embed
from cellprism.recovery.methods import METHODS, codes_of
from cellprism.recovery.presets import PRESETS, Preset
from cellprism.recovery.scores import THRESHOLDS, Scores, score
from cellprism.recovery.tables import ScoreTables
from cellprism.recovery.task import Task

__all__ = ["Benchmark", "benchmark", "compare", "method_tables", "preset_of", "stacked", "told"]

RECOVERY_COLUMNS = [
    "method",
    "seed",
    "level",
    "variable",
    "best_abs_r",
    "matched_r",
    "null_best_abs_r",
    "n_features",
    "best_abs_r_visible",
    "null_best_abs_r_visible",
    "auroc",
    "null_auroc",
    "probe_r2",
    "probe_abs_r",
    "probe_r2_visible",
    "probe_abs_r_visible",
    "visible_fraction",
]


@dataclass(frozen=True, repr=False)
class Benchmark(ScoreTables):
    """Scores of several methods on the same cells, which can be written down with figures and a page."""

    def save(self, folder: str | Path) -> None:
        """Write ``recovery.parquet``, ``summary.parquet``, ``run.json``, ``figures/`` and ``index.html``."""
        from cellprism.recovery.page import write_page  # they import matplotlib
        from cellprism.recovery.plots import save_figures

        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        self.recovery.to_parquet(out / "recovery.parquet", index=False)
        self.summary.to_parquet(out / "summary.parquet", index=False)
        (out / "run.json").write_text(json.dumps(self.about, indent=1), encoding="utf-8")
        figures = save_figures(self, out / "figures")
        write_page(self, figures, out / "index.html")


@numbers_checked
def benchmark(
    preset: str | Preset,
    *,
    seeds: Sequence[int] = (0,),
    methods: Sequence[str] | None = None,
    recipe: Mapping[str, Any] | None = None,
    cells: Mapping[str, Any] | None = None,
    embedding: str = "autoencoder",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    report: Callable[[str], None] | None = None,
) -> Benchmark:
    """Run a benchmark.

    Parameters
    ----------
    preset
        ``small``, ``reduced``, ``paper``, or one of your own.
    seeds
        A data set, embedding and fit of every method for each; the structure of the large simulation stays the same.
    methods
        Names in :data:`~cellprism.recovery.METHODS`; None: those of the preset.
    recipe
        SAE config for the method ``cellprism``; None: the automatic recipe.
    cells
        Changed arguments of the simulation, such as ``{"n_programs": 250}``.
    embedding
        ``autoencoder`` (the paper's), ``pca`` or ``scvi``; see :func:`~cellprism.recovery.embedding.embed`.
    options
        Changed options of single methods.
    report
        Called with a line as each step ends.

    Returns
    -------
    Scores a variable and a level.

    Raises
    ------
    InputError
        If the preset or a method is unknown, or the package of a named method is missing.

    Examples
    --------
    >>> found = prism.recovery.benchmark(
    ...     "small", methods=["pca-data", "probe"], cells={"n_cells": 600, "held_out": 200}
    ... )
    >>> sorted(set(found.summary["method"]))
    ['pca-data', 'probe']
    """
    size = preset if isinstance(preset, Preset) else preset_of(preset)
    names = tuple(methods or size.methods)
    _check(names)
    say = report or (lambda line: None)
    wanted = {name: dict(size.options.get(name, {})) | dict((options or {}).get(name, {})) for name in names}
    if recipe is not None:
        wanted["cellprism"] = wanted.get("cellprism", {}) | {"recipe": dict(recipe)}
    parts, timings = [], []
    for seed in seeds:
        started = time.perf_counter()
        adata = size.simulate(seed, **(cells or {}))
        simulated = time.perf_counter()
        embedded = embed(adata, size, embedding, seed=seed)
        task = Task.of(adata, embedded.Z, seed=seed)
        timings.append({"seed": int(seed), "simulate": simulated - started, "embed": time.perf_counter() - simulated})
        say(
            f"seed {seed}: {adata.n_obs:,} cells x {adata.n_vars:,} genes; {embedded.note} "
            f"({time.perf_counter() - started:.0f} s)"
        )
        parts.append(compare(task, names, seed=seed, options=wanted, report=say))
    about = {
        "preset": next((name for name, known in PRESETS.items() if known is size), "custom"),
        "seeds": [int(seed) for seed in seeds],
        "level": size.level,
        "cells": _plain(dict(size.cells) | dict(cells or {})),
        "embedding": embedding,
        "autoencoder": dict(size.autoencoder),
        "methods": {name: _plain(wanted[name]) for name in names},
        "timings": timings,
        "versions": {package: version(package) for package in ("numpy", "scipy", "scikit-learn", "torch")},
    }
    return Benchmark(
        pd.concat([part.recovery for part in parts], ignore_index=True),
        pd.concat([part.summary for part in parts], ignore_index=True),
        about,
    )


@numbers_checked
def compare(
    task: Task,
    methods: Sequence[str],
    *,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    report: Callable[[str], None] | None = None,
) -> Benchmark:
    """Run methods on cells and an embedding that are already there, and score them on the held-out cells.

    Parameters
    ----------
    task
        Cells, embedding, split and ceiling.
    methods
        Names in :data:`~cellprism.recovery.METHODS`.
    seed
        Of every method.
    options
        Options of single methods.
    report
        Called with a line as each method ends.

    Returns
    -------
    Scores a variable and a level.

    Examples
    --------
    >>> from cellprism.recovery import Task
    >>> world = prism.simulate.small(900, held_out=300, seed=0)
    >>> found = prism.recovery.compare(Task.of(world, world.X), ["pca-data"])
    >>> found.summary["method"].unique().tolist()
    ['pca-data']
    """
    _check(methods)
    rows, levels = [], []
    truth = task.held_truth
    for name in methods:
        started = time.perf_counter()
        codes = codes_of(name, task, seed, **(options or {}).get(name, {}))
        seconds = time.perf_counter() - started
        scores = score(codes, truth, ceiling=task.ceiling, seed=seed)
        per_variable, per_level = method_tables(name, METHODS[name].kind, scores, seed=seed, seconds=seconds)
        rows.append(per_variable)
        levels.append(per_level)
        if report:
            report(told(name, scores, seconds))
    return Benchmark(stacked(rows), stacked(levels))


def method_tables(
    name: str, kind: str, scores: Scores, *, seed: int, seconds: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of one method as rows of :attr:`Benchmark.recovery` and of :attr:`Benchmark.summary`."""
    table = scores.levels.assign(
        method=name,
        seed=seed,
        kind=kind,
        n_features=scores.n_features,
        n_live=scores.n_live,
        l0=scores.l0,
        redundant=scores.n_redundant,
        seconds=seconds,
    )
    lead = ["method", "seed", "level", f"share_over_{THRESHOLDS[0]}", "mean_best_abs_r", "mcc", "n_live", "l0"]
    lead += ["redundant", "seconds"]
    variables = scores.variables.assign(method=name, seed=seed)[RECOVERY_COLUMNS]
    return variables, table[[*lead, *(c for c in table.columns if c not in lead)]]


def told(name: str, scores: Scores, seconds: float) -> str:
    """One line on a method, for people who wait."""
    columns = ("level", "mean_best_abs_r", f"share_over_{THRESHOLDS[0]}")
    triples = zip(*(scores.levels[column] for column in columns), strict=True)
    shown = ", ".join(f"{level} {r:.2f} ({100 * share:.0f} %)" for level, r, share in triples)
    return f"{name}: mean best |r| (share over {THRESHOLDS[0]}) {shown}; {seconds:.1f} s"


def preset_of(name: str) -> Preset:
    """Find a preset by its name."""
    if name not in PRESETS:
        raise InputError("a benchmark must be one of " + ", ".join(PRESETS), repr(name), "choose one of them")
    return PRESETS[name]


def _check(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names:
        raise InputError("`methods` must be among " + ", ".join(METHODS), str(unknown or "none"), "correct the names")
    missing = [name for name in names if not METHODS[name].installed]
    if missing:
        packages = ", ".join(str(METHODS[name].package) for name in missing)
        raise InputError(
            f"{', '.join(missing)} need optional packages",
            f"no {packages}",
            "pip install 'cellprism[bench]', or leave these methods out",
        )


def stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Concatenate by column: columns that are all NaN in one table must not change the type of the whole."""
    return pd.DataFrame({c: np.concatenate([t[c].to_numpy() for t in tables]) for c in tables[0].columns})


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
