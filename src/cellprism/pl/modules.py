"""Features that are active together, as blocks of a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellprism.errors import InputError
from cellprism.features.modules import Modules
from cellprism.features.modules import modules as find_modules
from cellprism.numeric import numbers_checked
from cellprism.pl.style import UP, name_of, own_axes, rows_high, wrapped
from cellprism.report.from_anndata import as_source

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from cellprism.report.source import Source

__all__ = ["modules"]


@numbers_checked
def modules(
    data: AnnData | Source | str | Path,
    found: Modules | None = None,
    *,
    within: str | None = None,
    names: int = 40,
    key: str = "prism",
    ax: Axes | None = None,
) -> Axes:
    """Correlations of codes beyond chance, features in the order of their modules, each module in a frame.

    Parameters
    ----------
    data
        An AnnData with features, or a run folder.
    found
        From :func:`cellprism.features.modules.modules` on all its codes; by default computed.
    within
        Where it is computed: column of labels within which the null permutes cells.
    names
        With at most so many features in modules, each is named.
    key
        Name of the result in the AnnData.
    ax
        Axes to draw into.

    Examples
    --------
    >>> ax = prism.pl.modules("RUN")
    >>> "modules" in ax.get_title()
    True
    """
    source = as_source(data, key)
    numbers = source.features["feature"].to_numpy()
    if found is None:
        if within is not None and within not in source.cells:
            raise InputError(
                "cells are permuted within a column of theirs", repr(within), f"one of {list(source.cells)}"
            )
        found = find_modules(source.codes, None if within is None else source.cells[within])
        table = found.table.assign(feature=numbers[found.table["feature"]])
    else:
        table = found.table
    order = table[table["module"] >= 0].sort_values(["module", "within"], ascending=[True, False]).index.to_numpy()
    called = [wrapped(name_of(source, int(table["feature"].iloc[i])), 60) for i in order] if len(order) <= names else []
    side = max(4.2, rows_high(called, 0.12, 0.09))
    ax = own_axes(ax, (side + (4.2 if called else 2.2), side + 1.2))
    title = f"{found.info['n_modules']:,} modules of {len(order):,} of {len(table):,} features"
    ax.set_title(f"{title} (edges at r > {found.info['threshold']:.2f})", fontsize=9)
    if not len(order):
        return ax
    shown = found.correlation[order][:, order].toarray()
    drawn = ax.imshow(shown, cmap="magma_r", vmin=0, vmax=1, interpolation="nearest")
    figure: Any = ax.figure.figure  # of a subfigure the whole; `get_figure(root=True)` came with matplotlib 3.10
    figure.colorbar(drawn, ax=ax, shrink=0.6, label="correlation of codes")
    for stop, size in zip(np.cumsum(counts := np.bincount(table["module"].to_numpy()[order])), counts, strict=True):
        edge = stop - size - 0.5
        ax.plot([edge, edge + size, edge + size, edge, edge], [edge, edge, edge + size, edge + size, edge], c=UP, lw=1)
    ax.set(xticks=[], yticks=[], xlabel="features, by module", ylabel="features, by module")
    if called:
        ax.set_yticks(range(len(order)), called, fontsize=5)
        ax.set_ylabel("")
    return ax
