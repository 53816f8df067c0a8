"""Draw the figures of docs/recovery-record.md and write its tables from benchmarks/results/.

Usage: python benchmarks/recovery_page.py [--reduced DIR]   DIR: what `cellprism benchmark reduced -o DIR` wrote
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recovery_common import FIGURES, Rows, interval

from cellprism.recovery import METHODS
from cellprism.recovery.grid import UNTRAINED, Variant
from cellprism.recovery.plots import COLOURS, landscape_by_level, probe_against_loss

PAGE = Path(__file__).parent.parent / "docs" / "recovery-record.md"
LEVELS = ["X2", "X1", "X0"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reduced", type=Path, help="folder of a benchmark to take over into the page")
    parser.add_argument("--leave-out", nargs="*", default=[], help="methods of it to leave out")
    arguments = parser.parse_args()
    if arguments.reduced:
        summary = pd.read_parquet(arguments.reduced / "summary.parquet")
        summary = summary[summary["level"].isin([*LEVELS, "A", "B"]) & ~summary["method"].isin(arguments.leave_out)]
        columns = ["method", "seed", "level", "share_over_0.95", "mean_best_abs_r", "mcc", "mean_best_abs_r_visible"]
        columns += ["mean_auroc", "n_live", "l0", "redundant", "null_mean_best_abs_r"]
        Rows("recovery_reduced.json", ["method", "seed", "level"]).add(summary[columns].to_dict("records"))
    FIGURES.mkdir(parents=True, exist_ok=True)
    text = PAGE.read_text()
    for name, make in TABLES.items():
        block = make()
        if block:
            text = re.sub(
                rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)",
                lambda found, block=block: f"{found[1]}{block}\n{found[2]}",
                text,
                flags=re.DOTALL,
            )
    PAGE.write_text(text)


def completeness() -> str:
    """The probe by the embedding's dimensions."""
    rows = Rows("recovery_superposition.json", []).table()
    if rows.empty:
        return ""
    save(probe_against_loss(rows), "superposition")
    rows = rows[(rows["depth"] == 2) & (rows["shape"] == "narrow")]
    lines = [
        "| latent | seeds | validation loss | X2 | X1 | X0 | X1 where visible | X0 where visible |",
        "|---|" + "---|" * 7,
    ]
    for latent, part in rows.groupby("latent"):
        level = dict(iter(part.groupby("level")))
        lines.append(
            f"| {latent} | {part['seed'].nunique()} | {shown(level['X2']['validation_loss'], 2)} | "
            + " | ".join(shown(level[name]["r2"]) for name in LEVELS)
            + f" | {shown(level['X1']['r2_visible'])} | {shown(level['X0']['r2_visible'])} |"
        )
    return "\n".join(lines)


def identifiability() -> str:
    """What raw dimensions, PCA and ICA of the embedding find, by its dimensions."""
    rows = Rows("recovery_superposition.json", []).table()
    if rows.empty:
        return ""
    rows = rows[(rows["depth"] == 2) & (rows["shape"] == "narrow") & (rows["level"] == "X2")]
    names = {"embedding": "raw dimensions", "pca-embedding": "PCA", "ica-embedding": "ICA", "null": "null"}
    lines = [f"| latent | {' | '.join(names.values())} | ceiling: X2 readable at r > 0.95 |", "|---|" + "---|" * 5]
    for latent, part in rows.groupby("latent"):
        cells = [shown(part[name]) for name in names]
        lines.append(f"| {latent} | {' | '.join(cells)} | {percent(part['share_readable'])} |")
    return "\n".join(lines)


def methods() -> str:
    """Every method on the cells of these scripts, five seeds."""
    rows = Rows("recovery_methods.json", []).table()
    if rows.empty:
        return ""
    save(method_figure(rows), "methods")
    return method_table(rows)


def reduced() -> str:
    """Every method in the `reduced` benchmark."""
    rows = Rows("recovery_reduced.json", []).table()
    return "" if rows.empty else method_table(rows)


