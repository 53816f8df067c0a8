"""Off or on: a narrow level at zero and a wide one beside it, fitted to each readout."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Levels", "fit_levels"]

_CELLS = 3_000  # five numbers a readout need no more
_ITERATIONS = 40


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
    spread = sample.std(axis=0).clip(1e-12)
    order = np.sort(sample / spread, axis=0)
    best: NDArray[np.float64] | None = None
    for sign in (1.0, -1.0):
        values = order if sign > 0 else -order[::-1]
        for share_off in (0.3, 0.55, 0.8):
            fitted = _two_normals(values, share_off)
            row = np.vstack([fitted[:1], np.full((1, values.shape[1]), sign), fitted[1:]])
            best = row if best is None else np.where(row[0] > best[0] + 1e-6, row, best)
    chosen = best if best is not None else np.zeros((7, 0))
    _, sign_, zero, zero_sd, share, on, on_sd = chosen
    return Levels(sign_, zero * spread, zero_sd * spread, share, (on - zero) * spread, on_sd * spread)


def _two_normals(values: NDArray[np.float64], share_off: float) -> NDArray[np.float64]:
    """Rows: log likelihood (-inf-like where the lower level is not the narrower), means, deviations and share."""
    cut = max(2, int(share_off * len(values)))
    m0, m1 = values[:cut].mean(axis=0), values[cut:].mean(axis=0)
    v0, v1 = values[:cut].var(axis=0) + 1e-8, values[cut:].var(axis=0) + 1e-8
    share = np.full(values.shape[1], 1 - share_off)
    likelihood = np.zeros(values.shape[1])
    for _ in range(_ITERATIONS):
        off = np.log(1 - share) - np.log(v0) / 2 - (values - m0) ** 2 / (2 * v0)
        on = np.log(share) - np.log(v1) / 2 - (values - m1) ** 2 / (2 * v1)
        total = np.logaddexp(off, on)
        is_on = np.exp(on - total)
        likelihood = total.mean(axis=0)
        share = is_on.mean(axis=0).clip(2e-3, 1 - 2e-3)
        n1, n0 = is_on.sum(axis=0).clip(1e-9), (1 - is_on).sum(axis=0).clip(1e-9)
        m1, m0 = (is_on * values).sum(axis=0) / n1, ((1 - is_on) * values).sum(axis=0) / n0
        v1 = (is_on * (values - m1) ** 2).sum(axis=0) / n1 + 1e-8
        v0 = ((1 - is_on) * (values - m0) ** 2).sum(axis=0) / n0 + 1e-8
    sound = (v0 <= v1) & (m0 < m1)
    return np.array(
        [np.where(sound, likelihood, likelihood - 1e6), m0, np.sqrt(v0), share, np.maximum(m1, m0 + 1e-6), np.sqrt(v1)]
    )
