"""Features between two conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.pl.style import DOWN, GREY, UP, key_high, key_points, label_points, own_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["differential"]


@numbers_checked
def differential(
    data: Any, *, names: int = 10, level: float = 0.05, key: str = "prism", ax: Axes | None = None
) -> Axes:
    """Effect against -log10 p of every feature compared between two conditions.

    Parameters
    ----------
    data
        The result of ``prism.differential``, an AnnData after ``prism.tl.differential``, or the folder that
        ``cellprism differential`` wrote.
    names
        So many features with the smallest p carry their numbers, with their names, where they have some, beside the axes.
    level
        Features below this q value are coloured, orange where higher in the second condition, blue where lower.
    key
        Name of the result in the AnnData.
    ax
        Axes to draw into.

    Examples
    --------
    >>> found = prism.tl.differential(adata, by="condition", donor="donor")
    >>> ax = prism.pl.differential(adata)
    >>> ax.get_ylabel() != ""
    True
    """
    table, info = _parts(data, key)
    effect = table["effect"].to_numpy(dtype=float)
    height = -np.log10(np.maximum(table["pval"].to_numpy(dtype=float), 1e-300))
    clear = (table["qval"] < level).to_numpy()
    first = np.argsort(-height, kind="stable")[:names]
    called = [str(name) for name in table["name"].iloc[first]] if "name" in table else []
    ax = own_axes(ax, (7.4, max(3.8, key_high(called))) if any(called) else (4.6, 3.8))
    for mask, shade in ((~clear, GREY), (clear & (effect > 0), UP), (clear & (effect < 0), DOWN)):
        ax.scatter(effect[mask], height[mask], s=14, c=shade, linewidths=0)
    ax.axvline(0, color=GREY, lw=0.8, zorder=0)
    reach = float(np.nanmax(np.abs(effect), initial=0.0)) * 1.3 or 1.0
    ax.set(
        xlabel=f"effect {info.get('effect', '')}".strip(), ylabel="−log10 p", xlim=(-reach, reach),
        title=f"{info['b']} against {info['a']}",
    )  # fmt: skip
    plain(ax)
    points, numbers = [(effect[i], height[i]) for i in first], [int(table["feature"].iloc[i]) for i in first]
    if any(called):
        key_points(ax, points, numbers, called)
    else:
        label_points(ax, points, [f"feature {n}" for n in numbers], 6)
    return ax


def _parts(data: Any, key: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    if isinstance(data, (str, Path)):
        folder = Path(data)
        if not (folder / "differential.parquet").is_file():
            raise InputError(
                "a comparison is a folder that `cellprism differential` wrote",
                f"no differential.parquet in {folder}",
                "check the path",
            )
        return pd.read_parquet(folder / "differential.parquet"), json.loads(
            (folder / "run.json").read_text(encoding="utf-8")
        )
    if hasattr(data, "table") and hasattr(data, "info"):
        return data.table, data.info
    stored = data.uns.get(key, {})
    if "differential" not in stored:
        raise InputError(
            "conditions must be compared before they are drawn",
            f"no uns[{key!r}]['differential']",
            "call prism.tl.differential first",
        )
    return stored["differential"], json.loads(str(stored["differential_info"]))
