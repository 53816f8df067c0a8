"""Features as detectors of labels, and their association with continuous covariates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from scipy import stats

from cellprism.data.missing import groups
from cellprism.stats.expression import column_order
from cellprism.stats.kernels import auroc_f1, lift_over_zeros

__all__ = ["CodeRanks", "LabelResult", "category_detectors", "code_ranks", "spearman"]

_AT_A_TIME = 2**20  # active codes


class LabelResult(NamedTuple):
    """How well each feature detects each category, arrays (features, categories)."""

    categories: np.ndarray
    """(categories,) names; those with a single cell or with all cells are left out."""
    auroc: np.ndarray
    f1: np.ndarray
    """Largest F1 over thresholds on the code; 0 where no active cell is in the category."""
    threshold: np.ndarray
    """The smallest code still called at that F1."""
    precision: np.ndarray
    recall: np.ndarray
    z: np.ndarray
    """Tie-corrected rank-sum z of the AUROC."""


def category_detectors(codes: sp.csc_array, labels: np.ndarray, order: np.ndarray | None = None) -> LabelResult:
    """AUROC and best F1 of every feature for every category of one label column.

    Parameters
    ----------
    codes
        (cells, features) CSC of positive values without stored zeros.
    labels
        (cells,) categories; cells without one (:func:`cellprism.data.missing.missing`) are left out.
    order
        Of :func:`~cellprism.stats.expression.column_order`, where it is known already.

    Examples
    --------
    >>> from cellprism.stats.labels import category_detectors
    >>> found = category_detectors(codes.tocsc(), types)
    >>> found.categories.tolist()
    ['B', 'DC', 'NK', 'T']
    >>> found.auroc.shape
    (16, 4)
    """
    found = groups(labels)
    names, number, sizes = found.names, found.number, found.sizes
    ptr = codes.indptr.astype(np.int64)
    auroc = np.empty((codes.shape[1], sizes.size))
    ties = np.empty(codes.shape[1])
    best = np.zeros((codes.shape[1], sizes.size, 4))
    for features in _some_features(ptr):
        starts = ptr[features.start : features.stop + 1]
        active = slice(starts[0], starts[-1])
        starts, values = starts - starts[0], codes.data[active]
        ranked = column_order(starts, values) if order is None else order[active] - active.start
        auroc_f1(
            starts,
            codes.indices[active],
            values,
            ranked,
            number,
            sizes,
            auroc[features],
            ties[features],
            best[features],
        )
    usable = (sizes >= 2) & (sizes < sizes.sum())
    n = float(sizes.sum())
    m = sizes[usable].astype(np.float64)
    variance = (n + 1.0 - ties[:, None] / max(n * (n - 1.0), 1.0)) / (12.0 * m * (n - m))
    safe = np.where(variance > 0, variance, 1.0)
    z = np.where(variance > 0, (auroc[:, usable] - 0.5) / np.sqrt(safe), 0.0)
    f1, threshold, precision, recall = (best[:, usable, i] for i in range(4))
    return LabelResult(names[usable], auroc[:, usable], f1, threshold, precision, recall, z)


def _some_features(ptr: np.ndarray) -> Iterator[slice]:
    """Features one after another, as many at a time as a million active codes hold: their order is not held for all."""
    start, n = 0, len(ptr) - 1
    while start < n:
        stop = max(start + 1, int(np.searchsorted(ptr, ptr[start] + _AT_A_TIME, side="right")) - 1)
        yield slice(start, stop)
        start = stop


class CodeRanks(NamedTuple):
    """Midranks of every feature's codes over all cells."""

    lift: sp.csc_array
    """(cells, features) ranks less the rank that zeros share."""
    length: np.ndarray
    """(features,) root of the sum of squared deviations of all ranks from their mean."""


def code_ranks(codes: sp.csc_array) -> CodeRanks:
    """Rank codes once, for any number of covariates."""
    ptr = codes.indptr.astype(np.int64)
    lift, length = lift_over_zeros(ptr, codes.data, column_order(ptr, codes.data), codes.shape[0])
    return CodeRanks(sp.csc_array((lift, codes.indices, codes.indptr), codes.shape), length)


def spearman(
    codes: sp.csc_array, covariate: np.ndarray, ranks: CodeRanks | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spearman correlation of every feature with one continuous covariate (cells without a value are left out).

    Parameters
    ----------
    codes
        (cells, features).
    covariate
        (cells,).
    ranks
        Of :func:`code_ranks`, where they are known already.

    Returns
    -------
    rho
        (features,) Spearman's rho with midranks for the tied zeros; 0 for constant features.
    attainable
        (features,) the largest |rho| that a feature with this many tied zeros can reach with a covariate without
        ties: a feature active in few cells cannot come near 1.
    z
        (features,) rho * sqrt(cells - 1), normal under permuted cells.

    Examples
    --------
    >>> from cellprism.stats.labels import spearman
    >>> rho, attainable, z = spearman(codes.tocsc(), expression.sum(axis=1))
    >>> bool((abs(rho) <= attainable + 1e-6).all())
    True
    """
    covariate = np.asarray(covariate, dtype=np.float64)
    known = np.isfinite(covariate)
    n = int(known.sum())
    if n < 3:
        nothing = np.zeros(codes.shape[1])
        return nothing, nothing.copy(), nothing.copy()
    y = stats.rankdata(covariate[known])
    y -= y.mean()
    y_length = np.sqrt((y**2).sum())
    if not known.all():
        ranks = code_ranks(codes[np.flatnonzero(known)].tocsc())
    lift, length = code_ranks(codes) if ranks is None else ranks
    product = lift.T @ y  # only active cells contribute
    usable = (length > 0) & (y_length > 0)
    rho = np.where(usable, product / np.where(usable, length * y_length, 1.0), 0.0)
    attainable = length / np.sqrt((float(n) ** 3 - n) / 12.0)
    return rho, attainable, rho * np.sqrt(n - 1.0)
