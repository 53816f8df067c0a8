"""What steering a feature does to genes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.features.naming import display_gene
from cellprism.numeric import numbers_checked
from cellprism.pl.style import CATEGORIES, DOWN, GREY, UP, plain, shown_once, wrapped
from cellprism.report.columns import text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["steering"]


@numbers_checked
def steering(effect: Any, *, genes: int = 16, name: str | None = None) -> Figure:
    """Draw a steering experiment: genes that change most, dose curve, strength beside null moves.

    Parameters
    ----------
    effect
        The result of ``cellprism.steering.effect``, or the folder that ``cellprism steer`` wrote.
    genes
        So many genes are shown, those of the largest change.
    name
        What the feature is called, for the title; by default as in the run that was steered.

    Returns
    -------
    A figure of three axes.

    Raises
    ------
    InputError
        Where the folder holds no experiment.

    Examples
    --------
    >>> found = prism.effect(sae, model, X, 1, to_quantile=0.9, n_null=5)
    >>> len(prism.pl.steering(found, name="feature 1").axes) >= 3
    True
    """
    import matplotlib.pyplot as plt

    table, doses, nulls, summary = _parts(effect)
    strength = summary.get("strength")
    strength = float("nan") if strength is None else float(strength)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained")
    _genes(axes[0], table, genes)
    _doses(axes[1], doses)
    _nulls(axes[2], nulls, strength)
    if "features" in summary:
        which = ", ".join(map(str, summary["features"]))
        level = f"activation {summary['activation_before']:.3g} to {summary['activation_after']:.3g}"
        called = name or str(summary.get("name") or "")
        title = f"{called} (feature\u00a0{which})" if called else f"feature\u00a0{which}"
        figure.suptitle(wrapped(f"{title} in {summary['cells']:,} cells, {level}", 110), fontsize=10)
    return shown_once(figure)


def _parts(effect: Any) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    if not isinstance(effect, (str, Path)):
        return effect.genes, effect.doses, effect.nulls, dict(effect.summary)
    folder = Path(effect)
    absent = [n for n in ("steering.parquet", "steering.json") if not (folder / n).is_file()]
    if absent:
        raise InputError(
            "a steering folder is what `cellprism steer` wrote", f"no {', '.join(absent)}", "check the path"
        )
    content = json.loads((folder / "steering.json").read_text(encoding="utf-8"))
    return (
        pd.read_parquet(folder / "steering.parquet"),
        pd.DataFrame(content.get("doses") or []),
        pd.DataFrame(content.get("nulls") or []),
        dict(content.get("summary") or {}),
    )


def _genes(ax: Axes, table: pd.DataFrame, genes: int) -> None:
    shown = table.loc[table["log2fc"].abs().nlargest(genes).index].sort_values("log2fc")
    places = np.arange(len(shown))
    ax.barh(places, shown["log2fc"], color=np.where(shown["log2fc"] > 0, UP, DOWN), height=0.7)
    if {"low", "high"} <= set(shown):
        ax.hlines(places, shown["low"], shown["high"], color="black", lw=0.8)
    symbol = text(shown["symbol"]) if "symbol" in shown else text(shown["gene"])
    ax.set_yticks(places, [display_gene(g, s) for s, g in zip(symbol, text(shown["gene"]), strict=True)], fontsize=7)
    ax.set(xlabel="log2 change", title="genes")
    plain(ax)


def _doses(ax: Axes, doses: pd.DataFrame) -> None:
    if {"dose", "strength"} <= set(doses):
        across = "value" if "value" in doses else "dose"
        ax.plot(doses[across], doses["strength"], "-o", color=CATEGORIES[0], ms=4)
        ax.set(xlabel="mean activation" if across == "value" else "share of the edit", ylabel="change (RMS log2)")
    ax.set_title("dose curve" if len(doses) else "no dose curve")
    plain(ax)


def _nulls(ax: Axes, nulls: pd.DataFrame, strength: float) -> None:
    if {"kind", "strength"} <= set(nulls):
        groups = list(nulls.groupby("kind", sort=True, observed=True)["strength"])
        ax.boxplot(
            [g.to_numpy() for _, g in groups], widths=0.6, medianprops={"color": "black"}, boxprops={"color": "grey"}
        )
        ax.set_xticks(np.arange(1, len(groups) + 1), [str(n) for n, _ in groups], fontsize=8)
        ax.axhline(strength, color=UP, lw=1.5, label="this edit")
        ax.legend(frameon=False, fontsize=8)
        ax.set_ylabel("change (RMS log2)")
    else:
        ax.set_facecolor(GREY)
    ax.set_title("beside null moves" if len(nulls) else "no null moves")
    plain(ax)
