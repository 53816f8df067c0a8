"""The compiled loops of the statistics: each is a few lines that NumPy cannot say without a dense copy.

Everything here takes and returns plain arrays. Compiled code is kept beside the package where that folder can be
written (or where ``NUMBA_CACHE_DIR`` points) and is compiled afresh in each process elsewhere.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

__all__ = ["auroc_f1", "group_sums", "log_two_sided", "midranks_rows", "njit", "rank_offsets", "set_sums", "skewed_z"]

_F = TypeVar("_F", bound=Callable[..., Any])
_CAN_CACHE = bool(os.environ.get("NUMBA_CACHE_DIR")) or os.access(Path(__file__).parent, os.W_OK)


def njit(*, parallel: bool) -> Callable[[_F], _F]:
    """Numba's decorator with a cache only where one can be written (read-only installs compile in memory)."""
    decorate: Any = numba.njit(parallel=parallel, cache=_CAN_CACHE, nogil=True)
    return cast("Callable[[_F], _F]", decorate)


@njit(parallel=True)
def group_sums(
    group_ptr: np.ndarray,
    group_cells: np.ndarray,
    weights: np.ndarray,
    ptr: np.ndarray,
    genes: np.ndarray,
    values: np.ndarray,
    n_genes: int,
) -> np.ndarray:
    """Sum two sparse gene values over groups of cells: (groups, 2, genes), the first one weighted by cell.

    ``values`` is (nnz, 2): one walk through the cells of a group serves both sums.
    """
    n_groups = group_ptr.size - 1
    out = np.empty((n_groups, 2, n_genes))
    for i in numba.prange(n_groups):
        acc = np.zeros((n_genes, 2))
        for k in range(group_ptr[i], group_ptr[i + 1]):
            cell, w = group_cells[k], weights[k]
            for p in range(ptr[cell], ptr[cell + 1]):
                g = genes[p]
                acc[g, 0] += w * values[p, 0]
                acc[g, 1] += values[p, 1]
        for g in range(n_genes):
            out[i, 0, g] = acc[g, 0]
            out[i, 1, g] = acc[g, 1]
    return out


