"""The compiled loops of the statistics: each is a few lines that NumPy cannot say without a dense copy.

Everything here takes and returns plain arrays, sorts nothing (NumPy sorts faster, and sorting code compiles slowly)
and holds no lock, so that callers run it on threads.
"""

from __future__ import annotations

import math

import numpy as np

from cellprism.numba_cache import FASTMATH, compiled

__all__ = [
    "auroc_f1",
    "group_sums",
    "last_not_above",
    "lift_over_zeros",
    "log_two_sided",
    "njit",
    "rank_offsets",
    "ranks_from_order",
    "set_sums",
    "stretch_starts",
    "vector_njit",
]

njit = compiled()
# For loops that become vectors: no jump on division by zero, sums in any order; NaN and infinity keep.
vector_njit = compiled(error_model="numpy", fastmath=FASTMATH)


@njit
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

    ``values`` is (nnz, 2): one walk through the cells of a group serves both sums. ``weights`` is (cells,) and
    ``genes`` uint32.
    """
    n_groups = group_ptr.size - 1
    out = np.empty((n_groups, 2, n_genes))
    acc = np.empty((n_genes, 2))
    for i in range(n_groups):
        acc[:] = 0.0
        for k in range(group_ptr[i], group_ptr[i + 1]):
            cell = group_cells[k]
            w = weights[cell]
            row, pair = genes[ptr[cell] : ptr[cell + 1]], values[ptr[cell] : ptr[cell + 1]]
            for p in range(row.size):
                q = np.uint64(p)  # unsigned positions need no test for counting from the end
                g = row[q]
                acc[g, 0] += w * pair[q, 0]
                acc[g, 1] += pair[q, 1]
        for g in range(n_genes):
            out[i, 0, g] = acc[g, 0]
            out[i, 1, g] = acc[g, 1]
    return out


@njit
def rank_offsets(
    ptr: np.ndarray,
    cells: np.ndarray,
    values: np.ndarray,
    order: np.ndarray,
    strata: np.ndarray,
    sizes: np.ndarray,
    offset: np.ndarray,
    zero_rank: np.ndarray,
    ties: np.ndarray,
    cubes: np.ndarray,
) -> None:
    """Midranks within strata of the non-negative columns of a CSC matrix, zeros included; fills the last four.

    ``order`` sorts each column's values (positions in the whole matrix). ``offset`` takes the rank of each stored
    value less the rank its stratum's zeros share, ``zero_rank`` that rank (strata, genes), ``ties`` the sum of
    t^3 - t over groups of equal values, and ``cubes`` the sum of cubed deviations of all ranks from their mean.
    """
    n_strata = sizes.size
    for g in range(ptr.size - 1):
        start, stop = ptr[g], ptr[g + 1]
        count = np.zeros(n_strata, dtype=np.int64)
        for k in range(start, stop):
            count[strata[cells[k]]] += 1
        first = np.zeros(n_strata + 1, dtype=np.int64)
        for h in range(n_strata):
            first[h + 1] = first[h] + count[h]
        fill = first[:-1].copy()
        by_stratum = np.empty(stop - start, dtype=np.int64)
        for j in range(start, stop):
            k = order[j]
            h = strata[cells[k]]
            by_stratum[fill[h]] = k
            fill[h] += 1
        for h in range(n_strata):
            zeros = float(sizes[h] - count[h])
            shared = (zeros + 1.0) / 2.0
            centre = (sizes[h] + 1.0) / 2.0
            tie = zeros**3 - zeros
            cube = zeros * (shared - centre) ** 3
            a = first[h]
            while a < first[h + 1]:
                b = a + 1
                while b < first[h + 1] and values[by_stratum[b]] == values[by_stratum[a]]:
                    b += 1
                rank = zeros + (a - first[h] + b - first[h] + 1.0) / 2.0
                for k in range(a, b):
                    offset[by_stratum[k]] = rank - shared
                t = float(b - a)
                tie += t**3 - t
                cube += t * (rank - centre) ** 3
                a = b
            zero_rank[h, g] = shared
            ties[h, g] = tie
            cubes[h, g] = cube


@njit
def log_two_sided(z: np.ndarray) -> np.ndarray:
    """Natural log of the two-sided normal p value of each z, finite for any finite z."""
    out = np.empty(z.size)
    for i in range(z.size):
        x = abs(z[i])
        if x < 36.0:
            out[i] = math.log(math.erfc(x / math.sqrt(2.0)))
        elif x == math.inf:
            out[i] = -math.inf
        else:  # Mills' ratio: erfc would underflow (NaN comes this way and stays)
            inv = 1.0 / (x * x)
            out[i] = 0.5 * math.log(2.0 / math.pi) - 0.5 * x * x - math.log(x) + math.log1p(-inv + 3.0 * inv * inv)
    return out


@njit
def ranks_from_order(z: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Midranks (1 ...) within each row, given the row's sorting order, and its tie term, the sum of t^3 - t."""
    n_rows, n = z.shape
    ranks = np.empty((n_rows, n))
    ties = np.zeros(n_rows)
    for i in range(n_rows):
        a = 0
        while a < n:
            b = a + 1
            while b < n and z[i, order[i, b]] == z[i, order[i, a]]:
                b += 1
            for k in range(a, b):
                ranks[i, order[i, k]] = (a + b + 1.0) / 2.0
            t = float(b - a)
            ties[i] += t**3 - t
            a = b
    return ranks, ties


