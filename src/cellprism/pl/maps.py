"""Maps: cells by a feature's activation, features by what they are alike in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.pl.style import CATEGORIES, GREY, bare, key_high, key_points, name_of, own_axes, wrapped
from cellprism.report.columns import text
from cellprism.report.from_anndata import as_source
from cellprism.report.layout import plane

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

    from cellprism.report.source import Source

__all__ = ["cells", "feature_map", "row_of"]

MOST: Final = len(CATEGORIES)


def row_of(source: Source, feature: int) -> int:
    """Place of a feature in the feature table.

    Raises
    ------
    InputError
        Where it is not live.
    """
    found = np.flatnonzero(source.features["feature"].to_numpy() == feature)
    if not len(found):
        numbers = source.features["feature"].to_numpy()
        some = ", ".join(map(str, numbers[:5]))
        raise InputError("a feature is named by its number and must be live", f"{feature}", f"choose one of {some}, …")
    return int(found[0])


@numbers_checked
def cells(
    data: AnnData | Source | str | Path,
    feature: int,
    *,
    key: str = "prism",
    ax: Axes | None = None,
    size: float | None = None,
) -> Axes:
    """Cells on their 2-D map, coloured by the activation of a feature, the most active on top.

    Parameters
    ----------
    data
        An AnnData with features, or a run folder.
    feature
        Number of the feature.
    key
        Name of the result in the AnnData.
    ax
        Axes to draw into.
    size
        Area of a point in square points; by default smaller the more cells there are.

    Examples
    --------
    >>> prism.pl.cells(adata, 1).get_xlabel()
    'UMAP 1'
    """
    source = as_source(data, key)
    row = row_of(source, feature)
    if not {"x", "y"} <= set(source.cells):
        raise InputError("cells need a 2-D map to be drawn on", "none", "compute one, such as sc.tl.umap(adata)")
    titled = ax is not None
    ax = own_axes(ax, (4.2, 3.6))
    level = source.codes[:, [row]].toarray().ravel()
    x, y = source.cells["x"].to_numpy(), source.cells["y"].to_numpy()
    area = size if size is not None else float(np.clip(6000 / max(len(x), 1), 0.5, 18))
    active = level > 0
    ax.scatter(x[~active], y[~active], s=area, c=GREY, linewidths=0, rasterized=True)
    order = np.flatnonzero(active)[np.argsort(level[active])]
    drawn = ax.scatter(
        x[order], y[order], s=area, c=level[order], cmap="viridis_r", vmin=0, linewidths=0, rasterized=True
    )
    ax.figure.colorbar(drawn, ax=ax, shrink=0.6, label="activation")
    if not titled:
        ax.set_title(wrapped(name_of(source, feature), 40), fontsize=9)
    axis = _axis(str(source.info.get("map_source", "")))
    ax.set(xlabel=f"{axis} 1", ylabel=f"{axis} 2")
    return bare(ax)


def _axis(map_source: str) -> str:
    """What the axes of a map are called."""
    known = {"umap": "UMAP", "tsne": "t-SNE", "draw_graph": "force-directed", "pca": "PC"}
    return next((name for key, name in known.items() if key in map_source.casefold()), "map")


@numbers_checked
def feature_map(
    data: AnnData | Source | str | Path,
    *,
    colour: str = "kind",
    names: int = 12,
    key: str = "prism",
    ax: Axes | None = None,
    seed: int = 0,
) -> Axes:
    """Features in two dimensions by the cosine of their directions in the embedding (t-SNE).

    Parameters
    ----------
    data, key, ax
        As for :func:`cells`.
    colour
        A column of the feature table: numbers by viridis, words by the eight most frequent, the rest grey.
    names
        So many features with the clearest gene sets carry their numbers, with their names beside the axes.
    seed
        Of the layout.

    Examples
    --------
    >>> ax = prism.pl.feature_map(adata)
    >>> len(ax.collections) > 0
    True
    """
    source = as_source(data, key)
    if source.directions is None:
        raise InputError(
            "a feature map needs the embedding", "none", "keep embedding.npy in the run folder, or the obsm key"
        )
    if colour not in source.features:
        raise InputError(
            "features are coloured by a column of their table", repr(colour), f"choose of {list(source.features)}"
        )
    named = _clearest(source, names)
    called = [str(source.features["name"].iloc[i]) for i in named]
    ax = own_axes(ax, (8.4, max(5.0, key_high(called))) if called else (6, 5))
    flat = plane(source.directions, seed=seed)
    values, legend = source.features[colour], None
    area = float(np.clip(9000 / max(len(flat), 1), 3, 40))
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        drawn = ax.scatter(
            flat[:, 0],
            flat[:, 1],
            s=area,
            c=values.to_numpy(dtype=float, na_value=np.nan),
            cmap="viridis",
            linewidths=0,
            plotnonfinite=False,
        )
        ax.figure.colorbar(drawn, ax=ax, shrink=0.6, label=colour.replace("_", " "))
    else:
        words = np.array(text(values), dtype=object)
        common = [w for w in pd.Series(words).value_counts().index if w][:MOST]
        rest = ~np.isin(words, common)
        ax.scatter(flat[rest, 0], flat[rest, 1], s=area, c=GREY, linewidths=0, label="other" if rest.any() else None)
        for word, shade in zip(common, CATEGORIES, strict=False):
            ax.scatter(
                flat[words == word, 0], flat[words == word, 1], s=area, c=shade, linewidths=0, label=wrapped(word, 30)
            )
        legend = colour.replace("_", " ")
    bare(ax)
    ax.set(xlabel="features: t-SNE 1", ylabel="t-SNE 2")
    numbers = [int(source.features["feature"].iloc[i]) for i in named]
    key_points(ax, [(flat[i, 0], flat[i, 1]) for i in named], numbers, called, legend=legend)
    return ax


def _clearest(source: Source, names: int) -> list[int]:
    """Rows of the features with the clearest gene sets, one of those with one name."""
    if "name" not in source.features or not names:
        return []
    q = (
        source.features["top_set_qval"]
        if "top_set_qval" in source.features
        else pd.Series(np.nan, index=source.features.index)
    )
    first = ~source.features["name"].astype(str).duplicated()
    return [int(i) for i in np.argsort(q.to_numpy(dtype=float, na_value=np.inf), kind="stable") if first.iloc[i]][
        :names
    ]
