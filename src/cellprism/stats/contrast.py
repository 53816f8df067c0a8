"""Which cells are held against which: lists of active cells, counts by stratum, and who cannot be tested."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.stats.walks import count_by_group

__all__ = ["Contrast", "active_contrast", "check_codes", "paper_contrast"]


@dataclass(frozen=True)
class Contrast:
    """Cells of each feature on the positive side, and counts of both sides.

    Attributes
    ----------
    ptr, cells
        Compressed lists: the positive cells of feature ``f`` are ``cells[ptr[f]:ptr[f + 1]]``.
    excluded_ptr, excluded_cells
        The same for cells on neither side (empty lists where there are none).
    positive, negative
        (features, strata) counts of each side.
    reason
        (features,) why a feature cannot be tested; "" where it can.
    """

    ptr: np.ndarray
    cells: np.ndarray
    excluded_ptr: np.ndarray
    excluded_cells: np.ndarray
    positive: np.ndarray
    negative: np.ndarray
    reason: np.ndarray

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.ptr.size - 1)

    @property
    def testable(self) -> np.ndarray:
        """(features,) True where a test is possible."""
        return np.asarray(self.reason == "")

    def part(self, features: slice) -> Contrast:
        """The same of consecutive features alone."""
        start, stop = features.start, features.stop

        def of_part(ptr: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return ptr[start : stop + 1] - ptr[start], cells[ptr[start] : ptr[stop]]

        return Contrast(
            *of_part(self.ptr, self.cells),
            *of_part(self.excluded_ptr, self.excluded_cells),
            positive=self.positive[features],
            negative=self.negative[features],
            reason=self.reason[features],
        )


def check_codes(codes: sp.sparray | np.ndarray, n_cells: int | None = None) -> sp.csc_array:
    """Codes as CSC (cells, features) of positive float32 values; refuses negative, non-finite or misshapen ones."""
    out = as_csr(codes, "the matrix of codes").tocsc()
    if n_cells is not None and out.shape[0] != n_cells:
        raise InputError(
            "codes and expression must have the same cells",
            f"{out.shape[0]} rows of codes and {n_cells} rows of expression",
            "join both on cell names first",
        )
    if not np.isfinite(out.data).all():
        raise InputError("codes must be finite", "NaN or infinite codes", "encode the embedding again")
    if out.nnz and out.data.min() < 0:
        raise InputError(
            "codes must be non-negative",
            f"{int((out.data < 0).sum())} negative values",
            "clip them, or split each feature into a positive and a negative half",
        )
    return out


def active_contrast(codes: sp.csc_array, strata: np.ndarray, sizes: np.ndarray, min_cells: int = 10) -> Contrast:
    """Active (code > 0) against inactive (code = 0) cells.

    Parameters
    ----------
    codes
        (cells, features) CSC without stored zeros.
    strata, sizes
        Stratum number of each cell, cells of each stratum.
    min_cells
        Fewest cells on each side, counted over the strata that hold both sides.

    Examples
    --------
    >>> from cellprism.stats.contrast import active_contrast
    >>> together = np.zeros(len(codes.toarray()), dtype=int)  # one stratum
    >>> contrast = active_contrast(codes.tocsc(), together, np.bincount(together))
    >>> bool((contrast.positive + contrast.negative <= len(together)).all())
    True
    """
    positive = _count(codes.indptr, codes.indices, strata, sizes.size)
    none = np.zeros(codes.shape[1] + 1, dtype=codes.indptr.dtype)
    negative = sizes[None, :] - positive
    reason = _reasons(positive, negative, min_cells)
    return Contrast(codes.indptr, codes.indices, none, codes.indices[:0], positive, negative, reason)


def paper_contrast(
    codes: sp.csc_array, strata: np.ndarray, sizes: np.ndarray, min_cells: int = 10, percentile: float = 99.0
) -> Contrast:
    """Cells above a percentile of the activation (over all cells) against cells where it is exactly zero.

    Where many cells tie at the largest value none lies above the percentile; then the cells that reach it count.
    Cells between the two sides are left out.

    Examples
    --------
    >>> from cellprism.stats.contrast import paper_contrast
    >>> together = np.zeros(len(codes.toarray()), dtype=int)  # one stratum
    >>> contrast = paper_contrast(codes.tocsc(), together, np.bincount(together), min_cells=1)
    >>> int(contrast.positive.max())  # 1 % of 200 cells
    2
    """
    n = codes.shape[0]
    keep = np.zeros(codes.nnz, dtype=bool)
    for f in range(codes.shape[1]):
        span = slice(codes.indptr[f], codes.indptr[f + 1])
        active = codes.data[span]
        if active.size == 0:
            continue
        column = np.zeros(n, dtype=np.float32)
        column[: active.size] = active
        limit = np.percentile(column, percentile)
        above = active > limit
        keep[span] = above if above.any() else active >= limit
    ptr, cells = _sublist(codes, keep)
    excluded_ptr, excluded = _sublist(codes, ~keep)
    positive = _count(ptr, cells, strata, sizes.size)
    negative = sizes[None, :] - _count(codes.indptr, codes.indices, strata, sizes.size)
    reason = _reasons(positive, negative, min_cells, f"cells above percentile {percentile:g} of the activation")
    return Contrast(ptr, cells, excluded_ptr, excluded, positive, negative, reason)


def _sublist(codes: sp.csc_array, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    before = np.concatenate([[0], np.cumsum(keep)])
    return before[codes.indptr], codes.indices[keep]


def _count(ptr: np.ndarray, cells: np.ndarray, strata: np.ndarray, n_strata: int) -> np.ndarray:
    counts: np.ndarray = count_by_group(ptr.astype(np.int64, copy=False), cells, strata, n_strata)
    return counts


def _reasons(positive: np.ndarray, negative: np.ndarray, min_cells: int, above: str = "active cells") -> np.ndarray:
    # with one stratum the plain counts say more than that neither side has a partner
    both = (positive > 0) & (negative > 0) if positive.shape[1] > 1 else np.ones(positive.shape, dtype=bool)
    n_pos, n_neg = np.where(both, positive, 0).sum(axis=1), np.where(both, negative, 0).sum(axis=1)
    where = " in strata that hold both sides" if positive.shape[1] > 1 else ""
    reason = np.full(positive.shape[0], "", dtype=object)
    for f in np.flatnonzero(n_neg < min_cells):
        reason[f] = f"{n_neg[f]} inactive cells{where}, fewer than {min_cells}"
    for f in np.flatnonzero(n_pos < min_cells):
        reason[f] = f"{n_pos[f]} {above}{where}, fewer than {min_cells}"
    reason[positive.sum(axis=1) == 0] = "never active"
    return reason
