"""Counts out of their own log1p: what models of counts need where only log expression is kept."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellprism.errors import InputError

__all__ = ["counts_behind"]

_LARGEST_UNIT = 12
"""The least count of a cell that any gene has, at most; where all genes have more there is no telling."""
_SLACK = 0.02
_SMALL = 1_000.0
"""Counts up to here are told from their neighbours in float32; larger ones hold to their own precision."""


def counts_behind(log: sp.csr_array) -> sp.csr_array:
    """The counts that log1p values were made of, each cell scaled by a factor of its own.

    Natural values of a cell are whole multiples of one unit, the value of a single molecule: the largest unit of which all
    are whole multiples is taken. That is the count itself wherever the counts of a cell have no common divisor.

    Parameters
    ----------
    log
        (cells, genes) log1p of counts or of counts times a factor a cell, no negative values.

    Returns
    -------
    csr_array
        Whole numbers, float32, of the same shape.

    Raises
    ------
    InputError
        If the values of a cell have no such unit: imputed, corrected or averaged expression.

    Examples
    --------
    >>> from cellprism.data.counts import counts_behind
    >>> from scipy.sparse import csr_array
    >>> counts = csr_array(np.array([[1, 0, 2], [3, 1, 0]], dtype=np.float32))
    >>> counts_behind(csr_array(np.log1p(counts.toarray() * [[50.0], [20.0]]))).toarray().tolist()
    [[1.0, 0.0, 2.0], [3.0, 1.0, 0.0]]
    """
    out = sp.csr_array(log, dtype=np.float32, copy=True)
    out.eliminate_zeros()
    natural = np.expm1(out.data.astype(np.float64))
    used = np.flatnonzero(np.diff(out.indptr))
    if not len(used):
        return out
    starts, sizes = out.indptr[used], np.diff(out.indptr)[used]
    ratio = natural / np.repeat(np.minimum.reduceat(natural, starts), sizes)
    least = np.zeros(len(used))  # in molecules; 0 = not found yet
    for unit in range(1, _LARGEST_UNIT + 1):
        found = ratio * unit
        whole = (np.abs(found - np.rint(found)) < _SLACK) | (found > _SMALL)
        least[(least == 0) & np.logical_and.reduceat(whole, starts)] = unit
    if not least.all():
        raise InputError(
            "log expression must be log1p of counts, scaled by a factor a cell",
            f"{int((least == 0).sum())} of {len(used)} cells whose values are no whole multiples of one unit",
            "give log1p of counts per 10,000, or leave out what models counts",
        )
    out.data = np.rint(ratio * np.repeat(least, sizes)).astype(np.float32)
    return out
