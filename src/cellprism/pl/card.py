"""One feature on one figure."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.pl.genes import volcano
from cellprism.pl.maps import cells, row_of
from cellprism.pl.style import CATEGORIES, plain, shown_once, wrapped
from cellprism.report.columns import minus_log10, text
from cellprism.report.from_anndata import as_source

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellprism.report.source import Source

__all__ = ["feature"]

ROWS: Final = 10
BINS: Final = 40
SMOOTH: Final = (0.06, 0.24, 0.4, 0.24, 0.06)


@numbers_checked
def feature(data: AnnData | Source | str | Path, feature: int, *, by: str | None = None, key: str = "prism") -> Figure:
    """Draw the card of a feature: its cells, its activation by label, its genes and its gene sets.

    Parameters
    ----------
    data, feature, key
        As for :func:`cellprism.pl.cells`.
    by
        Column of the cells to tell apart; by default the first that labels were tested for.

    Returns
    -------
    A figure of four axes.

    Examples
    --------
    >>> figure = prism.pl.feature(adata, 1)
    >>> len(figure.axes) >= 4
    True
    """
    import matplotlib.pyplot as plt

    source = as_source(data, key)
    row = row_of(source, feature)
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), layout="constrained")
    if {"x", "y"} <= set(source.cells):
        cells(source, feature, ax=axes[0, 0])
    else:
        axes[0, 0].set_axis_off()
    _by_label(axes[0, 1], source, row, by)
    volcano(source, feature, ax=axes[1, 0])
    _sets(axes[1, 1], source, feature)
    name = str(source.features["name"].iloc[row]) if "name" in source.features else ""
    figure.suptitle(f"{wrapped(name, 90)}  (feature\u00a0{feature})" if name else f"Feature {feature}")
    return shown_once(figure)


def _by_label(ax: Axes, source: Source, row: int, by: str | None) -> None:
    level = source.codes[:, [row]].toarray().ravel()
    wanted = [by] if by else [*source.info.get("label_columns", []), *source.cells.columns]
    if by is not None and by not in source.cells:
        raise InputError("cells are told apart by one of their columns", repr(by), f"choose of {list(source.cells)}")
    column = next(
        (c for c in wanted if c in source.cells and not pd.api.types.is_numeric_dtype(source.cells[c]) and c != "cell"),
        None,
    )
    if column is None:
        ax.hist(level[level > 0], bins=40, color=CATEGORIES[0])
        ax.set(xlabel="activation", ylabel="active cells")
        plain(ax)
        return
    words = np.array(text(source.cells[column]), dtype=object)
    means = pd.Series(level)[words != ""].groupby(words[words != ""]).mean().sort_values(ascending=False).head(ROWS)
    if getattr(source.cells[column].dtype, "ordered", False):  # ages and stages keep their order
        means = means.reindex([str(c) for c in source.cells[column].cat.categories if str(c) in means.index])
    groups = [level[(words == w) & (level > 0)] for w in means.index]
    places = np.arange(len(groups), 0, -1)
    edges = np.linspace(0, max(float(level.max()), 1e-12), BINS + 1)
    for group, place in zip(groups, places, strict=True):
        if len(group):
            height = np.convolve(np.histogram(group, edges)[0], SMOOTH, mode="same")
            half = 0.42 * height / height.max()
            middle = (edges[:-1] + edges[1:]) / 2
            ax.fill_between(middle, place - half, place + half, color=CATEGORIES[0], alpha=0.8, linewidth=0)
    labels = [f"{w} ({np.mean(level[words == w] > 0):.0%})" for w in means.index]
    ax.set_yticks(places, labels, fontsize=7)
    ax.set(xlabel="activation of active cells (share active)", title=column)
    plain(ax)


def _sets(ax: Axes, source: Source, feature: int) -> None:
    table = source.sets[source.sets["feature"] == feature].copy()
    table["mlq"] = np.fmax(minus_log10(table["qval_rank"]), minus_log10(table["qval_ora"])) if len(table) else []
    table = table[table["mlq"] > 0].nlargest(ROWS, "mlq").iloc[::-1]
    up = table["direction"].astype(str) == "up"
    ax.barh(np.arange(len(table)), table["mlq"], color=np.where(up, "#D55E00", "#0072B2"), height=0.7)
    ax.set_yticks(np.arange(len(table)), [wrapped(s, 44) for s in text(table["set"])], fontsize=7)
    ax.set(xlabel="−log10 q", title="gene sets" if len(table) else "no gene set")
    plain(ax)
