"""The features that stand out in each cell, by the names that a run gave them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
import scipy.sparse as sp

__all__ = ["strongest"]

_SHOWN: Final = 3


def strongest(codes: sp.csr_array, features: pd.DataFrame | None) -> pd.DataFrame:
    """Names of the strongest features of each cell.

    Parameters
    ----------
    codes
        (cells, width) of any cells.
    features
        A run's, with ``feature``, ``name`` and ``mean_active``: features are on scales of their own, so activations are
        compared in units of the feature's mean over the cells in which it is active. Without these there are no columns.

    Returns
    -------
    DataFrame
        A row a cell: ``top_feature`` (-1 where none of them is active) and ``top_names``, up to three, the strongest first, with
        a bar between them.

    Examples
    --------
    >>> from cellprism.features.strongest import strongest
    >>> strongest(codes, annotation.features).columns.tolist()
    ['top_feature', 'top_names']
    """
    if features is None or "mean_active" not in features:
        return pd.DataFrame(index=range(codes.shape[0]))
    width = codes.shape[1]
    usual, name = np.full(width, np.nan), np.full(width, "", dtype=object)
    number = features["feature"].to_numpy()
    usual[number], name[number] = features["mean_active"], features["name"].astype(str)
    relative = codes.data / usual[codes.indices]
    relative[~np.isfinite(relative)] = 0  # a feature that the run has no row of
    cell = np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))
    order = np.lexsort((codes.indices, -relative, cell))
    order = order[relative[order] > 0]
    place = np.arange(order.size) - np.searchsorted(cell[order], cell[order])
    shown = order[place < _SHOWN]
    first = order[place == 0]
    top = np.full(codes.shape[0], -1, dtype=np.int64)
    top[cell[first]] = codes.indices[first]
    names = pd.Series(name[codes.indices[shown]]).groupby(cell[shown]).agg(" | ".join)
    return pd.DataFrame({"top_feature": top, "top_names": names.reindex(range(len(top)), fill_value="").to_numpy()})
