"""A dictionary beside its rivals, over the targets it was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.evaluation.result import THIS, Evaluation, rival_words
from cellprism.numeric import numbers_checked
from cellprism.pl.style import CATEGORIES, GREY, own_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["evaluation"]


@numbers_checked
def evaluation(
    data: Evaluation | pd.DataFrame | str | Path,
    measure: str = "probe_f1",
    *,
    k: int = 1,
    target: str = "mean",
    ax: Axes | None = None,
) -> Axes:
    """Every dictionary's value and interval, the best on top, with the ceiling as a line; single targets as points.

    Parameters
    ----------
    data
        From :func:`cellprism.evaluate`; its table; or a run folder.
    measure, k
        Rows of the table to draw.
    target
        Which target; of ``mean`` the single ones are drawn too.
    ax
        Axes to draw into.

    Examples
    --------
    >>> ax = prism.pl.evaluation("RUN")
    >>> "F1" in ax.get_xlabel()
    True
    """
    table = _table(data)
    rows = table[(table["measure"] == measure) & (table["k"] == k)]
    shown = rows[rows["target"] == target].sort_values("value", kind="stable")
    if shown.empty:
        raise InputError(
            "the evaluation has what is to be drawn",
            f"no {measure!r} of {target!r} with k={k}",
            f"choose of {sorted(table['measure'].unique())}",
        )
    ax = own_axes(ax, (5.2, 0.34 * len(shown) + 1.1))
    places = np.arange(len(shown))
    for place, row in zip(places, shown.to_dict("records"), strict=True):
        colour = CATEGORIES[5] if row["dictionary"] == THIS else CATEGORIES[0]
        if target == "mean":
            single = rows[(rows["dictionary"] == row["dictionary"]) & (rows["target"] != "mean")]["value"]
            ax.plot(single, np.full(len(single), place), ".", color=GREY, ms=5, zorder=1)
        if np.isfinite(row["low"]):
            ax.plot([row["low"], row["high"]], [place, place], color=colour, lw=2, zorder=2)
        ax.plot(row["value"], place, "o", color=colour, ms=6, zorder=3)
    ceiling = shown["ceiling"].iloc[0]
    if np.isfinite(ceiling):
        ax.axvline(ceiling, color="black", lw=1, ls="--", label="linear probe of the embedding")
        ax.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    ax.set_yticks(places, ["these features" if d == THIS else rival_words(d) for d in shown["dictionary"]])
    features = f", {k} feature{'s' if k > 1 else ''}" if measure.startswith("probe") else ""
    words = measure.removeprefix("probe_").replace("_", " ").replace("auroc", "AUROC").replace("f1", "F1")
    ax.set(xlabel=f"{words}{features}, {'mean over targets' if target == 'mean' else target}")
    return plain(ax)


def _table(data: Any) -> pd.DataFrame:
    if isinstance(data, Evaluation):
        return data.table
    if isinstance(data, pd.DataFrame):
        return data
    path = Path(data)
    file = path / "evaluation.parquet" if path.is_dir() else path
    if not file.is_file():
        raise InputError("a run folder with an evaluation", f"no {file}", "cellprism evaluate RUN_DIR")
    return pd.read_parquet(file)
