"""Many models at once: the choice of a recipe, and the recovery of a known truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.pl.style import CATEGORIES, own_axes, plain
from cellprism.report.choice import choice
from cellprism.report.from_anndata import as_source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["landscape", "recovery"]

AXES: Final = {"l0": "active features a cell (L0)", "bits": "bits a cell", "k": "k (active features a cell)"}
UPWARD: Final = ("stability", "agreement", "bits", "l0")


def landscape(
    data: pd.DataFrame | Sequence[dict[str, Any]] | str | Path,
    x: str = "explained_variance",
    y: str | None = None,
    *,
    by: str = "width",
    ax: Axes | None = None,
) -> Axes:
    """Candidates of a recipe choice or a sweep as points, a line a group, the chosen one ringed.

    Parameters
    ----------
    data
        A row a candidate; or a folder of ``cellprism run``, ``demo`` or ``fit``, whose ``run.json`` keeps its landscape.
    x, y
        Columns across and up; by default up is the first of stability, agreement, bits and l0 that every candidate has.
    by
        Column that groups candidates.
    ax
        Axes to draw into.

    Examples
    --------
    >>> prism.pl.landscape("RUN", "l0", "bits").get_ylabel()
    'bits a cell'
    """
    rows = choice(_run_info(data))["rows"] if isinstance(data, (str, Path)) else data
    table = pd.DataFrame(rows)
    if y is None:
        y = next((c for c in UPWARD if c in table and c != x and table[c].notna().all()), UPWARD[0])
    absent = [c for c in (x, y) if c not in table]
    if absent:
        raise InputError(
            "the landscape has the columns to be drawn", f"no {', '.join(absent)}", f"choose of {list(table)}"
        )
    ax = own_axes(ax, (4.6, 3.6))
    in_order = by in table and pd.api.types.is_numeric_dtype(table[by])
    groups = table.groupby(by, sort=in_order) if by in table else [("", table)]
    for i, (name, group) in enumerate(groups):
        group = group.sort_values(x)
        shade = CATEGORIES[i % len(CATEGORIES)]
        label = f"{by} {name}" if isinstance(name, (int, float, np.number)) else str(name) or None
        one_kind = "method" not in group or group["method"].nunique() <= 1
        ax.plot(group[x], group[y], "-o" if one_kind else "o", color=shade, ms=4, lw=1, label=label)
    if "chosen" in table:
        best = table[table["chosen"].fillna(False).astype(bool)]
        ax.scatter(
            best[x], best[y], s=130, facecolors="none", edgecolors="black", linewidths=1.2, label="chosen", zorder=3
        )
    ax.set(xlabel=AXES.get(x, x.replace("_", " ")), ylabel=AXES.get(y, y.replace("_", " ")))
    ax.locator_params(nbins=6)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=8)
    return plain(ax)


def _run_info(path: str | Path) -> dict[str, Any]:
    """``run.json`` of a folder, which that of ``cellprism fit`` has too; else what a report says of its run."""
    file = Path(path) / "run.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else dict(as_source(path).info)


def recovery(
    data: pd.DataFrame | str | Path, score: str = "share_over_0.95", *, level: str | None = None, ax: Axes | None = None
) -> Axes:
    """How much of the truth each method recovers, its seeds as points on the bar of their mean.

    Parameters
    ----------
    data
        ``summary.parquet`` of a benchmark as a table, its path, or the benchmark's folder.
    score
        Column to draw.
    level
        Truth level (``Y``, ``X2``, …); by default the first one met.
    ax
        Axes to draw into.

    Examples
    --------
    >>> table = pd.DataFrame({"method": ["cellprism", "pca"], "level": "Y", "mcc": [0.9, 0.6]})
    >>> prism.pl.recovery(table, "mcc").get_xlabel()
    'mcc of level Y'
    """
    if isinstance(data, (str, Path)):
        path = Path(data) / "summary.parquet" if Path(data).is_dir() else Path(data)
        try:
            data = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise InputError("a benchmark wrote summary.parquet", f"{path}: {error}", "give its folder") from error
    absent = [c for c in ("method", "level", score) if c not in data]
    if absent:
        raise InputError(
            "the summary of a benchmark has these columns", f"no {', '.join(absent)}", "give summary.parquet"
        )
    level = level if level is not None else str(data["level"].iloc[0])
    chosen = data[data["level"].astype(str) == level]
    means = chosen.groupby("method", observed=True)[score].mean().sort_values()
    ax = own_axes(ax, (5, 0.3 * len(means) + 1))
    places = np.arange(len(means))
    ax.barh(
        places, means, color=[CATEGORIES[5] if m == "cellprism" else CATEGORIES[0] for m in means.index], height=0.7
    )
    for place, method in zip(places, means.index, strict=True):
        values = chosen.loc[chosen["method"] == method, score]
        if len(values) > 1:
            ax.plot(values, np.full(len(values), place), "k.", ms=4)
    ax.set_yticks(places, [str(m) for m in means.index])
    ax.set(xlabel=f"{score.replace('_', ' ')} of level {level}")
    return plain(ax)
