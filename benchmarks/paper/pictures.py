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

LEVELS = {
    "X2": "programs as the cell uses them (X2)", "X1": "programs with batch noise (X1)", "X0": "programs, unmasked (X0)",
    "A": "cell type (A)", "B": "batch (B)",
}  # fmt: skip


def superposition(found: Any) -> Figure:
    table = pd.DataFrame(found)
    depths = sorted(table["depth"].unique())
    figure = Figure(figsize=(3 * len(depths), 3.2), layout="constrained")
    for ax, depth in zip(np.atleast_1d(figure.subplots(1, len(depths), sharey=True)), depths, strict=True):
        for colour, level in zip(CATEGORIES, LEVELS, strict=False):
            for shape, line in {"narrow": "-", "wide": ":"}.items():
                mine = (table["depth"] == depth) & (table["level"] == level) & (table["shape"] == shape)
                rows = table[mine].sort_values("latent")
                label = LEVELS[level] if shape == "narrow" else None
                ax.plot(rows["latent"].astype(str), rows["r2"], f"o{line}", color=colour, label=label, ms=4)
        plain(ax).set(title=f"depth {depth}", xlabel="dimensions of the embedding", ylim=(0, 1.05))
    figure.axes[0].set_ylabel("R² of a linear probe")
    handles, words = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, words, frameon=False, fontsize=8, ncols=3, loc="outside upper center")
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
    groups = {
        "the paper's SAE": (CATEGORIES[5], ("paper-",)), "cellprism": (CATEGORIES[2], ("cellprism",)),
        "knows the truth": (CATEGORIES[3], ("probe",)), "learned nothing": (GREY, ("untrained", "shuffled")),
        "others": (CATEGORIES[0], ("",)),
    }  # fmt: skip
    of_method = [next(g for g, (_, starts) in groups.items() if m.startswith(starts)) for m in table["method"]]
    places = np.arange(len(table))
    for group, (shade, _) in groups.items():
        mine = np.array([g == group for g in of_method])
        ax.barh(places[mine], table["mean_best_abs_r"].to_numpy()[mine], color=shade, label=group)
    ax.set_yticks(places, table["method"])
    ax.set(xlabel="mean best |r| of the programs (X2)", xlim=(0, 1), ylim=(-0.6, len(table) - 0.4))
    ax.legend(frameon=False, fontsize=8, loc="lower right")
    ax.tick_params(axis="y", labelsize=8)
    return figure


def kinds(found: Any) -> Figure:
    shades = {"local": CATEGORIES[0], "regional": CATEGORIES[1], "global": CATEGORIES[2], "dead": GREY}
    names = list(dict.fromkeys(row["dictionary"] for row in found))
    figure = Figure(figsize=(4.2 * len(names), 2.9), layout="constrained")
    for ax, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        bars = []
        for row in (row for row in found if row["dictionary"] == name):
            bars += [(f"seed {row['seed']}", row["kinds"]), ("random directions", row["random"])]
        places = [i + 0.25 * (i % 2 == 0) for i in range(len(bars))]  # each null close below its dictionary
        left = np.zeros(len(bars))
        for kind, shade in shades.items():
            shares = np.array([counts.get(kind, 0) / sum(counts.values()) for _, counts in bars])
            ax.barh(places, shares, left=left, color=shade, label=kind, height=0.7)
            left += shares
        ax.set_yticks(places, [words for words, _ in bars], fontsize=8)
        ax.invert_yaxis()
        width = next(row["width"] for row in found if row["dictionary"] == name)
        l0 = np.mean([row["l0"] for row in found if row["dictionary"] == name])
        plain(ax).set_title(f"{name}: {width:,} features, {l0:,.0f} active a cell", fontsize=9)
        ax.set(xlabel="share of features", xlim=(0, 1))
    handles, words = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, words, frameon=False, fontsize=8, ncols=4, loc="outside upper center")
    return figure


