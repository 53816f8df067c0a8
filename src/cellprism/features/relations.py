"""What became of a feature in another dictionary: it is there, in parts, as a part, or not at all."""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from cellprism.features.assignment import best_of_rows

__all__ = ["RELATIONS", "SAME", "relations"]

RELATIONS: Final = {
    "shared": "one feature here is one feature there",
    "split": "one feature here is several there",
    "merged": "several features here are one there",
    "mixed": "several features here are several there",
    "unclear": "something there is like it, but no more than chance would give",
    "unique": "nothing there is like it",
    "silent": "nothing of it can be compared",
}
_TURNED: Final = {"split": "merged", "merged": "split"}
SAME: Final = 0.9
"""Score from which on two features that choose each other are one and the same, whatever else is like them."""


def relations(
    scores: sp.csr_array, level: float, clear: NDArray[np.bool_], clear_there: NDArray[np.bool_]
) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Relation of each feature of either dictionary to the other.

    Each feature points at the best one of the other dictionary, where that scores ``level`` and is more than chance. Features
    that point at each other at 0.9 and more are the same one, and taken away with what points at them; of the rest, groups
    held together by pointing have one feature on either side (shared), one here and several there (split), several here and
    one there (merged), or several on both (mixed). What points at nothing and is pointed at by none is unique, or unclear where
    its best counterpart scores ``level`` and chance reaches that too.

    Parameters
    ----------
    scores
        (features, features of the other).
    level
        Score that counts.
    clear, clear_there
        Features whose best score is more than chance.

    Returns
    -------
    Words of :data:`RELATIONS`, a feature each, seen from its own dictionary.
    """
    n, m = scores.shape
    best, value = best_of_rows(scores)
    back, value_there = best_of_rows(sp.csr_array(scores.T))
    points = np.where(clear & (value >= level), best, -1)
    points_there = np.where(clear_there & (value_there >= level), back, -1)
    here = np.where(value >= level, "unclear", "unique").astype(object)
    there = np.where(value_there >= level, "unclear", "unique").astype(object)
    pairs = [i for i in range(n) if points[i] >= 0 and points_there[points[i]] == i and value[i] >= SAME]
    same = points[pairs]
    here[pairs] = "shared"
    there[same] = "shared"
    points = np.where(np.isin(points, same), -1, points)
    points_there = np.where(np.isin(points_there, pairs), -1, points_there)
    rows = np.concatenate([np.flatnonzero(points >= 0), points_there[points_there >= 0]])
    columns = np.concatenate([points[points >= 0], np.flatnonzero(points_there >= 0)])
    graph = sp.csr_array((np.ones(len(rows)), (rows, n + columns)), shape=(n + m, n + m))
    _, group = connected_components(graph, directed=False)
    mine, theirs = np.bincount(group[:n], minlength=n + m)[group], np.bincount(group[n:], minlength=n + m)[group]
    for word, found in (
        ("shared", (mine == 1) & (theirs == 1)),
        ("split", (mine == 1) & (theirs > 1)),
        ("merged", (mine > 1) & (theirs == 1)),
        ("mixed", (mine > 1) & (theirs > 1)),
    ):
        here[found[:n]] = word
        there[found[n:]] = _TURNED.get(word, word)
    return here, there
