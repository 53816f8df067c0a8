"""Genes of a feature."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cellprism.features.direction import direction
from cellprism.features.naming import display_gene
from cellprism.numeric import numbers_checked
from cellprism.pl.maps import row_of
from cellprism.pl.style import DOWN, GREY, UP, label_points, name_of, own_axes, plain, wrapped
from cellprism.report.columns import minus_log10_p, text
from cellprism.report.from_anndata import as_source

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from cellprism.report.source import Source

__all__ = ["volcano"]


@numbers_checked
def volcano(
    data: AnnData | Source | str | Path,
    feature: int,
    *,
    names: int = 10,
    level: float = 0.05,
    key: str = "prism",
    ax: Axes | None = None,
) -> Axes:
    """Log2 fold change against -log10 p of the genes kept for a feature.

    Parameters
    ----------
    data, feature, key, ax
        As for :func:`cellprism.pl.cells`.
    names
        So many genes with the smallest p carry their names.
    level
        Genes below this q value are coloured, orange where higher in active cells, blue where lower, by rank and by mean;
        where these disagree they stay grey.

    Examples
    --------
    >>> prism.pl.volcano(adata, 1).get_xlabel()
    'log2 fold change'
    """
    source = as_source(data, key)
    row_of(source, feature)
    titled = ax is not None  # whoever gives axes says what they show
    ax = own_axes(ax, (4.2, 3.6))
    table = source.genes[source.genes["feature"] == feature].copy()
    table["mlp"] = minus_log10_p(table) if len(table) else []
    fold, clear = table["log2fc"].to_numpy(dtype=float), (table["qval"] < level).to_numpy()
    way = np.where(clear, direction(table["statistic"], fold), 0)
    for mask, shade in ((way == 0, GREY), (way > 0, UP), (way < 0, DOWN)):
        ax.scatter(fold[mask], table["mlp"][mask], s=9, c=shade, linewidths=0)
    shown = table.nlargest(names, "mlp")
    symbol = text(shown["symbol"])
    names_of = [display_gene(g, s) for s, g in zip(symbol, text(shown["gene"]), strict=True)]
    ax.axvline(0, color=GREY, lw=0.8, zorder=0)
    ax.set(xlabel="log2 fold change", ylabel="−log10 p")
    if not titled:
        ax.set_title(wrapped(name_of(source, feature), 40), fontsize=9)
    reach = float(np.nanmax(np.abs(fold))) * 1.25 if np.isfinite(fold).any() else 1.0
    ax.set_xlim(-reach, reach)
    plain(ax)
    label_points(ax, list(zip(shown["log2fc"], shown["mlp"], strict=True)), names_of)
    return ax
