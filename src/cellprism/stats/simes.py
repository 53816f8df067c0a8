"""Whether a feature has anything among its items: Simes' p over the items, to be corrected over features.

With many true findings the threshold of a family of all (feature, item) pairs is lenient, and features without any pass
it now and then. A claim about features is therefore tested once a feature.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from cellprism.stats.fdr import benjamini_hochberg
from cellprism.stats.kernels import njit
from cellprism.stats.parallel import for_chunks

__all__ = ["feature_qval", "simes"]

_STEPS = {"z": 0.002, "log p": 0.01}
_BINS = 4_000  # up to |z| = 8 and p = e^-40; what lies beyond counts as if it were there


def simes(values: NDArray[np.floating], kind: Literal["z", "log p"]) -> NDArray[np.float64]:
    """Simes' p value of each row: the smallest of n p(i) / i over its n sorted p values.

    Items are counted in narrow steps rather than sorted: the result is never below the exact one, and at most 2 % above
    it where it is over 1e-10 (all |z| over 8 and all p under e^-40 count as these).

    Parameters
    ----------
    values
        (rows, items) deviates, two-sided, or natural logarithms of p values. Rows that begin with NaN are not tested.

    Examples
    --------
    >>> from cellprism.stats.simes import simes
    >>> float(simes(np.log([[0.01, 0.5, 0.9, 0.7]]), "log p").round(3)[0])
    0.04
    """
    n = values.shape[1]
    edges = np.arange(_BINS) * _STEPS[kind]
    at_edge = 2.0 * special.ndtr(-edges) if kind == "z" else np.exp(-edges)
    out = np.full(values.shape[0], np.nan)
    if n == 0:
        return out

    def measure(part: slice) -> None:
        _smallest(values[part], 1.0 / _STEPS[kind], at_edge, out[part])

    for_chunks(measure, values.shape[0], 64)
    p: NDArray[np.float64] = np.minimum(out * n, 1.0)
    return p


def feature_qval(
    values: NDArray[np.floating], kind: Literal["z", "log p"], testable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(features,) q value of "the feature has an item": Simes over items, Benjamini-Hochberg over testable features."""
    p = simes(values.reshape(values.shape[0], -1), kind)
    return benjamini_hochberg(np.where(testable, p, np.nan))


@njit
def _smallest(values: np.ndarray, per_step: float, at_edge: np.ndarray, out: np.ndarray) -> None:
    """Smallest p(i) / i of each row, p(i) at the lower edges of steps."""
    bins = at_edge.size
    count = np.zeros(bins, dtype=np.int64)
    for row in range(values.shape[0]):
        if np.isnan(values[row, 0]):
            continue
        count[:] = 0
        for item in range(values.shape[1]):
            place = abs(values[row, item]) * per_step
            if place >= bins - 1:
                count[bins - 1] += 1
            elif place >= 0.0:
                count[int(place)] += 1
        above = 0
        best = np.inf
        for b in range(bins - 1, -1, -1):
            if count[b] > 0:
                above += count[b]
                best = min(best, at_edge[b] / above)
                if at_edge[b] >= best * values.shape[1]:  # no step below can do better
                    break
        out[row] = best
