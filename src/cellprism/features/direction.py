"""Which way a gene goes with a feature: one rule for tables, exports, targets, figures and names."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["direction"]


def direction(statistic: Any, log2fc: Any) -> NDArray[np.int8]:
    """1 where a gene is higher in the active cells by rank and by mean, -1 where it is lower by both, else 0.

    Ranks within strata and means over all cells may disagree (a gene that is strong in few of the inactive cells): such a
    gene is neither up nor down.

    Parameters
    ----------
    statistic, log2fc
        Columns of a gene table, or arrays of one shape.

    Examples
    --------
    >>> from cellprism.features.direction import direction
    >>> direction([5.0, 5.0, -5.0, float("nan")], [1.0, -0.1, -1.0, 1.0]).tolist()
    [1, 0, -1, 0]
    """
    rank, mean = np.sign(np.asarray(statistic, dtype=np.float64)), np.sign(np.asarray(log2fc, dtype=np.float64))
    return np.where(rank == mean, np.nan_to_num(rank), 0).astype(np.int8)
