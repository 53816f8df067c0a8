"""Pearson correlation between the features of two dictionaries, from sparse sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.ranges import within

__all__ = ["code_correlation", "code_moments"]

_BLOCK_ELEMENTS = 2**24  # dense correlations held at a time: 128 MiB
_DENSE_SHARE = 0.05  # above it a dense product is faster than a sparse one


def code_moments(codes: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation (n in the denominator) of each column of sparse or dense codes (cells, width)."""
    codes = sp.csr_array(codes)
    n, width = codes.shape
    values = codes.data.astype(np.float64)
    mean = np.bincount(codes.indices, weights=values, minlength=width) / max(1, n)
    # The squared deviations are summed about the mean: sums of squares lose a feature with a large mean.
    about = np.bincount(codes.indices, weights=(values - mean[codes.indices]) ** 2, minlength=width)
    absent = n - np.bincount(codes.indices, minlength=width)
    return mean, np.sqrt((about + absent * mean**2) / max(1, n))


def code_correlation(codes: Any, others: Any, floor: float = 0.0) -> sp.csr_array:
    """Correlations above ``floor`` between all features of two dictionaries on the same cells.

    Parameters
    ----------
    codes, others
        (cells, width) and (cells, other width), sparse or dense, of the same cells in the same order.
    floor
        Only correlations above it are kept; at least 0. Non-negative codes that never share a cell correlate at most
        at 0, so a sparse product meets every pair that matters.

    Returns
    -------
    scipy.sparse.csr_array
        (width, other width), float64, Pearson correlation; features that do not vary have an empty row or column.

    Raises
    ------
    InputError
        If the two differ in their number of cells, or ``floor`` is outside [0, 1).
    """
    a, b = sp.csr_array(codes, dtype=np.float64), sp.csr_array(others, dtype=np.float64)
    if a.shape[0] != b.shape[0]:
        raise InputError(
            "codes to be correlated are of the same cells",
            f"{a.shape[0]} and {b.shape[0]} cells",
            "encode the same cells",
        )
    within("floor", floor)
    n = a.shape[0]
    (mean_a, sd_a), (mean_b, sd_b) = code_moments(a), code_moments(b)
    scale_a = np.divide(1.0, sd_a, out=np.zeros_like(sd_a), where=sd_a > 1e-12 * np.maximum(mean_a, 1e-300))
    scale_b = np.divide(1.0, sd_b, out=np.zeros_like(sd_b), where=sd_b > 1e-12 * np.maximum(mean_b, 1e-300))
    dense = max(a.nnz / max(1, np.prod(a.shape)), b.nnz / max(1, np.prod(b.shape))) > _DENSE_SHARE
    columns = sp.csc_array(a)
    right = b.toarray() if dense else b
    rows = max(1, _BLOCK_ELEMENTS // max(1, n if dense else 1, b.shape[1]))
    blocks = []
    for start in range(0, a.shape[1], rows):
        stop = min(start + rows, a.shape[1])
        left = columns[:, start:stop].T
        product = sp.coo_array(left.toarray() @ right if dense else sp.csr_array(left) @ right)
        i, j = product.coords
        r = (product.data / n - mean_a[start + i] * mean_b[j]) * scale_a[start + i] * scale_b[j]
        keep = r > floor
        blocks.append(sp.csr_array((np.minimum(r[keep], 1.0), (i[keep], j[keep])), shape=(stop - start, b.shape[1])))
    return sp.csr_array(sp.vstack(blocks, format="csr")) if blocks else sp.csr_array((0, b.shape[1]))
