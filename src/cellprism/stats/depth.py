"""Depth as a covariate, by strata: cells are compared with cells of similar depth only."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cellprism.errors import InputError

__all__ = ["depth_strata"]


def depth_strata(
    depth: np.ndarray, strata: np.ndarray | None = None, n_bins: int = 10, min_cells: int = 50
) -> np.ndarray:
    """Bin cells by depth, within given strata where there are any.

    Parameters
    ----------
    depth
        (cells,) total counts, or any other positive covariate.
    strata
        (cells,) further labels (donor, batch); bins are quantiles within each.
    n_bins
        Most bins a stratum. Ten bins leave about one hundredth of the covariate's variance (Cochran, 1968,
        Biometrics 24:295: five already remove 90 % of its bias).
    min_cells
        Fewest cells a bin; small strata get fewer bins.

    Returns
    -------
    (cells,) integer labels.

    Raises
    ------
    InputError
        For depths that are missing, non-finite or negative, or of another length than the strata.
    """
    depth = np.asarray(depth, dtype=np.float64)
    if not np.isfinite(depth).all() or (depth < 0).any():
        bad = int((~np.isfinite(depth) | (depth < 0)).sum())
        raise InputError("depth must be finite and non-negative", f"{bad} other values", "drop those cells")
    group = np.zeros(depth.size, dtype=np.int64) if strata is None else pd.factorize(np.asarray(strata))[0]
    if group.size != depth.size:
        raise InputError(
            "depth and strata must have one value a cell", f"{depth.size} and {group.size}", "give both for all cells"
        )
    out = np.empty(depth.size, dtype=np.int64)
    start = 0
    for g in np.unique(group):
        here = np.flatnonzero(group == g)
        bins = max(1, min(n_bins, here.size // min_cells))
        edges = np.quantile(depth[here], np.linspace(0, 1, bins + 1)[1:-1])
        out[here] = start + np.searchsorted(np.unique(edges), depth[here], side="left")
        start = int(out[here].max()) + 1
    return out
