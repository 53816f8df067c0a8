"""Several features on one figure: on the map of the cells, and by their genes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.features.direction import direction
from cellprism.features.naming import display_gene
from cellprism.numeric import numbers_checked
from cellprism.pl.maps import cells, row_of
from cellprism.pl.style import name_of, own_axes, rows_high, shown_once, wrapped
from cellprism.report.columns import text
from cellprism.report.from_anndata import as_source

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellprism.report.source import Source

__all__ = ["heatmap", "panels"]

MOST_FEATURES = 20


@numbers_checked
def panels(
    data: AnnData | Source | str | Path, features: Sequence[int], *, columns: int = 3, key: str = "prism"
) -> Figure:
    """Several features on the map of the cells, a panel each.

    Parameters
    ----------
    data, key
        As for :func:`cellprism.pl.cells`.
    features
        Numbers of features.
    columns
        Panels beside each other.

    Examples
    --------
    >>> figure = prism.pl.panels(adata, [0, 1, 2], columns=3)
    >>> len(figure.axes) >= 3
    True
    """
    import matplotlib.pyplot as plt

    source = as_source(data, key)
    numbers = [int(f) for f in features]
    if not numbers:
        raise InputError("panels need features", "none", "give their numbers")
    across = min(columns, len(numbers))
    down = -(-len(numbers) // across)
    figure, axes = plt.subplots(down, across, figsize=(3.6 * across, 3.2 * down), layout="constrained", squeeze=False)
    for ax, feature in zip(axes.flat, numbers, strict=False):
        cells(source, feature, ax=ax)
        ax.set_title(wrapped(name_of(source, feature), 36), fontsize=8)
    for ax in axes.flat[len(numbers) :]:
        ax.set_axis_off()
    return shown_once(figure)


@numbers_checked
def heatmap(
    data: AnnData | Source | str | Path,
    features: Sequence[int] | None = None,
    *,
    genes: int = 4,
    key: str = "prism",
    ax: Axes | None = None,
) -> Axes:
    """Features by genes: log2 fold changes of the genes that lead each feature.

    Parameters
    ----------
    data, key, ax
        As for :func:`cellprism.pl.cells`.
    features
        Numbers of features, in the order drawn; by default the 20 whose leading genes have the largest z.
    genes
        So many of the highest z lead a feature. White: not among the genes kept for the feature.

    Examples
    --------
    >>> ax = prism.pl.heatmap(adata, [0, 1, 2], genes=3)
    >>> len(ax.get_xticklabels()) > 0
    True
    """
    source = as_source(data, key)
    table = source.genes[direction(source.genes["statistic"], source.genes["log2fc"]) > 0]
    if table.empty:
        raise InputError("a heat map needs the genes of features", "none", "annotate the features first")
    lead = table.sort_values("statistic", ascending=False, kind="stable").groupby("feature", observed=True).head(genes)
    if features is None:
        best = lead.groupby("feature", observed=True)["statistic"].mean().nlargest(MOST_FEATURES).index
        features = [f for f in source.features["feature"] if f in set(best)]
    numbers = [int(f) for f in features]
    for f in numbers:
        row_of(source, f)
    table = source.genes.assign(modality=text(source.genes["modality"]), gene=source.genes["gene"].astype(str))
    pairs = pd.MultiIndex.from_frame(table[["modality", "gene"]])  # a protein often has the name of its gene
    first = [pairs[table.index.get_indexer(lead.index[lead["feature"] == f])] for f in numbers]
    chosen = list(dict.fromkeys(pair for leading in first for pair in leading))
    mine = np.flatnonzero(table["feature"].isin(numbers) & pairs.isin(chosen))
    row, column = pd.Index(numbers), pd.MultiIndex.from_tuples(chosen)
    values = np.full((len(numbers), len(chosen)), np.nan)
    at = row.get_indexer(pd.Index(table["feature"].iloc[mine])), column.get_indexer(pairs[mine])
    values[at] = table["log2fc"].iloc[mine]
    symbols = dict(zip(pairs[mine], text(table["symbol"].iloc[mine]), strict=True))
    called = [wrapped(name_of(source, f), 56) for f in numbers]
    ax = own_axes(ax, (3.6 + 0.17 * len(chosen), 1.4 + rows_high(called, 0.26)))
    reach = float(np.nanmax(np.abs(values))) if np.isfinite(values).any() else 1.0
    drawn = ax.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto", interpolation="nearest")
    ax.set_yticks(np.arange(len(numbers)), called, fontsize=7)
    shown = [display_gene(gene, symbols.get((kind, gene), "")) for kind, gene in chosen]
    if len({kind for kind, _ in chosen}) > 1:
        shown = [
            name if kind in ("", "rna") else f"{name} ({kind})" for name, (kind, _) in zip(shown, chosen, strict=True)
        ]
    ax.set_xticks(np.arange(len(chosen)), shown, rotation=90, fontsize=6)
    ax.set(xlabel="genes that lead the features")
    ax.figure.colorbar(drawn, ax=ax, shrink=0.5, label="log2 fold change")
    return ax
