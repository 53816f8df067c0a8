"""Which feature of one dictionary is which of another: by the cells they fire in, and by where they point."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from cellprism.data.order import refuse_other_order
from cellprism.errors import InputError
from cellprism.sae.correlation import code_correlation
from cellprism.stats.contrast import check_codes

__all__ = ["Match", "match"]


class Match(NamedTuple):
    """Counterparts of the features of one dictionary in another; -1 and NaN where there is none."""

    best: NDArray[np.intp]
    """(width,) feature of the other dictionary with the highest correlation; several may share one."""
    best_correlation: NDArray[np.float64]
    """(width,) its Pearson correlation over cells; 0 where no feature correlates positively, NaN for a dead feature."""
    partner: NDArray[np.intp]
    """(width,) feature of the other dictionary in the one-to-one matching of largest summed correlation."""
    partner_correlation: NDArray[np.float64]
    """(width,) its correlation; 0 where a live feature is left alone, NaN for a dead one."""
    cosine: NDArray[np.float64]
    """(width,) cosine between the decoder directions of the feature and of ``partner``; NaN where not known."""

    def __repr__(self) -> str:
        live = np.isfinite(self.best_correlation)
        found = int((self.partner_correlation > 0.7).sum())
        return (
            f"Match of {self.best.size:,} features, {int(live.sum()):,} of them live\n"
            f"    {found:,} have a one-to-one partner at r > 0.7; .partner, .partner_correlation, .best, .cosine"
        )


def match(
    codes: Any,
    others: Any,
    directions: NDArray[Any] | None = None,
    other_directions: NDArray[Any] | None = None,
    *,
    floor: float = 0.0,
) -> Match:
    """Match the features of two dictionaries by the correlation of their codes.

    Parameters
    ----------
    codes, others
        (cells, width) and (cells, other width), sparse or dense, non-negative, of the same cells in the same order;
        best of cells that trained neither.
    directions, other_directions
        (width, d) and (other width, d) decoder directions of both, for the cosine.
    floor
        Correlations up to it count as none; raise it to save memory with very wide dictionaries.

    Returns
    -------
    Match
        A row a feature of ``codes``.

    Raises
    ------
    InputError
        If the cells differ in number, or directions do not fit the codes.

    Examples
    --------
    >>> found = prism.match(codes, codes)
    >>> live = np.flatnonzero(codes.sum(axis=0) > 0)
    >>> bool((found.partner[live] == live).all())
    True
    """
    refuse_other_order(codes=codes, others=others)
    ours, theirs = check_codes(codes), check_codes(others)
    r = code_correlation(ours, theirs, floor)
    live = np.diff(ours.indptr) > 0
    best, best_r = _best(r)
    partner = _one_to_one(r)
    partner_r = np.zeros(r.shape[0])
    met = partner >= 0
    partner_r[met] = r[np.flatnonzero(met), partner[met]]
    best_r[~live] = np.nan
    partner_r[~live] = np.nan
    cosine = np.full(r.shape[0], np.nan)
    if directions is not None and other_directions is not None:
        a, b = _unit(directions, r.shape[0]), _unit(other_directions, r.shape[1])
        cosine[met] = np.einsum("fd,fd->f", a[met], b[partner[met]])
    return Match(best, best_r, partner, partner_r, cosine)


def _best(r: sp.csr_array) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    best = np.full(r.shape[0], -1, dtype=np.intp)
    value = np.zeros(r.shape[0])
    rows = np.repeat(np.arange(r.shape[0]), np.diff(r.indptr))
    order = np.lexsort((r.data, rows))  # the last entry of each row is its largest
    rows = rows[order]
    last = np.flatnonzero(np.diff(rows, append=-1))
    best[rows[last]] = r.indices[order][last]
    value[rows[last]] = r.data[order][last]
    return best, value


def _one_to_one(r: sp.csr_array) -> NDArray[np.intp]:
    """Column of each row in the matching with the largest sum, -1 where a row stays alone.

    A feature may stay alone at no gain: each row has a private column of (almost) zero weight beside the real ones, so
    that a full matching exists and sparse candidates suffice.
    """
    n, m = r.shape
    if not r.nnz:
        return np.full(n, -1, dtype=np.intp)
    alone = sp.diags_array(np.full(n, 1e-9), format="csr")
    rows, columns = min_weight_full_bipartite_matching(sp.hstack([r, alone], format="csr"), maximize=True)
    partner = np.full(n, -1, dtype=np.intp)
    partner[rows] = np.where(columns < m, columns, -1)
    return partner


def _unit(directions: NDArray[Any], width: int) -> NDArray[np.float64]:
    array = np.asarray(directions, dtype=np.float64)
    if array.ndim != 2 or len(array) != width:
        raise InputError("decoder directions have a row a feature", f"shape {array.shape}, {width} features", "mend it")
    return np.asarray(array / np.linalg.norm(array, axis=1, keepdims=True).clip(1e-12))
