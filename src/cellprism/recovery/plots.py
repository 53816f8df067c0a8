"""Pictures of recovery; every function gives a matplotlib figure and leaves the global state of pyplot alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from cellprism.errors import InputError
from cellprism.recovery.grid import UNTRAINED
from cellprism.recovery.scores import THRESHOLDS
from cellprism.recovery.tables import ScoreTables

__all__ = [
    "blank_figure",
    "colour_of",
    "landscape",
    "landscape_by_level",
    "overview",
    "probe_against_loss",
    "save_figures",
    "sorted_recovery",
]

# Okabe-Ito: told apart by readers with any colour vision.
COLOURS = {"sae": "#0072B2", "embedding": "#E69F00", "data": "#009E73", "null": "#999999", "ceiling": "#000000"}
LEVEL_COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]


def overview(benchmark: ScoreTables, metric: str = "mean_best_abs_r", levels: Sequence[str] | None = None) -> Figure:
    """Draw a metric by method and level: a bar a method (mean over seeds), a dot a seed, a tick for its null.

    Parameters
    ----------
    benchmark
        What :func:`~cellprism.recovery.benchmark` gave.
    metric
        A column of its summary.
    levels
        Levels to show; None: those where some method has the metric.
    """
    table = benchmark.summary
    if metric not in table:
        raise InputError(
            "the metric must be a column of the summary", repr(metric), f"use one of {list(table.columns)}"
        )
    shown = [level for level in table["level"].unique() if table.loc[table["level"] == level, metric].notna().any()]
    shown = list(levels or shown)
    kinds = table.groupby("method", sort=False)["kind"].first()[::-1]
    figure = blank_figure(2.2 + 2.3 * len(shown), 0.6 + 0.26 * len(kinds))
    axes = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for ax, level in zip(axes, shown, strict=True):
        part = table[table["level"] == level]
        for y, (method, kind) in enumerate(kinds.items()):
            rows = part[part["method"] == method]
            ax.barh(y, rows[metric].mean(), color=COLOURS[kind], height=0.7, alpha=0.75)
            if len(rows) > 1:
                ax.plot(rows[metric], np.full(len(rows), y), "o", color="black", markersize=2.5, alpha=0.6)
            if f"null_{metric}" in rows:
                ax.plot([rows[f"null_{metric}"].mean()] * 2, [y - 0.4, y + 0.4], color="#D55E00", linewidth=1.5)
        ax.set_title(level, fontsize=10)
        ax.set_xlim(0, 1)
        ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(kinds)), list(kinds.index), fontsize=8)
    figure.supxlabel(f"{metric.replace('_', ' ')} (vertical mark: truth of other cells)", fontsize=9)
    return figure


def sorted_recovery(benchmark: ScoreTables, level: str, methods: Sequence[str] | None = None) -> Figure:
    """Draw the best |r| of every variable of a level, sorted, a line a method (first seed), with the probe's ceiling."""
    table = benchmark.recovery
    table = table[(table["level"] == level) & (table["seed"] == table["seed"].min())]
    figure = blank_figure(6.4, 3.8)
    ax = figure.subplots()
    kinds = benchmark.summary.groupby("method", sort=False)["kind"].first()
    for i, method in enumerate(methods or list(kinds.index[kinds != "ceiling"])):
        r = np.sort(table.loc[table["method"] == method, "best_abs_r"].dropna())[::-1]
        style = "--" if kinds[method] == "null" else "-"
        ax.plot(np.linspace(0, 1, len(r)) if len(r) > 1 else [0.5], r, style, label=method, color=colour_of(i))
    ceiling = np.sort(table.drop_duplicates("variable")["probe_abs_r"].dropna())[::-1]
    ax.plot(np.linspace(0, 1, len(ceiling)), ceiling, color="black", linewidth=2, label="linear probe")
    ax.axhline(THRESHOLDS[0], color="black", linewidth=0.6, linestyle=":")
    ax.set(
        xlabel=f"share of the variables of level {level}, best first", ylabel="best |r|", xlim=(0, 1), ylim=(0, 1.02)
    )
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(fontsize=7, frameon=False, ncols=2)
    return figure