@njit(parallel=True)
def rank_offsets(
    ptr: np.ndarray, cells: np.ndarray, values: np.ndarray, strata: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Midranks within strata of the non-negative columns of a CSC matrix, zeros included.

    Returns the rank of each stored (positive) value less the rank its stratum's zeros share, that rank of the zeros
    (strata, genes), the tie term, the sum of t^3 - t over groups of equal values (strata, genes), and the sum of
    cubed deviations of all ranks from their mean (strata, genes).
    """
    n_genes, n_strata = ptr.size - 1, sizes.size
    offset = np.empty(values.size)
    zero_rank = np.empty((n_strata, n_genes))
    ties = np.zeros((n_strata, n_genes))
    cubes = np.zeros((n_strata, n_genes))
    for g in numba.prange(n_genes):
        start, stop = ptr[g], ptr[g + 1]
        order = np.argsort(values[start:stop])
        count = np.zeros(n_strata, dtype=np.int64)
        for k in range(start, stop):
            count[strata[cells[k]]] += 1
        first = np.zeros(n_strata + 1, dtype=np.int64)
        for h in range(n_strata):
            first[h + 1] = first[h] + count[h]
        fill = first[:-1].copy()
        by_stratum = np.empty(stop - start, dtype=np.int64)
        for k in order:
            h = strata[cells[start + k]]
            by_stratum[fill[h]] = start + k
            fill[h] += 1
        for h in range(n_strata):
            zeros = float(sizes[h] - count[h])
            zero_rank[h, g] = (zeros + 1.0) / 2.0
            ties[h, g] = zeros**3 - zeros
            centre = (sizes[h] + 1.0) / 2.0
            cubes[h, g] = zeros * (zero_rank[h, g] - centre) ** 3
            a = first[h]
            while a < first[h + 1]:
                b = a + 1
                while b < first[h + 1] and values[by_stratum[b]] == values[by_stratum[a]]:
                    b += 1
                rank = zeros + (a - first[h] + b - first[h] + 1.0) / 2.0
                for k in range(a, b):
                    offset[by_stratum[k]] = rank - zero_rank[h, g]
                t = float(b - a)
                ties[h, g] += t**3 - t
                cubes[h, g] += t * (rank - centre) ** 3
                a = b
    return offset, zero_rank, ties, cubes


@njit(parallel=True)
def log_two_sided(z: np.ndarray) -> np.ndarray:
    """Natural log of the two-sided normal p value of each z, finite for any finite z."""
    out = np.empty(z.size)
    for i in numba.prange(z.size):
        x = abs(z[i])
        if x < 36.0:
            out[i] = math.log(math.erfc(x / math.sqrt(2.0)))
        elif x == math.inf:
            out[i] = -math.inf
        else:  # Mills' ratio: erfc would underflow
            inv = 1.0 / (x * x)
            out[i] = 0.5 * math.log(2.0 / math.pi) - 0.5 * x * x - math.log(x) + math.log1p(-inv + 3.0 * inv * inv)
    return out


@njit(parallel=True)
def skewed_z(z: np.ndarray, skewness: np.ndarray) -> np.ndarray:
    """Normal deviates with the tail of a Pearson III variable, where that tail is the heavier one."""
    out = z.copy()
    for i in numba.prange(z.shape[0]):
        for j in range(z.shape[1]):
            # the long tail lies on the side of the skewness
            g = skewness[i, j] if z[i, j] > 0 else -skewness[i, j]
            if g > 1e-4 and z[i, j] != 0.0:
                s = abs(z[i, j])
                normal = 6.0 / g * ((1.0 + g * s / 2.0) ** (1.0 / 3.0) - 1.0) + g / 6.0
                if normal < s:
                    out[i, j] = normal if z[i, j] > 0 else -normal
    return out


@njit(parallel=True)
def midranks_rows(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Midranks (1 ...) within each row and each row's tie term, the sum of t^3 - t."""
    n_rows, n = z.shape
    ranks = np.empty((n_rows, n))
    ties = np.zeros(n_rows)
    for i in numba.prange(n_rows):
        row = z[i]
        order = np.argsort(row)
        a = 0
        while a < n:
            b = a + 1
            while b < n and row[order[b]] == row[order[a]]:
                b += 1
            for k in range(a, b):
                ranks[i, order[k]] = (a + b + 1.0) / 2.0
            t = float(b - a)
            ties[i] += t**3 - t
            a = b
    return ranks, ties


@njit(parallel=True)
def set_sums(x: np.ndarray, ptr: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Sum each row of ``x`` (rows, genes) over the members of each set: (rows, sets)."""
    n_sets = ptr.size - 1
    out = np.empty((x.shape[0], n_sets))
    for i in numba.prange(x.shape[0]):
        for s in range(n_sets):
            total = 0.0
            for k in range(ptr[s], ptr[s + 1]):
                total += x[i, members[k]]
            out[i, s] = total
    return out


@njit(parallel=True)
def auroc_f1(
    ptr: np.ndarray, cells: np.ndarray, values: np.ndarray, category: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """AUROC, tie term and best F1 (threshold, precision, recall) of sparse features for each category.

    ``category`` is -1 for cells without a label: they are left out. The features are the columns of a CSC matrix of
    positive values. Returns arrays (features, categories) except for the tie term (features,).
    """
    n_features, n_cat = ptr.size - 1, sizes.size
    n = sizes.sum()
    auroc = np.empty((n_features, n_cat))
    ties = np.zeros(n_features)
    f1 = np.zeros((n_features, n_cat))
    threshold = np.zeros((n_features, n_cat))
    precision = np.zeros((n_features, n_cat))
    recall = np.zeros((n_features, n_cat))
    for i in numba.prange(n_features):
        start = ptr[i]
        size = ptr[i + 1] - start
        order = np.argsort(-values[start : ptr[i + 1]])
        rank_sum = np.zeros(n_cat)
        hits = np.zeros(n_cat)
        seen = 0
        a = 0
        while a < size:
            level = values[start + order[a]]
            b = a
            in_group = 0
            while b < size and values[start + order[b]] == level:
                c = category[cells[start + order[b]]]
                if c >= 0:
                    in_group += 1
                    hits[c] += 1
                b += 1
            # ranks count from the largest value down here: 1 is the strongest cell
            rank = seen + (in_group + 1.0) / 2.0
            seen += in_group
            ties[i] += float(in_group) ** 3 - in_group
            for k in range(a, b):
                c = category[cells[start + order[k]]]
                if c >= 0:
                    rank_sum[c] += rank
                    score = 2.0 * hits[c] / (seen + sizes[c])
                    if score > f1[i, c]:
                        f1[i, c] = score
                        threshold[i, c] = level
                        precision[i, c] = hits[c] / seen
                        recall[i, c] = hits[c] / sizes[c]
            a = b
        zeros = float(n - seen)
        ties[i] += zeros**3 - zeros
        for c in range(n_cat):
            total = rank_sum[c] + (sizes[c] - hits[c]) * (seen + (zeros + 1.0) / 2.0)
            below = total - sizes[c] * (sizes[c] + 1.0) / 2.0
            others = float(sizes[c]) * (n - sizes[c])
            auroc[i, c] = 1.0 - below / others if others > 0 else np.nan
    return auroc, ties, f1, threshold, precision, recall