@vector_njit
def set_sums(x: np.ndarray, ptr: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Sum each row of ``x`` (rows, genes) over the members of each set: (rows, sets).

    Eight rows are turned at a time, so that a member's values lie side by side and are added as one vector.
    """
    n_rows, n_genes = x.shape
    n_sets = ptr.size - 1
    out = np.empty((n_rows, n_sets))
    turned = np.zeros((n_genes, 8))
    part = np.empty(8)
    for first in range(0, n_rows, 8):
        rows = min(8, n_rows - first)
        for r in range(rows):
            for g in range(n_genes):
                turned[g, r] = x[first + r, g]
        for s in range(n_sets):
            for j in range(8):
                part[j] = 0.0
            k, stop = ptr[s], ptr[s + 1]
            while k + 4 <= stop:
                a, b, c, d = members[k], members[k + 1], members[k + 2], members[k + 3]
                for j in range(8):
                    part[j] += (turned[a, j] + turned[b, j]) + (turned[c, j] + turned[d, j])
                k += 4
            while k < stop:
                a = members[k]
                for j in range(8):
                    part[j] += turned[a, j]
                k += 1
            for r in range(rows):
                out[first + r, s] = part[r]
    return out


@njit
def lift_over_zeros(
    ptr: np.ndarray, values: np.ndarray, order: np.ndarray, n_cells: int
) -> tuple[np.ndarray, np.ndarray]:
    """Midranks of the positive values of each sparse column above the rank its zeros share, and the ranks' length.

    The length is the root of the sum of squared deviations of all ranks, zeros included, from their mean.
    """
    lift = np.empty(values.size)
    length = np.zeros(ptr.size - 1)
    centre = (n_cells + 1.0) / 2.0
    for f in range(ptr.size - 1):
        start, stop = ptr[f], ptr[f + 1]
        zeros = float(n_cells - (stop - start))
        shared = (zeros + 1.0) / 2.0
        square = zeros * (shared - centre) ** 2
        a = start
        while a < stop:
            b = a + 1
            while b < stop and values[order[b]] == values[order[a]]:
                b += 1
            rank = zeros + (a - start + b - start + 1.0) / 2.0
            for k in range(a, b):
                lift[order[k]] = rank - shared
            square += (b - a) * (rank - centre) ** 2
            a = b
        length[f] = math.sqrt(square)
    return lift, length


@njit
def auroc_f1(
    ptr: np.ndarray,
    cells: np.ndarray,
    values: np.ndarray,
    order: np.ndarray,
    category: np.ndarray,
    sizes: np.ndarray,
    auroc: np.ndarray,
    ties: np.ndarray,
    best: np.ndarray,
) -> None:
    """AUROC and best F1 of sparse features for each category; fills the last three arguments.

    ``order`` sorts each column's values upwards (positions in the whole matrix); ``category`` is -1 for cells without
    a label, which are left out. ``auroc`` is (features, categories), ``ties`` (features,) the sum of t^3 - t, and
    ``best`` (features, categories, 4): F1, threshold, precision, recall.
    """
    n_cat = sizes.size
    n = sizes.sum()
    for i in range(ptr.size - 1):
        start, stop = ptr[i], ptr[i + 1]
        rank_sum = np.zeros(n_cat)
        hits = np.zeros(n_cat)
        seen = 0
        tie = 0.0
        a = stop  # from the largest value down: rank 1 is the strongest cell
        while a > start:
            level = values[order[a - 1]]
            b = a
            in_group = 0
            while b > start and values[order[b - 1]] == level:
                c = category[cells[order[b - 1]]]
                if c >= 0:
                    in_group += 1
                    hits[c] += 1
                b -= 1
            rank = seen + (in_group + 1.0) / 2.0
            seen += in_group
            tie += float(in_group) ** 3 - in_group
            for k in range(b, a):
                c = category[cells[order[k]]]
                if c >= 0:
                    rank_sum[c] += rank
                    score = 2.0 * hits[c] / (seen + sizes[c])
                    if score > best[i, c, 0]:
                        best[i, c, 0] = score
                        best[i, c, 1] = level
                        best[i, c, 2] = hits[c] / seen
                        best[i, c, 3] = hits[c] / sizes[c]
            a = b
        zeros = float(n - seen)
        ties[i] = tie + zeros**3 - zeros
        for c in range(n_cat):
            total = rank_sum[c] + (sizes[c] - hits[c]) * (seen + (zeros + 1.0) / 2.0)
            below = total - sizes[c] * (sizes[c] + 1.0) / 2.0
            others = float(sizes[c]) * (n - sizes[c])
            auroc[i, c] = 1.0 - below / others if others > 0 else np.nan


@njit
def stretch_starts(keys: np.ndarray, scale: float, n: int) -> np.ndarray:
    """(n + 1,) number of sorted keys before each of n stretches of equal width ``1 / scale`` from the first key on."""
    start = np.zeros(n + 1, dtype=np.int64)
    for i in range(keys.size):
        start[min(int((keys[i] - keys[0]) * scale), n - 1) + 1] += 1
    for b in range(n):
        start[b + 1] += start[b]
    return start


@njit
def last_not_above(keys: np.ndarray, start: np.ndarray, scale: float, asked: np.ndarray) -> np.ndarray:
    """Position of the last of the sorted keys that is not above each asked value (at least 0).

    ``start`` is from :func:`stretch_starts` with the same scale: the search is within one short stretch.
    """
    out = np.zeros(asked.size, dtype=np.int64)
    n = start.size - 1
    for i in range(asked.size):
        if not asked[i] >= keys[0]:  # also NaN
            continue
        b = n - 1 if asked[i] >= keys[-1] else min(int((asked[i] - keys[0]) * scale), n - 1)
        left, right = start[b], start[b + 1]
        while left < right:
            middle = (left + right) // 2
            if keys[middle] <= asked[i]:
                left = middle + 1
            else:
                right = middle
        out[i] = max(left - 1, 0)
    return out
