"""Benjamini-Hochberg q values, from p values or, for millions of tests, from their z statistics."""

from __future__ import annotations

import numpy as np

from cellprism.stats.kernels import log_two_sided

__all__ = ["benjamini_hochberg", "critical_z", "q_from_p", "q_from_z", "two_sided_log_p"]


def benjamini_hochberg(pval: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q values over every finite entry of an array, whatever its shape.

    Parameters
    ----------
    pval
        p values; NaN (not tested) stays NaN and does not count as a test.

    Returns
    -------
    Array of the same shape: the smallest false discovery rate at which each entry is called.
    """
    pval = np.asarray(pval, dtype=np.float64)
    out = np.full(pval.shape, np.nan)
    tested = np.isfinite(pval)
    p = pval[tested]
    order = np.argsort(p)
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    q = np.empty(p.size)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    out[tested] = q
    return out


def two_sided_log_p(z: np.ndarray) -> np.ndarray:
    """Natural log of two-sided normal p values; any shape, NaN kept, finite where z is finite."""
    z = np.asarray(z, dtype=np.float64)
    out: np.ndarray = log_two_sided(z.ravel()).reshape(z.shape)
    return out


def q_from_z(z: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Two-sided Benjamini-Hochberg q values of a few entries within the family of all entries.

    Parameters
    ----------
    z
        All statistics of the family (any shape); NaN does not count as a test.
    wanted
        Flat positions in ``z`` whose q value is asked for.

    Returns
    -------
    q values, one for each of ``wanted``. They are those of :func:`benjamini_hochberg` on the p values: only one copy
    of ``z`` is sorted and no matrix of p values is made.
    """
    flat = np.abs(z.ravel())
    size = flat[~np.isnan(flat)]
    size.sort()
    n = size.size
    log_q = log_two_sided(size)  # ascending |z|: descending p
    log_q += np.log(n) - np.log(np.arange(n, 0, -1))
    np.minimum.accumulate(log_q, out=log_q)
    # equal statistics share the q value of the group's largest rank, which stands first in ascending |z|
    position = np.searchsorted(size, flat[wanted], side="left")
    out: np.ndarray = np.exp(np.minimum(log_q[np.minimum(position, n - 1)], 0.0))
    return out


def critical_z(z: np.ndarray, level: float) -> float:
    """Smallest |z| that passes two-sided Benjamini-Hochberg at a level; infinity when none does."""
    size = np.abs(z[~np.isnan(z)])
    size.sort()
    log_q = log_two_sided(size) + np.log(max(size.size, 1)) - np.log(np.arange(size.size, 0, -1))
    passes = np.flatnonzero(log_q <= np.log(level))
    return float(size[passes[0]]) if passes.size else float("inf")


def q_from_p(pval: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg q values of a few entries (flat positions) within the family of all finite entries."""
    flat = pval.ravel()
    p = flat[np.isfinite(flat)]
    p.sort()
    q = p * (p.size / np.arange(1, p.size + 1))
    q = np.minimum.accumulate(q[::-1])[::-1]
    # equal p values share the q value of the last of them
    position = np.searchsorted(p, flat[wanted], side="right") - 1
    out: np.ndarray = np.minimum(q[np.clip(position, 0, None)], 1.0) if p.size else np.full(wanted.size, np.nan)
    return out
