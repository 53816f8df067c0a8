"""Features by the terms that they have."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.features.terms import TermMap, probed, term_map
from cellprism.numeric import numbers_checked
from cellprism.pl.style import CATEGORIES, GREY, bare, plain, shown_once, wrapped
from cellprism.report.from_anndata import as_source
from cellprism.report.terms import set_groups

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from cellprism.report.source import Source

__all__ = ["terms"]


@numbers_checked
def terms(
    data: AnnData | Source | str | Path,
    *,
    word: str | None = None,
    direction: str = "up",
    level: float = 0.05,
    key: str = "prism",
    seed: int = 0,
) -> Figure:
    """The features x terms matrix as a map, coloured by level-1 ancestor, and the number of terms a feature.

    Parameters
    ----------
    data
        An AnnData with annotated features, or a run folder.
    word
        Features with a term whose name holds it are shown in a map of their own.
    direction, level
        Terms up or down in active cells, and the q value that they pass.
    key
        Name of the result in the AnnData.
    seed
        Of the layout (UMAP by the Jaccard distance of terms).

    Examples
    --------
    >>> figure = prism.pl.terms("RUN", word="cell")
    >>> len(figure.axes)
    3
    """
    import matplotlib.pyplot as plt

    source = as_source(data, key)
    found = term_map(source.features, source.sets, set_groups(source), direction=direction, level=level)
    if not len(found.features):
        raise InputError("a map of terms needs features with some", f"none at q < {level:g}", "raise `level`")
    flat = found.layout(seed)
    ratios = [1.0, 1.0, 0.7] if word else [1.0, 0.7]
    figure, axes = plt.subplots(
        1, len(ratios), figsize=(4.4 * len(ratios), 3.9), layout="constrained", width_ratios=ratios
    )
    _by_ancestor(axes[0], found, flat)
    if word:
        hit = probed(found, word)
        for mask, shade in ((~hit, GREY), (hit, CATEGORIES[5])):
            axes[1].scatter(flat[mask, 0], flat[mask, 1], s=_area(found), c=shade, linewidths=0)
        axes[1].set_title(f"“{word}” in a term of {hit.sum():,} of {len(hit):,} features", fontsize=9)
        bare(axes[1])
    last = axes[-1]
    counts = found.counts
    last.hist(counts, bins=np.geomspace(1, max(2, counts.max() + 1), 21), color=CATEGORIES[0])
    last.set(
        xscale="log",
        xlabel="terms a feature",
        ylabel="features",
    )
    last.set_title(f"{len(source.features) - len(counts):,} features have none", fontsize=9)
    plain(last)
    return shown_once(figure)


def _area(found: TermMap) -> float:
    return float(np.clip(6000 / max(len(found.features), 1), 3, 36))


def _by_ancestor(ax: Axes, found: TermMap, flat: np.ndarray) -> None:
    words = np.array(found.ancestors, dtype=object)
    common = [w for w in pd.Series(words).value_counts().index if w][: len(CATEGORIES)]
    rest = ~np.isin(words, common)
    if rest.any():
        ax.scatter(flat[rest, 0], flat[rest, 1], s=_area(found), c=GREY, linewidths=0, label="other or not known")
    for one, shade in zip(common, CATEGORIES, strict=False):
        mine = words == one
        ax.scatter(flat[mine, 0], flat[mine, 1], s=_area(found), c=shade, linewidths=0, label=wrapped(one, 28))
    ax.set_title(f"{len(found.features):,} features by {len(found.terms):,} terms", fontsize=9)
    ax.legend(frameon=False, fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2)
    bare(ax).set(xlabel="features: UMAP 1", ylabel="UMAP 2")
