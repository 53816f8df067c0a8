"""Counterparts out of a table of scores: the best of each row, and one to one."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

__all__ = ["best_of_rows", "one_to_one"]

_ALONE = 1e-9  # what a row gains that stays alone: less than any score that counts


def best_of_rows(scores: sp.csr_array) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Column and value of the largest entry of each row; -1 and 0 for a row without any."""
    best = np.full(scores.shape[0], -1, dtype=np.intp)
    value = np.zeros(scores.shape[0])
    rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    order = np.lexsort((scores.data, rows))  # the last entry of each row is its largest
    rows = rows[order]
    last = np.flatnonzero(np.diff(rows, append=-1))
    best[rows[last]] = scores.indices[order][last]
    value[rows[last]] = scores.data[order][last]
    return best, value


def one_to_one(scores: sp.csr_array) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Column and score of each row in the matching with the largest sum; -1 and 0 where a row stays alone.

    A row may stay alone at no gain: each has a private column of (almost) zero weight beside the real ones, so that a full
    matching exists and sparse candidates suffice.

    Parameters
    ----------
    scores
        (rows, columns), positive where there is an entry.
    """
    n, m = scores.shape
    partner, value = np.full(n, -1, dtype=np.intp), np.zeros(n)
    if not scores.nnz:
        return partner, value
    alone = sp.diags_array(np.full(n, _ALONE), format="csr")
    rows, columns = min_weight_full_bipartite_matching(sp.hstack([scores, alone], format="csr"), maximize=True)
    partner[rows] = np.where(columns < m, columns, -1)
    met = partner >= 0
    value[met] = scores[np.flatnonzero(met), partner[met]]
    return partner, value
