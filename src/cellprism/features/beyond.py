"""Which findings random directions of the same embedding do not reach."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellprism.features.evidence import SetEvidence

__all__ = ["RARE", "beyond_random", "reach"]

RARE = 0.05
"""Share of random directions below which hardly any reaches a set. Whether *none* does hangs on the one that lies luckiest, and so
on the draw: over five draws a share of features with such a set moved by 15 % of itself, with this bound by 5 %."""


def reach(pval: NDArray[np.floating], reference: NDArray[np.floating], pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """Share of reference directions whose evidence for the same item is at least as strong.

    Parameters
    ----------
    pval
        (features, items) p values, or their logs.
    reference
        (directions, items) the same of random directions; NaN rows (not testable) are left out.
    pairs
        Flat positions in ``pval`` to look at.

    Returns
    -------
    numpy.ndarray
        (pairs,), between 0 (none reaches it) and 1.
    """
    reference = reference[~np.isnan(reference).any(axis=1)]
    feature, item = np.divmod(pairs, pval.shape[1])
    found = np.zeros(len(pairs))
    if not len(reference):
        return np.full(len(pairs), np.nan)
    by_item = np.argsort(item, kind="stable")
    bounds = np.searchsorted(item[by_item], np.arange(pval.shape[1] + 1))
    values = pval[feature, item]
    for column in np.flatnonzero(np.diff(bounds)):
        here = by_item[bounds[column] : bounds[column + 1]]
        found[here] = np.searchsorted(np.sort(reference[:, column]), values[here], side="right")
    return found / len(reference)


def beyond_random(
    found: SetEvidence, random: SetEvidence, level: float, *, themselves: bool = False
) -> dict[int, tuple[int, float, float]]:
    """For each feature, its strongest up set at the level that the fewest random directions reach.

    Parameters
    ----------
    found, random
        Set tests of the features, and of random directions at the same numbers of active cells.
    level
        q value that the set must pass.
    themselves
        ``found`` and ``random`` are the same directions: each is held against the others only.

    Returns
    -------
    dict
        Feature -> (set, its q value, share of random directions with as strong evidence for it).
    """
    log_p, family = found.combined[:, 0], found.both
    pairs = np.flatnonzero((log_p <= family.critical(level)).ravel())
    feature, item = np.divmod(pairs, log_p.shape[1])
    values = log_p[feature, item]
    q = family.q(values)
    share = reach(log_p, random.combined[:, 0], pairs)
    if themselves:
        n = int((~np.isnan(random.combined[:, 0]).any(axis=1)).sum())
        share = np.maximum(share * n - 1, 0) / max(n - 1, 1)
    order = np.lexsort((values, share, feature))
    first = order[np.unique(feature[order], return_index=True)[1]]
    return {int(feature[i]): (int(item[i]), float(q[i]), float(share[i])) for i in first}
