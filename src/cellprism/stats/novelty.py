"""Whether cells are unlike others: conformal p values out of scores that models gave to cells they had not seen."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DepthTrend", "cross_conformal", "depth_trend"]

_LEAST_SPREAD, _ROUNDING = 0.3, 1e-9
"""Of the mean spread, and of the score: what the line may not fall below, so that no cell is judged by a spread near zero."""


class DepthTrend(NamedTuple):
    """How a score goes with the depth of a cell: a parabola in log depth, about which it spreads along a line."""

    middle: float
    width: float
    """Mean and standard deviation of log depth."""
    low: float
    high: float
    """Its range; beyond, the trend stays where it was."""
    level: NDArray[np.float64]
    """(3,) coefficients of 1, x, x^2."""
    spread: NDArray[np.float64]
    """(2,) of 1, x."""
    least: float

    def standardise(self, score: NDArray[np.float64], depth: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores above what is usual at the depth, in units of the spread there."""
        powers = self._powers(depth)
        return np.asarray((score - powers @ self.level) / np.maximum(powers[:, :2] @ self.spread, self.least))

    def _powers(self, depth: NDArray[np.float64]) -> NDArray[np.float64]:
        x = (np.clip(np.log(np.maximum(depth, 1)), self.low, self.high) - self.middle) / self.width
        return np.vander(x, 3, increasing=True)


def depth_trend(score: NDArray[np.float64], depth: NDArray[np.float64]) -> DepthTrend:
    """Fit the trend of a score.

    Parameters
    ----------
    score, depth
        (cells,); depth in molecules, at least 1.
    """
    x = np.log(np.maximum(depth, 1))
    width = x.std() if np.ptp(x) > 0 else 1.0
    flat = DepthTrend(x.mean(), width, x.min(), x.max(), np.zeros(3), np.array([1.0, 0.0]), 1.0)
    powers = flat._powers(depth)
    level = np.linalg.lstsq(powers, score, rcond=None)[0]
    left = np.abs(score - powers @ level)
    spread = np.linalg.lstsq(powers[:, :2], left, rcond=None)[0]
    return flat._replace(
        level=np.asarray(level, float),
        spread=np.asarray(spread, float),
        least=max(_LEAST_SPREAD * float(left.mean()), _ROUNDING * (1 + float(np.abs(score).mean()))),
    )


def cross_conformal(
    scores: NDArray[np.float64], reference: NDArray[np.float64], fold: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Conformal p values of new cells: how many cells of the reference score as high, each by the model that has not seen it.

    Parameters
    ----------
    scores
        (folds, cells) of the new cells, by the model that left each fold out; larger is stranger. NaN: no p value.
    reference
        (reference cells,) scores, each by the model of its own fold.
    fold
        (reference cells,) fold of each.

    Returns
    -------
    (cells,), at least 1 / (reference cells + 1).

    Notes
    -----
    Where new cells and those of the reference are exchangeable, ranks within a fold are uniform, and their sum over folds is
    close to it (cross-conformal prediction: Vovk 2015, Ann. Math. Artif. Intell. 74:9). p values that share a reference
    depend on each other positively, under which Benjamini-Hochberg holds (Bates et al. 2023, Ann. Stat. 51:149).

    Examples
    --------
    >>> from cellprism.stats.novelty import cross_conformal
    >>> reference, fold = np.arange(99.0), np.arange(99) % 3
    >>> cross_conformal(np.array([[1000.0], [1000.0], [1000.0]]), reference, fold).tolist()
    [0.01]
    """
    above = np.zeros(scores.shape[1])
    for k, found in enumerate(scores):
        sorted_ = np.sort(reference[fold == k])
        above += len(sorted_) - np.searchsorted(sorted_, found, side="left")
    pval = (1 + above) / (1 + len(reference))
    pval[np.isnan(scores).any(axis=0)] = np.nan
    return np.asarray(pval)
