"""How well an SAE describes cells: error, sparsity, life of its features."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.sae.model import SAE

__all__ = ["Description", "describe", "explained_variance"]


class Description(NamedTuple):
    """What an SAE makes of a set of cells."""

    explained_variance: float
    """1 - squared error / squared deviation from the mean, over all cells and raw dimensions."""
    mse: float
    """Mean squared error over cells and raw dimensions."""
    l0: float
    """Mean number of active features a cell."""
    n_live: int
    """Features active in at least one cell."""
    n_dead: int
    """Features active in none."""


def explained_variance(X: NDArray[Any], X_hat: NDArray[Any]) -> float:
    """``1 - sum (x - x_hat)^2 / sum (x - mean)^2``; NaN where X does not vary."""
    X = np.asarray(X, dtype=np.float64)
    total = np.square(X - X.mean(axis=0)).sum()
    return float(1 - np.square(X - X_hat).sum() / total) if total > 0 else float("nan")


def describe(sae: SAE, X: NDArray[Any], codes: sp.csr_array | None = None) -> Description:
    """Metrics of an SAE on raw embeddings (cells, d)."""
    codes = sae.encode(X) if codes is None else codes
    X_hat = sae.decode(codes)
    live = int((np.bincount(codes.indices, minlength=codes.shape[1]) > 0).sum())
    return Description(
        explained_variance=explained_variance(X, X_hat),
        mse=float(np.square(np.asarray(X, dtype=np.float64) - X_hat).mean()),
        l0=codes.nnz / max(1, codes.shape[0]),
        n_live=live,
        n_dead=sae.width - live,
    )