def method_table(rows: pd.DataFrame) -> str:
    """A row a method: level X2, where X0 is visible, cell types and batches."""
    head = [
        "method",
        "seeds",
        "X2: share > 0.95",
        "X2: mean best r",
        "its null",
        "X2: MCC",
        "X0 where visible",
        "A: best r",
        "B: best r",
        "live",
        "L0",
        "redundant",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---|" * (len(head) - 1)]
    x2 = rows[rows["level"] == "X2"].groupby("method")["mean_best_abs_r"].mean().sort_values(ascending=False)
    for method in x2.index:
        at = dict(iter(rows[rows["method"] == method].groupby("level")))
        lines.append(
            f"| `{method}` | {at['X2']['seed'].nunique()} | {percent(at['X2']['share_over_0.95'])} | {shown(at['X2']['mean_best_abs_r'])} | "
            f"{at['X2']['null_mean_best_abs_r'].mean():.2f} | {shown(at['X2']['mcc'])} | {shown(at['X0']['mean_best_abs_r_visible'])} | {shown(at['A']['mean_best_abs_r'])} | "
            f"{shown(at['B']['mean_best_abs_r'])} | {at['X2']['n_live'].mean():.0f} | {at['X2']['l0'].mean():.0f} | "
            f"{at['X2']['redundant'].mean():.0f} |"
        )
    return "\n".join(lines)


def sweeps() -> str:
    """What the sweeps reached at the level that their embeddings can hold, and their landscapes."""
    rows = Rows("recovery_sweep.json", []).table()
    if rows.empty:
        return ""
    blocks = []
    order = [*get_args(Variant), UNTRAINED]
    rows = rows[rows["seed"] == 0].sort_values("variant", key=lambda v: v.map(order.index), kind="stable")
    for (simulation, latent), part in rows.groupby(["simulation", "latent"], sort=False):
        levels = [name for name in ("T", "Y", "A", "B", "X2", "X1", "X0") if name in set(part["level"])]
        levels = levels if simulation == "small" else ["X2", "X1", "X0", "A", "B"]
        name = f"sweep-{simulation}-{latent}"
        save(landscape_by_level(part, levels), name)
        head = part[part["level"] == levels[0]]
        ceiling, null = head["ceiling_mean_abs_r"].mean(), head["null_mean_best_abs_r"]
        share = 100 * head["ceiling_share_over_0.95"].mean()
        lines = [
            f"**{simulation.capitalize()} simulation, latent {latent}**: {(head['variant'] != UNTRAINED).sum()} SAEs, {_lengths(head)}; level {levels[0]}, held-out cells. "
            f"Ceiling: mean |r| {ceiling:.2f}, {share:.0f} % over 0.95. Null of the mean best |r|: {null.min():.2f} to {null.max():.2f}.\n",
            "| variant | SAEs | share > 0.95: best | median | mean best r: best | median | width, sparsity of the best | its live | its L0 | its redundant |",
            "|---|" + "---|" * 9,
        ]
        for variant, of in head.groupby("variant", sort=False):
            best = of.loc[of["mean_best_abs_r"].idxmax()]
            setting = (
                "as it starts"
                if variant == UNTRAINED
                else f"L1 {best['l1']:g}"
                if pd.isna(best["k_percent"])
                else f"{best['k_percent']:g} % active"
            )
            lines.append(
                f"| {variant} | {len(of)} | {100 * of['share_over_0.95'].max():.0f} % | {100 * of['share_over_0.95'].median():.0f} % | "
                f"{best['mean_best_abs_r']:.2f} | {of['mean_best_abs_r'].median():.2f} | {best['width']:,}, {setting} | "
                f"{best['n_live']:,} | {best['l0']:.0f} | {best['redundant']:,} |"
            )
        lines.append(f"\n![Landscapes of the {simulation} sweep](figures/recovery/{name}.png)\n")
        blocks.append("\n".join(lines))
    return "\n".join(blocks)


def _lengths(rows: pd.DataFrame) -> str:
    found = rows.loc[rows["variant"] != UNTRAINED, ["lr", "epochs"]].drop_duplicates().itertuples(index=False)
    return ", ".join(f"{epochs} epochs at {lr:g}" for lr, epochs in found)


def method_figure(rows: pd.DataFrame) -> Figure:
    """Mean best |r| by method: X2 over all cells, X0 where visible, A; intervals over seeds."""
    panels = [("X2", "mean_best_abs_r", "X2, all cells"), ("X0", "mean_best_abs_r_visible", "X0, where visible"), ("A", "mean_best_abs_r", "A, cell types")]  # fmt: skip
    order = rows[rows["level"] == "X2"].groupby("method")["mean_best_abs_r"].mean().sort_values().index
    figure = Figure(figsize=(9.5, 0.8 + 0.27 * len(order)), layout="constrained")
    FigureCanvasAgg(figure)
    for ax, (level, metric, title) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        for y, method in enumerate(order):
            part = rows[(rows["level"] == level) & (rows["method"] == method)]
            mean, half = interval(part[metric].astype(float))
            ax.barh(y, mean, xerr=None if np.isnan(half) else half, color=COLOURS[METHODS[method].kind], alpha=0.75, height=0.7, error_kw={"linewidth": 1})  # fmt: skip
        ax.set_title(title, fontsize=10)
        ax.set_xlim(0, 1.02)
        ax.set_yticks(range(len(order)), order, fontsize=8)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def shown(values: pd.Series, digits: int = 2) -> str:
    mean, half = interval(values.astype(float))
    if np.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" if np.isnan(half) else f"{mean:.{digits}f} ± {half:.{digits}f}"


def percent(values: pd.Series) -> str:
    mean, half = interval(100 * values.astype(float))
    return f"{mean:.0f} %" if np.isnan(half) else f"{mean:.0f} ± {half:.0f} %"


def save(figure: Figure, name: str) -> None:
    figure.savefig(FIGURES / f"{name}.png", dpi=130)


TABLES: dict[str, Callable[[], str]] = {
    "completeness": completeness,
    "identifiability": identifiability,
    "methods": methods,
    "reduced": reduced,
    "sweeps": sweeps,
}

if __name__ == "__main__":
    main()
