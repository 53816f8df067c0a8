"""How well an SAE describes cells: error, sparsity, life of its features."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.chunks import chunks
from cellprism.sae.model import SAE

__all__ = ["Description", "describe", "no_description"]


class Description(NamedTuple):
    """What an SAE makes of a set of cells."""

    explained_variance: float
    """1 - squared error / squared deviation from the mean, over all cells and raw dimensions; NaN where X does not vary."""
    mse: float
    """Mean squared error over cells and raw dimensions."""
    l0: float
    """Mean number of active features a cell."""
    n_live: int
    """Features active in at least one cell."""
    n_dead: int
    """Features active in none."""


def describe(
    sae: SAE, X: NDArray[Any], codes: sp.csr_array | None = None, *, rows: NDArray[np.intp] | None = None
) -> Description:
    """Metrics of an SAE on raw embeddings.

    Parameters
    ----------
    sae
        Of the embedding.
    X
        (cells, d) array or memory map, read a chunk at a time.
    codes
        (cells, width) where they are known.
    rows
        The cells to look at; None or none = all.
    """
    rows = None if rows is None or not len(rows) else rows
    error = deviation = 0.0
    n, active, fired = 0, 0, np.zeros(sae.width, dtype=np.bool_)
    total, first = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    for x in chunks(X, rows):
        here = sae.encode(x) if codes is None else codes[n : n + len(x)]
        error += float(np.square(x - sae.decode(here)).sum())
        first = first if n else x.mean(axis=0)  # near the mean of all: squares about it lose no digits
        deviation += float(np.square(x - first).sum())
        total += (x - first).sum(axis=0)
        n, active = n + len(x), active + here.nnz
        fired[here.indices] = True
    deviation -= float(np.square(total).sum()) / max(1, n)
    live = int(fired.sum())
    return Description(
        explained_variance=1 - error / deviation if deviation > 0 else float("nan"),
        mse=error / max(1, n * X.shape[1]),
        l0=active / max(1, n),
        n_live=live,
        n_dead=sae.width - live,
    )


def no_description(explained_variance: float) -> str:
    """What is to be said of a dictionary that describes cells worse than their mean does; empty where it does not."""
    if not explained_variance < 0:
        return ""
    return (
        f"the dictionary describes the cells worse than their mean does (explained variance {explained_variance:.2f}): "
        "train longer, let more features be active, or let the recipe be chosen"
    )
