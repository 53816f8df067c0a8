"""Features by groups of cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cellprism.data.columns import categories
from cellprism.data.missing import groups
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.pl.maps import row_of
from cellprism.pl.style import CATEGORIES, name_of, own_axes, plain, rows_high, wrapped
from cellprism.report.from_anndata import as_source

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from cellprism.report.source import Source

__all__ = ["dotplot", "violin"]

MOST_FEATURES = 20
MOST_GROUPS = 40


@numbers_checked
def dotplot(
    data: AnnData | Source | str | Path,
    by: str,
    features: Sequence[int] | None = None,
    *,
    key: str = "prism",
    ax: Axes | None = None,
) -> Axes:
    """Features by groups: the size of a dot is the share of active cells, its colour their mean activation.

    Parameters
    ----------
    data, key, ax
        As for :func:`cellprism.pl.cells`.
    by
        Column of the cells.
    features
        Numbers of features, in the order drawn; by default the 20 whose active share differs most between groups.

    Notes
    -----
    Colours are relative to the largest mean of each feature, as features have scales of their own.

    Examples
    --------
    >>> ax = prism.pl.dotplot(adata, "cell_type", [0, 1, 2])
    >>> len(ax.get_yticklabels())
    3
    """
    source = as_source(data, key)
    names, number = _groups(source, by)
    rows = np.arange(source.n_features) if features is None else np.array([row_of(source, f) for f in features])
    share, mean = np.zeros((rows.size, len(names))), np.zeros((rows.size, len(names)))
    for i, row in enumerate(rows):
        level = source.codes[:, [row]].toarray().ravel()
        for j in range(len(names)):
            cells = level[number == j]
            share[i, j] = (cells > 0).mean()
            mean[i, j] = cells[cells > 0].mean() if (cells > 0).any() else 0.0
    if features is None:
        keep = np.sort(np.argsort(-np.ptp(share, axis=1), kind="stable")[:MOST_FEATURES])
        rows, share, mean = rows[keep], share[keep], mean[keep]
    mean = mean / np.maximum(mean.max(axis=1, keepdims=True), 1e-12)
    numbers = source.features["feature"].to_numpy()
    called = [wrapped(name_of(source, int(numbers[r])), 56) for r in rows]
    ax = own_axes(ax, (2.2 + 0.32 * len(names) + 2.4, 1.4 + rows_high(called, 0.3)))
    across, up = np.meshgrid(np.arange(len(names)), np.arange(rows.size)[::-1])
    drawn = ax.scatter(
        across.ravel(), up.ravel(), s=90 * share.ravel(), c=mean.ravel(), cmap="viridis_r", vmin=0, vmax=1, linewidths=0
    )
    ax.set_yticks(np.arange(rows.size)[::-1], called, fontsize=7)
    ax.set_xticks(np.arange(len(names)), names, rotation=90, fontsize=7)
    ax.set(xlabel=by, xlim=(-0.6, len(names) - 0.4), ylim=(-0.6, rows.size - 0.4))
    ax.figure.colorbar(drawn, ax=ax, shrink=0.4, label="mean of active cells,\nof its largest")
    sizes = [ax.scatter([], [], s=90 * s, c="grey", label=f"{s:.0%}") for s in (0.25, 0.5, 1.0)]
    ax.legend(
        handles=sizes,
        title="active",
        frameon=False,
        fontsize=7,
        title_fontsize=7,
        loc="upper left",
        bbox_to_anchor=(1, 1.02),
    )
    return plain(ax)


@numbers_checked
def violin(
    data: AnnData | Source | str | Path, feature: int, by: str, *, key: str = "prism", ax: Axes | None = None
) -> Axes:
    """The activation of one feature by group: a violin of the active cells, and their share under the group's name.

    Parameters
    ----------
    data, feature, key, ax
        As for :func:`cellprism.pl.cells`.
    by
        Column of the cells; categories keep their order.

    Examples
    --------
    >>> ax = prism.pl.violin(adata, 1, "cell_type")
    >>> ax.figure is not None
    True
    """
    source = as_source(data, key)
    level = source.codes[:, [row_of(source, feature)]].toarray().ravel()
    names, number = _groups(source, by)
    titled = ax is not None
    turned = max(map(len, names), default=0) > 8
    longest = max(map(len, names), default=0) if turned else 0
    ax = own_axes(ax, (1.2 + 0.5 * len(names), 3.4 + 0.06 * longest))
    for i in range(len(names)):
        active = level[(number == i) & (level > 0)]
        if active.size > 2 and np.ptp(active) > 0:
            body: Any = ax.violinplot([active], [i], widths=0.8, showextrema=False, showmedians=True)
            body["bodies"][0].set(facecolor=CATEGORIES[0], alpha=0.7)
            body["cmedians"].set(color="black")
        elif active.size:
            ax.plot(np.full(active.size, i), active, ".", color=CATEGORIES[0], ms=4)
    shares = [f"{name}\n{(level[number == i] > 0).mean():.0%}" for i, name in enumerate(names)]
    ax.set_xticks(np.arange(len(names)), shares, fontsize=7, rotation=90 if turned else 0)
    ax.set(xlabel=f"{by} (share of active cells)", ylabel="activation of active cells", xlim=(-0.6, len(names) - 0.4))
    ax.set_ylim(bottom=0)
    if not titled:
        ax.set_title(wrapped(name_of(source, feature), 40), fontsize=9)
    return plain(ax)


def _groups(source: Source, by: str) -> tuple[list[str], Any]:
    """Groups in the order of their categories, and the group of each cell (-1: none)."""
    if by not in source.cells:
        there = [c for c in source.cells if c not in ("cell", "x", "y")]
        raise InputError("cells are grouped by one of their columns", repr(by), f"choose of {there}")
    found = categories(source.cells[by], groups(source.cells[by]))
    names = [str(name) for name in found.categories]
    if not 1 <= len(names) <= MOST_GROUPS:
        raise InputError(
            f"cells are drawn in at most {MOST_GROUPS} groups", f"{len(names)} in {by!r}", "group its values"
        )
    return names, found.codes