def probe_against_loss(probes: pd.DataFrame, levels: Sequence[str] = ("X2", "X1", "X0")) -> Figure:
    """Draw the probe's R squared against the embedding model's validation loss, as in the paper.

    Parameters
    ----------
    probes
        A row an embedding and level: ``latent``, ``depth``, ``shape``, ``seed``, ``validation_loss``, ``level``, ``r2``.
    levels
        A panel each.
    """
    figure = blank_figure(1.5 + 2.8 * len(levels), 3.3)
    axes = figure.subplots(1, len(levels), sharey=True, squeeze=False)[0]
    markers = {"narrow": "o", "wide": "s"}
    latents = sorted(probes["latent"].unique())
    for ax, level in zip(axes, levels, strict=True):
        part = probes[probes["level"] == level]
        for i, latent in enumerate(latents):
            for shape, marker in markers.items():
                rows = part[(part["latent"] == latent) & (part["shape"] == shape)]
                if len(rows):
                    size = 12 + 10 * rows["depth"]
                    ax.scatter(
                        rows["validation_loss"], rows["r2"], s=size, marker=marker, color=colour_of(i), alpha=0.7
                    )
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_title(level, fontsize=10)
        ax.set_xlabel("validation loss")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("R² of a linear probe, held out")
    for i, latent in enumerate(latents):
        axes[-1].scatter([], [], color=colour_of(i), label=f"latent {latent}")
    for shape in probes["shape"].unique():
        axes[-1].scatter([], [], color="grey", marker=markers[shape], label=shape)
    axes[-1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def landscape(sweep: pd.DataFrame, x: str, metrics: Sequence[str], *, level: str, colour: str = "variant") -> Figure:
    """Draw a hyperparameter against what comes out of a sweep, a panel a metric, a dot an SAE.

    Parameters
    ----------
    sweep
        What :func:`~cellprism.recovery.sweep` gave.
    x
        Column of the hyperparameter, such as ``width``, ``l1`` or ``l0``.
    metrics
        Columns, a panel each.
    level
        Truth level of the scores.
    colour
        Column that colours the dots.
    """
    table = sweep[sweep["level"] == level]
    figure = blank_figure(1.4 + 2.6 * len(metrics), 3.0)
    axes = figure.subplots(1, len(metrics), squeeze=False)[0]
    groups = list(pd.unique(table[colour]))
    for ax, metric in zip(axes, metrics, strict=True):
        for i, group in enumerate(groups):
            rows = table[table[colour] == group].dropna(subset=[x, metric])
            ax.plot(rows[x], rows[metric], "o", color=colour_of(i), markersize=3.5, alpha=0.6, label=str(group))
        if (table[x] > 0).all() and table[x].max() > 20 * table[x].min():
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())  # a narrow panel has room for decades alone
        if metric in ("n_live", "l0", "redundant"):
            ax.set_yscale("symlog")
            ax.set_ylim(bottom=-0.3)
        ax.set(xlabel=x.replace("_", " "), title=metric.replace("_", " "))
        ax.title.set_fontsize(9)
        ax.spines[["top", "right"]].set_visible(False)
    axes[-1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def landscape_by_level(sweep: pd.DataFrame, levels: Sequence[str]) -> Figure:
    """Draw width against live features, L0, redundancy and the best correlation a truth level, as in the paper.

    Parameters
    ----------
    sweep
        What :func:`~cellprism.recovery.sweep` gave, of one embedding.
    levels
        Truth levels, a panel each; the ceiling of a linear readout is dashed black, untrained SAEs dashed red, the null of
        permuted truth dotted.

    Returns
    -------
    A row of panels a variant, a line a setting of its sparsity (L1, or active features in percent).
    """
    variants = [variant for variant in pd.unique(sweep["variant"]) if variant != UNTRAINED]
    counts = {"n_live": "live", "l0": "L0", "redundant": "redundant"}
    figure = blank_figure(1.6 + 1.75 * (len(counts) + len(levels)), 0.5 + 1.75 * len(variants))
    axes = figure.subplots(len(variants), len(counts) + len(levels), squeeze=False, sharex=True)
    for row, variant in zip(axes, variants, strict=True):
        of_variant = sweep[sweep["variant"] == variant]
        setting = "l1" if of_variant["k_percent"].isna().all() else "k_percent"
        values = sorted(of_variant[setting].unique())
        panels = [(level, "mean_best_abs_r", f"best |r|, {level}") for level in levels]
        panels = [(levels[0], metric, title) for metric, title in counts.items()] + panels
        for ax, (level, metric, title) in zip(row, panels, strict=True):
            table = of_variant[of_variant["level"] == level]
            for i, value in enumerate(values):
                line = table[table[setting] == value].groupby("width")[metric].mean()
                shade = colormaps["viridis"](0.92 * i / max(1, len(values) - 1))
                name = f"L1 {value:g}" if setting == "l1" else f"{value:g} %"
                ax.plot(line.index, line, "o-", color=shade, markersize=2.5, linewidth=1, label=name)
            ax.set_xscale("log")
            ax.xaxis.set_minor_formatter(NullFormatter())  # a narrow panel has room for decades alone
            if metric in counts:
                ax.set_yscale("symlog")
                ax.set_ylim(bottom=-0.3)
            else:
                ax.axhline(table["ceiling_mean_abs_r"].mean(), color="black", linestyle="--", linewidth=0.8)
                null = table.groupby("width")["null_mean_best_abs_r"].mean()
                ax.plot(null.index, null, ":", color="grey", linewidth=1)
                blank = sweep[(sweep["variant"] == UNTRAINED) & (sweep["level"] == level)]
                by_width = blank.groupby("width")[metric].mean()
                ax.plot(by_width.index, by_width, "--", color="#D55E00", linewidth=1)
                ax.set_ylim(0, 1.03)
            if variant == variants[0]:
                ax.set_title(title, fontsize=8)
            if variant == variants[-1]:
                ax.set_xlabel("width", fontsize=8)
            ax.tick_params(labelsize=7)
            ax.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(variant, fontsize=9)
        row[-1].legend(fontsize=6, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def save_figures(benchmark: ScoreTables, folder: Path) -> list[Path]:
    """Write a benchmark's figures as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    level = benchmark.about.get("level", benchmark.summary["level"].iloc[0])
    figures = {
        "recovery": overview(benchmark),
        f"share_over_{THRESHOLDS[0]}": overview(benchmark, f"share_over_{THRESHOLDS[0]}"),
        f"sorted_{level}": sorted_recovery(benchmark, level),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], dpi=120)
    return paths


def blank_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches that no global state knows."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def colour_of(i: int) -> Any:
    """Colour of the i-th of several lines."""
    return LEVEL_COLOURS[i] if i < len(LEVEL_COLOURS) else f"C{i}"
