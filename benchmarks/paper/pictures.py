"""Pictures of the figures' numbers, for docs/explain/paper.md: one function a figure, from its JSON alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cellprism.pl.style import CATEGORIES, GREY, bare, plain

LEVELS = ("Y", "X2", "X1", "X0", "A", "B", "T")


def superposition(found: Any) -> Figure:
    table = pd.DataFrame(found)
    depths = sorted(table["depth"].unique())
    figure = Figure(figsize=(3 * len(depths), 2.8), layout="constrained")
    for ax, depth in zip(np.atleast_1d(figure.subplots(1, len(depths), sharey=True)), depths, strict=True):
        for colour, level in zip(CATEGORIES, [v for v in LEVELS if v in set(table["level"])], strict=False):
            rows = table[(table["depth"] == depth) & (table["level"] == level)].sort_values("latent")
            ax.plot(rows["latent"].astype(str), rows["r2"], "o-", color=colour, label=level, ms=4)
        plain(ax).set(title=f"depth {depth}", xlabel="dimensions of the embedding", ylim=(0, 1.05))
    figure.axes[0].set_ylabel("R² of a linear probe")
    figure.axes[-1].legend(frameon=False, fontsize=8)
    return figure


def sweeps(found: Any) -> Figure:
    table = pd.DataFrame(found["best"])
    shown = {("small", "T"): "small: regulator scores", ("large", "X2"): "large: programs (X2)"}
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    for ax, ((simulation, level), title) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        rows = table[(table["simulation"] == simulation) & (table["level"] == level)]
        rows = rows[rows["latent"] == rows["latent"].max()].sort_values("mean_best_abs_r")
        colours = [GREY if "untrained" in v else CATEGORIES[0] for v in rows["variant"]]
        ax.barh(rows["variant"], rows["mean_best_abs_r"], color=colours)
        plain(ax).set(title=title, xlabel="mean best |r|, best of the grid", xlim=(0, 1))
    return figure


def methods(found: Any) -> Figure:
    table = pd.DataFrame(found).sort_values("mean_best_abs_r")
    figure = Figure(figsize=(6, 0.22 * len(table) + 0.8), layout="constrained")
    ax = plain(figure.subplots())
    kinds = {"paper": CATEGORIES[5], "cellprism": CATEGORIES[2], "untrained": GREY, "shuffled": GREY}
    colours = [next((c for k, c in kinds.items() if m.startswith(k)), CATEGORIES[0]) for m in table["method"]]
    ax.barh(table["method"], table["mean_best_abs_r"], color=colours)
    ax.set(xlabel="mean best |r| of the programs (X2)", xlim=(0, 1))
    ax.tick_params(axis="y", labelsize=8)
    return figure


def profiles(found: Any) -> Figure:
    kinds = ("local", "regional", "global")
    names = list(dict.fromkeys(row["dictionary"] for row in found))
    seeds = list(dict.fromkeys(row["seed"] for row in found))
    figure = Figure(figsize=(10, 2.2 * len(names)), layout="constrained")
    axes = np.atleast_2d(figure.subplots(len(names), 3, sharex=True, sharey=True))
    for row in found:
        ax = axes[names.index(row["dictionary"]), kinds.index(row["kind"])]
        colour = CATEGORIES[seeds.index(row["seed"])]
        for i, profile in enumerate(row["profiles"].values()):
            label = f"seed {row['seed']}: {row['features']} features" if i == 0 else None
            types = sorted(profile, key=lambda t: (len(t), t))
            ax.plot(types, [profile[t] for t in types], color=colour, alpha=0.8, lw=1, label=label)
        if not row["profiles"]:
            ax.plot([], [], color=colour, label=f"seed {row['seed']}: none")
        plain(ax).set_title(f"{row['dictionary']}: {row['kind']}", fontsize=9)
        ax.tick_params(axis="x", rotation=90, labelsize=7)
        ax.set_ylim(-0.05, 1.7)  # room for the legend
        ax.legend(frameon=False, fontsize=6, loc="upper right")
    for ax in axes[:, 0]:
        ax.set_ylabel("mean activation / largest", fontsize=8)
    return figure


def steering(found: Any) -> Figure:
    Z, types = np.asarray(found["embedding"]), np.asarray(found["types"])
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for ax, one in zip(figure.subplots(1, 2, sharex=True, sharey=True), found["steered"], strict=True):
        ax.scatter(*Z.T, s=2, color=GREY, linewidths=0)
        ax.scatter(
            *Z[types == one["target"]].T, s=4, color=CATEGORIES[1], linewidths=0, label=f"type {one['target']} (target)"
        )
        start, end = Z[one["cells"]], np.asarray(one["moved"])
        ax.quiver(*start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1, width=0.0015, color="#999999")
        ax.scatter(*start.T, s=4, color=CATEGORIES[0], linewidths=0, label=f"type {one['source']} (source)")
        ax.scatter(*end.T, s=4, color=CATEGORIES[5], linewidths=0, label="the same, steered")
        share = f"{one['target_share_before']:.2f} to {one['target_share_after']:.2f}"
        bare(ax).set_title(f"{one['kind']} feature {one['feature']}: target among neighbours {share}", fontsize=9)
    figure.axes[0].legend(frameon=False, fontsize=7, markerscale=2)
    return figure


def models(found: Any) -> Figure:
    order = ("shared", "split", "merged", "mixed", "unclear", "unique", "silent")
    figure = Figure(figsize=(6, 2), layout="constrained")
    ax = plain(figure.subplots())
    sides = {"principal components": found["relations"], "autoencoder": found["relations_there"]}
    left = np.zeros(2)
    for colour, name in zip([*CATEGORIES[:5], "#777777", GREY], order, strict=True):
        sizes = np.array([side.get(name, 0) for side in sides.values()])
        ax.barh(list(sides), sizes, left=left, color=colour, label=name)
        left += sizes
    ax.set(xlabel="features, by what became of their terms in the other model")
    ax.legend(frameon=False, fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.45, 1))
    return figure


PICTURES: dict[str, Callable[[Any], Figure]] = {
    "superposition": superposition, "sweeps": sweeps, "methods": methods, "profiles": profiles, "steering": steering, "models": models,
}  # fmt: skip


def draw(name: str, found: Any, path: Path) -> None:
    """Write the picture of a figure, if it has one, into a file."""
    if name in PICTURES:
        figure = PICTURES[name](found)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=90)
