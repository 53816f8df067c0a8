"""The categories in which genes and gene sets are highest, so that names can be held against the labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.missing import groups
from cellprism.features.core import label_location, label_means, lift
from cellprism.stats.expression import Expression
from cellprism.stats.setindex import SetIndex

__all__ = ["Homes", "label_homes", "set_home_lift"]

_NEAR_MOST = 0.5  # categories with at least this share of a set's largest score are its homes


class Homes(NamedTuple):
    """Where genes are high, for one label column."""

    categories: dict[str, int]
    """Name -> row of the arrays."""
    higher: NDArray[np.bool_]
    """(categories, genes) whether the mean is higher in the category than in all other cells."""
    most: NDArray[np.int64]
    """(genes,) category with the largest mean."""
    score: NDArray[np.float64]
    """(categories, genes) difference of means to all other cells, in standard deviations over cells."""


def label_homes(expression: Expression, labels: np.ndarray) -> Homes:
    """Compare the mean log expression of every gene between the categories of one column."""
    difference, means = label_means(expression, labels)
    n = float(expression.n_cells)
    total, square = expression.log_moments
    sd = np.sqrt(np.maximum(square / n - (total / n) ** 2, 0.0))
    names = {str(name): i for i, name in enumerate(groups(labels).names)}
    return Homes(names, difference > 0, means.argmax(axis=0), difference / np.where(sd > 0, sd, np.inf))


def set_home_lift(
    homes: dict[str, Homes], labels: dict[str, np.ndarray], sets: SetIndex, codes: sp.csc_array, core: sp.csc_array
) -> tuple[NDArray[np.float64], list[tuple[tuple[str, str], ...]]]:
    """How far the share of a feature's core cells in a set's homes lies above their prevalence.

    A set's homes are the categories in which its genes score at least half of their largest mean score, in the column
    in which that score is largest.

    Returns
    -------
    lift
        (features, sets), 0: as among all cells, 1: all core cells are in the homes; NaN without labels or homes.
    homes
        The (column, category) pairs of every set, the highest first.
    """
    n_sets = sets.names.size
    member = sp.csr_array((1.0 / np.repeat(sets.sizes, sets.sizes), sets.members, sets.ptr), (n_sets, sets.genes.size))
    best = np.zeros(n_sets)
    out = np.full((codes.shape[1], n_sets), np.nan)
    where: list[tuple[tuple[str, str], ...]] = [()] * n_sets
    for column, home in homes.items():
        score = member @ home.score[:, sets.genes].T
        most = score.max(axis=1)
        at_home = (score >= _NEAR_MOST * most[:, None]) & (score > 0)
        shares = label_location(codes, core, labels[column])
        prevalence = at_home @ shares.prevalence
        far = lift(shares.core_precision @ at_home.T, prevalence[None, :])
        better = (most > best) & (prevalence < 1.0)
        out[:, better] = far[:, better]
        best = np.where(better, most, best)
        names = list(home.categories)
        for s in np.flatnonzero(better):
            down = np.argsort(-score[s], kind="stable")
            where[s] = tuple((column, names[c]) for c in down if at_home[s, c])
    return out, where
