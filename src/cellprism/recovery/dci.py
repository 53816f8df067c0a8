from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import norm

__all__ = ["Entanglement", "entanglement"]


class Entanglement(NamedTuple):
    """How near codes and variables are to one another's names."""

    disentanglement: float
    """1: each feature goes with one variable; 0: with all alike. Features weigh by their share of importance."""
    completeness: float
    """1: each variable goes with one feature; 0: with all alike. Variables weigh alike."""


def entanglement(r: NDArray[Any], n_cells: int, *, alpha: float = 0.01) -> Entanglement:
    """Compute disentanglement and completeness from squared correlations.

    Parameters
    ----------
    r
        Correlations (features, variables), without NaN.
    n_cells
        Cells they were computed from.
    alpha
        Chance of one spurious entry: squared correlations that independent pairs would reach (normal approximation,
        Bonferroni over all pairs) count as zero, else the floor of sampling noise over thousands of features would
        read as entanglement.

    Returns
    -------
    Both scores; NaN without an importance above chance. With importance ``I = r^2``: ``D_i = 1 - H(I_i. / sum)`` to the
    base of the number of variables, weighted by ``sum_j I_ij``; ``C_j = 1 - H(I_.j / sum)`` to the base of the
    number of features.

    References
    ----------
    Eastwood & Williams, ICLR 2018; importances here are squared correlations instead of those of a regressor.
    """
    importance = r.astype(np.float64) ** 2
    chance = norm.isf(alpha / (2 * max(r.size, 1))) ** 2 / max(n_cells, 1)
    importance[importance < chance] = 0
    weight = importance.sum(axis=1)
    reached = importance.sum(axis=0) > 0
    if not reached.any():
        return Entanglement(np.nan, np.nan)
    specific = 1 - _entropy(importance[weight > 0])
    complete = 1 - _entropy(importance[:, reached].T)
    return Entanglement(float(np.average(specific, weights=weight[weight > 0])), float(complete.mean()))


def _entropy(importance: NDArray[np.float64]) -> NDArray[np.float64]:
    p = importance / importance.sum(axis=1, keepdims=True)
    base = np.log(p.shape[1]) if p.shape[1] > 1 else 1.0
    entropy: NDArray[np.float64] = -xlogy(p, p).sum(axis=1) / base
    return entropy
