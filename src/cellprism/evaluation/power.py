"""Which planted programmes are found, by number of genes, share of cells and fold: tables, sentences and the curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from cellprism.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["RELIABLE", "interval", "power_curve", "power_table", "sentences"]

RELIABLE = 0.8
"""Share of the planted programmes from which one of that kind is said to be found."""

_POINT = ["n_genes", "share", "fold"]


def interval(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share; NaN of none."""
    if n == 0:
        return float("nan"), float("nan")
    ends = binomtest(int(hits), int(n)).proportion_ci(0.95, method="wilson")
    return float(ends.low), float(ends.high)


def power_table(recovery: pd.DataFrame) -> pd.DataFrame:
    """Count what is found at each point of the grid.

    Parameters
    ----------
    recovery
        :attr:`~cellprism.evaluation.planted.PlantedBenchmark.recovery`.

    Returns
    -------
    A row a dictionary and point: ``method``, ``n_genes``, ``share``, ``fold``, ``n`` (planted), ``n_readable``,
    ``n_found``, ``power`` (found of all planted) with its 95 % interval ``low`` and ``high``.
    """
    by = recovery.groupby(["method", *_POINT], sort=False)
    table = by.agg(n=("found", "size"), n_readable=("readable", "sum"), n_found=("found", "sum")).reset_index()
    ends = [interval(hits, n) for hits, n in zip(table["n_found"], table["n"], strict=True)]
    return table.assign(power=table["n_found"] / table["n"], low=[e[0] for e in ends], high=[e[1] for e in ends])


def sentences(power: pd.DataFrame, method: str = "cellprism") -> list[str]:
    """Say from which fold on a programme is found, a sentence a number of genes, share of cells and direction.

    Parameters
    ----------
    power
        From :func:`power_table`.
    method
        The dictionary that is spoken of.

    Returns
    -------
    Sentences such as "In your cells a programme of 30 genes in 10 % of the cells is found if it raises its genes
    twofold …". Found means: of at least 80 % of those planted, at this fold and at every larger one that was tried.
    """
    of_method = power[power["method"] == method]
    if of_method.empty:
        raise InputError(
            "a dictionary must be in the table", repr(method), f"choose among {list(pd.unique(power['method']))}"
        )
    said = []
    up = of_method["fold"] >= 1
    for raises, directed in ((True, of_method[up]), (False, of_method[~up])):
        for n_genes, share in sorted(set(zip(directed["n_genes"], directed["share"], strict=True))):
            points = directed[(directed["n_genes"] == n_genes) & (directed["share"] == share)]
            ordered = points.sort_values("fold", ascending=raises)
            subject = f"In your cells a programme of {n_genes} genes in {100 * share:.3g} % of the cells"
            verb = "raises" if raises else "lowers"
            enough = (ordered["power"] >= RELIABLE).to_numpy()
            from_here = np.flatnonzero(np.logical_and.accumulate(enough[::-1])[::-1])
            at = ordered.iloc[from_here[0] if len(from_here) else -1]
            counted = (
                f"{at['n_found']:.0f} of {at['n']:.0f} planted; 95 % interval {100 * at['low']:.0f} to "
                f"{100 * at['high']:.0f} %"
            )
            if len(from_here):
                said.append(f"{subject} is found if it {verb} its genes {_fold(at['fold'])} ({counted}).")
            else:
                said.append(
                    f"{subject} is not reliably found even if it {verb} its genes {_fold(at['fold'])} ({counted}; "
                    f"the embedding holds {at['n_readable']:.0f} of them)."
                )
    return said


def _fold(fold: float) -> str:
    words = {2.0: "twofold", 3.0: "threefold", 4.0: "fourfold", 5.0: "fivefold", 8.0: "eightfold", 10.0: "tenfold"}
    if fold >= 1:
        return words.get(float(fold), f"{fold:.3g}-fold")
    return f"to {100 * fold:.3g} % of their mean"


def power_curve(power: pd.DataFrame, method: str = "cellprism", beside: Sequence[str] | None = None) -> Figure:
    """Draw the share of planted programmes that is found against the fold, a panel a number of genes and share of cells.

    Parameters
    ----------
    power
        From :func:`power_table`.
    method
        Drawn with its interval.
    beside
        Others, thin; None: all in the table but the probe. What the embedding holds (readable) is dashed.
    """
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

    from cellprism.recovery.plots import blank_figure, colour_of

    others = [m for m in pd.unique(power["method"]) if m not in (method, "probe")] if beside is None else list(beside)
    of_method = power[power["method"] == method]
    panels = sorted(set(zip(of_method["n_genes"], of_method["share"], strict=True)))
    figure = blank_figure(2.0 + 2.6 * len(panels), 3.0)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (n_genes, share) in zip(axes, panels, strict=True):
        here = power[(power["n_genes"] == n_genes) & (power["share"] == share)].sort_values("fold")
        for i, name in enumerate(others):
            line = here[here["method"] == name]
            ax.plot(line["fold"], line["power"], "o-", color=colour_of(i), markersize=2, linewidth=0.9, label=name)
        own = here[here["method"] == method]
        ax.fill_between(own["fold"], own["low"], own["high"], color="black", alpha=0.12, linewidth=0)
        ax.plot(own["fold"], own["power"], "o-", color="black", markersize=3.5, linewidth=2, label=method)
        ax.plot(own["fold"], own["n_readable"] / own["n"], "--", color="black", linewidth=1, label="readable")
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(list(own["fold"])))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.set_xticklabels([f"{fold:g}" for fold in own["fold"]])
        ax.set(xlabel="fold", ylim=(-0.03, 1.03), title=f"{n_genes} genes, {100 * share:.3g} % of cells")
        ax.title.set_fontsize(9)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of planted programmes found")
    axes[-1].legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