def terms(found: Any) -> Figure:
    figure = Figure(figsize=(11, 3.5 * len(found)), layout="constrained")
    axes = np.atleast_2d(figure.subplots(len(found), 3, width_ratios=[1.2, 1, 1]))
    common = pd.Series([a for one in found for a in one["ancestors"] if a]).value_counts().index[: len(CATEGORIES)]
    for row, one in zip(axes, found, strict=True):
        flat, words = np.asarray(one["map"]), np.array(one["ancestors"], dtype=object)
        size = float(np.clip(6000 / max(len(flat), 1), 3, 30))
        for name, shade in [*zip(common, CATEGORIES, strict=False), ("other or not known", GREY)]:
            mine = words == name if name in common else ~np.isin(words, common)
            if mine.any():
                row[0].scatter(*flat[mine].T, s=size, color=shade, linewidths=0, label=name)
        bare(row[0]).set_title(f"{one['embedding']}: {one['with_terms']:,} of {one['features']:,} features", fontsize=9)
        row[0].legend(frameon=False, fontsize=7, markerscale=2, loc="upper left", bbox_to_anchor=(0, 0), ncols=3)
        counts = one["counts"]
        row[1].hist(counts, bins=np.geomspace(1, max(2, *counts) + 1, 21), color=CATEGORIES[0])
        plain(row[1]).set(xscale="log", xlabel="terms a feature", ylabel="features")
        row[2].barh(list(one["words"]), list(one["words"].values()), color=CATEGORIES[0])
        row[2].invert_yaxis()
        plain(row[2]).set(xlabel="features with a term of that word")
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
        ax.set(ylim=(-0.05, 1.7), yticks=[0, 0.5, 1])  # room for the legend
        ax.legend(frameon=False, fontsize=6, loc="upper right")
    for ax in axes[:, 0]:
        ax.set_ylabel("mean activation / largest", fontsize=8)
    figure.supxlabel("cell type", fontsize=9)
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
        ax.scatter(
            *start.T,
            s=14,
            facecolors="none",
            edgecolors=CATEGORIES[0],
            linewidths=0.7,
            label=f"type {one['source']} (source)",
        )
        ax.scatter(*end.T, s=4, color=CATEGORIES[5], linewidths=0, label="the same, steered")
        share = f"{one['target_share_before']:.3f} to {one['target_share_after']:.3f}"
        bare(ax).set(xlabel="principal component 1", ylabel="principal component 2")
        ax.set_title(f"{one['kind']} feature {one['feature']}: target among neighbours {share}", fontsize=9)
    figure.axes[0].legend(frameon=False, fontsize=7)
    return figure


def models(found: Any) -> Figure:
    order = ("shared", "split", "merged", "mixed", "unclear", "unique", "silent")
    figure = Figure(figsize=(6.6, 2), layout="constrained")
    ax = plain(figure.subplots())
    sides = dict(zip(found["names"], (found["relations"], found["relations_there"]), strict=True))
    left = np.zeros(2)
    for colour, name in zip([*CATEGORIES[:5], "#777777", GREY], order, strict=True):
        sizes = np.array([side.get(name, 0) for side in sides.values()])
        ax.barh(list(sides), sizes, left=left, color=colour, label=name)
        left += sizes
    ax.set(xlabel="features, by what became of their terms in the other model")
    ax.legend(frameon=False, fontsize=7, ncols=4, loc="lower center", bbox_to_anchor=(0.45, 1))
    return figure


PICTURES: dict[str, Callable[[Any], Figure]] = {
    "superposition": superposition, "sweeps": sweeps, "methods": methods, "kinds": kinds, "profiles": profiles, "steering": steering,
    "models": models, "terms": terms,
}  # fmt: skip


def draw(name: str, found: Any, path: Path) -> None:
    """Write the picture of a figure, if it has one, into a file."""
    if name in PICTURES:
        figure = PICTURES[name](found)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=90)
