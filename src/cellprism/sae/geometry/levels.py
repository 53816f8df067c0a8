"""Off or on: a narrow level at zero and a wide one beside it, fitted to each readout."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellprism.numba_cache import compiled

__all__ = ["Levels", "fit_levels"]

_CELLS = 3_000  # five numbers a readout need no more
_STARTS = (0.3, 0.55, 0.8)  # share of the cells in which the feature is taken to be off at first
_ITERATIONS = 40
_LEAST = 1e-8  # variance


class Levels(NamedTuple):
    """Two levels of each readout; ``sign * u - zero`` has its zero where the feature is off and rises when it is on."""

    sign: NDArray[np.float64]
    """(p,) +1 or -1: the side of the wide level."""
    zero: NDArray[np.float64]
    """(p,) mean of ``sign * u`` where the feature is off."""
    zero_sd: NDArray[np.float64]
    """(p,) its standard deviation there: noise."""
    share: NDArray[np.float64]
    """(p,) share of the cells in which the feature is on."""
    on: NDArray[np.float64]
    """(p,) mean of ``sign * u - zero`` where it is on."""
    on_sd: NDArray[np.float64]
    """(p,) its standard deviation there."""

    @property
    def scale(self) -> NDArray[np.float64]:
        """(p,) root mean square where the feature is on."""
        return np.asarray(np.sqrt(self.on**2 + self.on_sd**2))

    @property
    def blur(self) -> float:
        """Median over readouts of the zero level's width, as a share of the values of the on level."""
        return float(np.median(self.zero_sd / self.scale))

    def threshold(self) -> NDArray[np.float64]:
        """(p,) value of ``sign * u - zero`` from which on the on level is the likelier."""
        grid = np.linspace(0, 1, 201)[:, None] * (self.on + self.on_sd)
        off = np.log(1 - self.share) - np.log(self.zero_sd) - (grid / self.zero_sd) ** 2 / 2
        on = np.log(self.share) - np.log(self.on_sd) - ((grid - self.on) / self.on_sd) ** 2 / 2
        # The last change from off to on: a wide on level wins on both sides of a narrow zero.
        rises = (on[1:] >= off[1:]) & (on[:-1] < off[:-1])
        last = len(grid) - 1 - np.argmax(rises[::-1], axis=0)
        return np.where(rises.any(axis=0), grid[last, np.arange(grid.shape[1])], 0.0)


def fit_levels(readouts: NDArray[np.floating], *, seed: int = 0) -> Levels:
    """Fit a mixture of two normal distributions to each readout by expectation maximisation.

    Parameters
    ----------
    readouts
        (cells, p).
    seed
        Seed of the sample of cells.

    Returns
    -------
    Levels
        The likelier of the fits from both signs and three starts, among those whose lower level is the narrower.
    """
    rng = np.random.default_rng(seed)
    sample = np.asarray(readouts[rng.permutation(len(readouts))[:_CELLS]], dtype=np.float64)
    unit = sample.std(axis=0).clip(1e-12)
    found = np.empty((7, sample.shape[1]))
    _fit(np.ascontiguousarray(np.sort(sample / unit, axis=0).T), found)
    _, sign, zero, zero_sd, share, on, on_sd = found
    return Levels(sign, zero * unit, zero_sd * unit, share, (on - zero) * unit, on_sd * unit)


@compiled()
def _fit(ordered: Any, found: Any) -> None:
    """Fill (7, p) ``found`` (log likelihood, sign, means and deviations of both levels) from (p, cells) sorted values."""
    n = ordered.shape[1]
    for p in range(len(ordered)):
        found[0, p] = -np.inf
        for sign in (1.0, -1.0):
            values = ordered[p] if sign > 0 else -ordered[p, ::-1]
            for share_off in _STARTS:
                cut = min(max(2, int(share_off * n)), n - 1)
                likelihood, m0, m1, v0, v1, share = _two_normals(values, cut, 1 - share_off)
                if likelihood > found[0, p] + 1e-6:
                    found[0, p], found[1, p], found[2, p], found[3, p] = likelihood, sign, m0, np.sqrt(v0)
                    found[4, p], found[5, p], found[6, p] = share, max(m1, m0 + 1e-6), np.sqrt(v1)


@compiled()
def _two_normals(values: Any, cut: int, share: float) -> Any:
    """Log likelihood (far lower where the lower level is not the narrower), means, variances, share above.

    The start takes the first ``cut`` values for the lower level.
    """
    n = len(values)
    m0, m1 = values[:cut].mean(), values[cut:].mean()
    v0, v1 = values[:cut].var() + _LEAST, values[cut:].var() + _LEAST
    likelihood = -np.inf
    for step in range(_ITERATIONS):
        base = np.log(share / (1 - share)) - np.log(v1 / v0) / 2
        n1 = first0 = first1 = square0 = square1 = total = 0.0
        for x in values:
            from0, from1 = x - m0, x - m1
            log_odds = base + from0 * from0 / (2 * v0) - from1 * from1 / (2 * v1)
            on = 1 / (1 + np.exp(-log_odds))
            n1 += on
            first1 += on * from1
            square1 += on * from1 * from1
            first0 += (1 - on) * from0
            square0 += (1 - on) * from0 * from0
            if step == _ITERATIONS - 1:
                # The likelier level's own exponent: a difference of large numbers would leave no digits of sharp zeros.
                likelier = base - from1 * from1 / (2 * v1) if log_odds > 0 else -from0 * from0 / (2 * v0)
                total += likelier + np.log1p(np.exp(-abs(log_odds)))
        likelihood = total / n + np.log(1 - share) - np.log(v0) / 2
        share = min(max(n1 / n, 2e-3), 1 - 2e-3)
        n0, n1 = max(n - n1, 1e-9), max(n1, 1e-9)
        m0, m1 = m0 + first0 / n0, m1 + first1 / n1
        v0 = max(square0 / n0 - (first0 / n0) ** 2, 0.0) + _LEAST
        v1 = max(square1 / n1 - (first1 / n1) ** 2, 0.0) + _LEAST
    if not (v0 <= v1 and m0 < m1):
        likelihood -= 1e6
    return likelihood, m0, m1, v0, v1, share
