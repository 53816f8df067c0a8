"""Moderated t tests: few units (donors), many genes or features that share what is known of their variance.

Smyth (2004, Stat. Appl. Genet. Mol. Biol. 3:3): variances of many tests are taken as draws from a scaled inverse
chi-square prior, whose scale and degrees of freedom are fitted to their logarithms; each variance is then a weighted
mean of its own estimate and the prior's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

__all__ = ["Prior", "fit_prior", "skewed_tail", "t_to_z"]

_MOST_DF = 1e6


class Prior(NamedTuple):
    """Prior of a set of variances."""

    variance: float
    """Prior variance."""
    df: float
    """Its degrees of freedom; large when the variances differ by chance only."""

    def squeeze(self, variance: np.ndarray, df: float) -> tuple[np.ndarray, float]:
        """Posterior variances and their degrees of freedom."""
        total = df + self.df
        return (df * variance + self.df * self.variance) / total, total


def fit_prior(variance: np.ndarray, df: float) -> Prior:
    """Fit the prior by the moments of log variances.

    Parameters
    ----------
    variance
        Estimated variances; zeros and NaN are ignored.
    df
        Degrees of freedom of each.
    """
    known = variance[np.isfinite(variance) & (variance > 0)]
    if known.size < 3 or df <= 0:
        return Prior(float(np.median(known)) if known.size else 1.0, 0.0)
    half = df / 2.0
    log = np.log(known) - special.digamma(half) + np.log(half)
    centre = float(log.mean())
    excess = float(log.var(ddof=1) - special.polygamma(1, half))
    if excess <= 0:
        return Prior(float(np.exp(centre)), _MOST_DF)
    prior_half = _trigamma_inverse(excess)
    scale = np.exp(centre + special.digamma(prior_half) - np.log(prior_half))
    return Prior(float(scale), float(min(2.0 * prior_half, _MOST_DF)))


def _trigamma_inverse(y: float) -> float:
    """Solve trigamma(x) = y by Newton steps on 1 / trigamma, which is nearly linear in x."""
    x = 0.5 + 1.0 / y
    for _ in range(50):
        value = float(special.polygamma(1, x))
        step = value * (1.0 - value / y) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x


def t_to_z(t: np.ndarray, df: np.ndarray | float) -> np.ndarray:
    """Normal deviates with the two-sided p values of Student's t, through logarithms in the far tail.

    An infinite t gives about 1e4, the deviate of the smallest log p value that is kept.
    """
    t, df = np.broadcast_arrays(np.asarray(t, dtype=np.float64), np.asarray(df, dtype=np.float64))
    with np.errstate(divide="ignore", over="ignore", under="ignore", invalid="ignore"):
        log_tail = np.log(special.stdtr(df, -np.abs(t)))
        far = ~(log_tail > -600.0)
        x = df[far] / (df[far] + t[far] ** 2)
        a = df[far] / 2.0
        # log of I_x(a, 1/2) / 2 with the leading factors apart, so that nothing underflows
        series = special.hyp2f1(a + 0.5, 1.0, a + 1.0, x)
        log_tail[far] = (
            np.log(0.5) + a * np.log(x) + 0.5 * np.log1p(-x) - np.log(a) - special.betaln(a, 0.5) + np.log(series)
        )
    log_tail = np.maximum(np.nan_to_num(log_tail, nan=-5e7, neginf=-5e7), -5e7)
    out: np.ndarray = -np.sign(t) * special.ndtri_exp(log_tail)
    return out


def skewed_tail(z: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Deviates that allow for a skewed null: the tail of Pearson's type III where that is the heavier one.

    Wilson and Hilferty's cube root turns a standardised deviate of that distribution into a normal one; on the side of
    the shorter tail the normal deviate stays.

    Parameters
    ----------
    z
        Normal deviates, any shape.
    skewness
        Of the statistic under the null, the same shape.
    """
    size = np.abs(z)
    longer = np.where(z > 0.0, skewness, -skewness)
    heavy = longer > 1e-4
    g = np.where(heavy, longer, 1.0)
    normal = 6.0 / g * (np.cbrt(1.0 + g * size / 2.0) - 1.0) + g / 6.0
    out: np.ndarray = np.sign(z) * np.where(heavy & (normal < size), np.maximum(normal, 0.0), size)
    return out
