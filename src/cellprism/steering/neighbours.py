"""Where moved cells land: nearest neighbours among the real cells, and their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.data.missing import groups
from cellprism.errors import InputError

__all__ = ["composition", "label_columns", "nearest", "neighbour_table", "typical_distance"]


def label_columns(labels: Any, n: int) -> dict[str, NDArray[Any]]:
    """Label columns as arrays of n strings ("" without a value), from a DataFrame, a mapping, a series or one array."""
    if labels is None:
        return {}
    if isinstance(labels, pd.DataFrame):
        named = {str(c): labels[c].array for c in labels}
    elif isinstance(labels, pd.Series):
        named = {str(labels.name or "label"): labels.array}
    elif isinstance(labels, dict):
        named = {str(k): np.asarray(v) for k, v in labels.items()}
    else:
        named = {"label": np.asarray(labels)}
    for name, values in named.items():
        if values.shape != (n,):
            raise InputError("labels must have one entry a cell", f"{name!r}: {values.shape} for {n}", "give them all")
    return {k: np.array(["" if t is None else t for t in groups(v).text()], dtype=str) for k, v in named.items()}


def nearest(
    Z: NDArray[Any], moved: NDArray[Any], rows: NDArray[np.intp], k: int = 15
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The k cells of ``Z`` nearest to each moved cell, itself (row ``rows[i]``) left out.

    Returns
    -------
    neighbours, distance
        (cells, k) row numbers, and (cells,) the distance of the nearest.
    """
    from sklearn.neighbors import NearestNeighbors

    k = min(k, Z.shape[0] - 1)
    distance, index = NearestNeighbors(n_neighbors=k + 1).fit(Z).kneighbors(moved)
    # Push the cell itself to the end of its own list, keep the k others in their order.
    order = np.argsort(index == rows[:, None], axis=1, kind="stable")[:, :k]
    index = np.take_along_axis(index, order, 1)
    return cast("NDArray[np.intp]", index), np.take_along_axis(distance, order, 1)[:, 0]


def typical_distance(Z: NDArray[Any], rng: np.random.Generator, n: int = 1000) -> NDArray[np.float64]:
    """Distances of (a sample of) the real cells to their nearest other cell, sorted."""
    rows = np.sort(rng.choice(Z.shape[0], min(n, Z.shape[0]), replace=False))
    return np.sort(nearest(Z, Z[rows], rows, 1)[1])


def composition(neighbours: NDArray[np.intp], labels: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """Share of each of ``values`` among all neighbours, (values,)."""
    return np.asarray([(labels[neighbours] == v).mean() for v in values])


def neighbour_table(
    Z: NDArray[Any],
    after: NDArray[Any],
    null_after: Sequence[NDArray[Any]],
    rows: NDArray[np.intp],
    labels: Mapping[str, NDArray[Any]],
) -> pd.DataFrame:
    """The table of :attr:`Effect.neighbours`."""
    parts = []
    if labels:
        start, _ = nearest(Z, Z[rows], rows)
        end, _ = nearest(Z, after, rows)
        drawn = [nearest(Z, a, rows)[0] for a in null_after]
    for column, values in labels.items():
        found = np.unique(values[values != ""])
        a, b = composition(start, values, found), composition(end, values, found)
        null = np.asarray([composition(d, values, found) for d in drawn]) - a
        reached = (np.abs(null) >= np.abs(b - a)).sum(0)
        parts.append(
            pd.DataFrame(
                {
                    "column": column,
                    "value": found,
                    "before": a,
                    "after": b,
                    "change": b - a,
                    "null_pval": (1 + reached) / (1 + len(null)),
                }
            )
        )
    empty = pd.DataFrame(columns=["column", "value", "before", "after", "change", "null_pval"])
    return pd.concat(parts, ignore_index=True) if parts else empty
