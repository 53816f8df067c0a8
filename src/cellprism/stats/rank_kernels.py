"""Compiled loops of the rank-sum test: sums over active cells from dense blocks of genes, then the formulas of a row.

Where a tenth of all values is not zero, adding whole vectors of a dense block (all cells x 32 genes, which stays in the
cache of a core) is several times faster than following the expressed genes of each cell. The formulas are written as
plain loops over a row of genes, without calls, so that the compiler turns them into vectors too.
"""

from __future__ import annotations

import numpy as np

from cellprism.stats.kernels import njit, vector_njit

__all__ = ["BLOCK_GENES", "block_sums", "empty_block", "fill_block", "rank_formulas", "row_starts"]

BLOCK_GENES = 32
_TWICE = 2 * BLOCK_GENES
_THIRD = np.float32(1.0 / 3.0)
_ROOT_BITS = np.float32(709921077.0)  # two thirds of the bits of 1.0, less what makes the worst error least
_LOG2 = 1.4426950408889634  # 1 / ln 2


def empty_block(n_cells: int) -> np.ndarray:
    """(cells, 64) float32 whose rows begin on a line of the cache: vectors across two lines take a third longer."""
    line = 16
    room = np.empty(n_cells * _TWICE + line, dtype=np.float32)
    start = -(room.ctypes.data // room.itemsize) % line
    return room[start : start + n_cells * _TWICE].reshape(n_cells, _TWICE)


@njit
def row_starts(first: int, ptr: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """Where the genes from ``first`` on begin in each row of a CSR matrix with sorted columns."""
    at = np.empty(ptr.size - 1, dtype=np.int64)
    for cell in range(ptr.size - 1):
        left, right = ptr[cell], ptr[cell + 1]
        while left < right:
            middle = (left + right) // 2
            if genes[middle] < first:
                left = middle + 1
            else:
                right = middle
        at[cell] = left
    return at


@njit
def fill_block(
    first: int, last: int, ptr: np.ndarray, genes: np.ndarray, values: np.ndarray, at: np.ndarray, block: np.ndarray
) -> None:
    """Write genes ``first`` ... ``last`` of a CSR matrix of pairs (``values``, (nnz, 2)) into (cells, 64) columns.

    The first value of gene ``first + g`` goes to column g, the second to 32 + g. ``at`` (cells,) is where each row goes on;
    blocks are to be asked for in order.
    """
    block[:] = 0.0
    for cell in range(ptr.size - 1):
        k = at[cell]
        stop = ptr[cell + 1]
        while k < stop and genes[k] < last:
            g = genes[k] - first
            block[cell, g] = values[k, 0]
            block[cell, BLOCK_GENES + g] = values[k, 1]
            k += 1
        at[cell] = k


@njit
def block_sums(
    group_ptr: np.ndarray, cells: np.ndarray, weight: np.ndarray, block: np.ndarray, run: int, out: np.ndarray
) -> None:
    """Sum a block's rows over each feature's cells: (features, 64).

    ``group_ptr`` bounds one list of cells for each feature and stratum; ``weight`` (strata,) multiplies the first 32
    columns. Sums are taken in single precision over ``run`` cells at most and added up in double.
    """
    n_strata = weight.size
    part = np.empty(_TWICE, dtype=np.float32)
    for f in range(out.shape[0]):
        for j in range(_TWICE):
            out[f, j] = 0.0
        for h in range(n_strata):
            k = group_ptr[f * n_strata + h]
            stop = group_ptr[f * n_strata + h + 1]
            w = weight[h]
            while k < stop:
                end = min(k + run, stop)
                for j in range(_TWICE):
                    part[j] = 0.0
                while k + 4 <= end:
                    a, b, c, d = cells[k], cells[k + 1], cells[k + 2], cells[k + 3]
                    for j in range(_TWICE):
                        part[j] += (block[a, j] + block[b, j]) + (block[c, j] + block[d, j])
                    k += 4
                while k < end:
                    a = cells[k]
                    for j in range(_TWICE):
                        part[j] += block[a, j]
                    k += 1
                for j in range(BLOCK_GENES):
                    out[f, j] += w * part[j]
                for j in range(BLOCK_GENES, _TWICE):
                    out[f, j] += part[j]


@vector_njit
def rank_formulas(
    sums: np.ndarray,
    row: int,
    first: int,
    positive: np.ndarray,
    negative: np.ndarray,
    weight: np.ndarray,
    centre: np.ndarray,
    spread: np.ndarray,
    cubes: np.ndarray,
    linear_total: np.ndarray,
    continuity: float,
    pseudocount: float,
    n: int,
    z: np.ndarray,
    calibrated: np.ndarray,
    fold: np.ndarray,
) -> None:
    """Fill z, its calibrated form and the fold change of some features and genes from sums over active cells.

    ``sums`` (features, 2 x width): weighted rank offsets, then expm1 values, of the features from ``row`` and the ``n``
    genes from ``first`` on. ``positive`` and ``negative`` (all features, strata) count cells; ``centre``, ``spread`` and
    ``cubes`` are (strata, all genes), the last three (all features, all genes). The formulas are those of
    :func:`cellprism.stats.genes.rank_sum`.
    """
    n_features, width = sums.shape[0], sums.shape[1] // 2
    shift, variance, third = np.empty(n), np.empty(n), np.empty(n)
    skew, base, root = np.empty(n), np.empty(n), np.empty(n)
    single = np.empty(n, dtype=np.float32)
    bits = single.view(np.int32)
    ratio = np.empty(n)
    long_bits = ratio.view(np.int64)
    for f in range(n_features):
        for j in range(n):
            shift[j] = sums[f, j]
            variance[j] = 0.0
            third[j] = 0.0
        n_pos, n_neg = 0.0, 0.0
        for h in range(weight.size):
            p, q = positive[row + f, h], negative[row + f, h]
            n_pos += p
            n_neg += q
            if p == 0.0:
                continue
            v = p * q * weight[h] * weight[h]
            t = p * q * (q - p)
            for j in range(n):
                shift[j] += p * centre[h, first + j]
                variance[j] += v * spread[h, first + j]
                third[j] += t * cubes[h, first + j]
        for j in range(n):
            sd = np.sqrt(variance[j])
            safe = sd if sd > 0.0 else 1.0
            size = max(abs(shift[j]) - continuity, 0.0) / safe
            size = size if sd > 0.0 else 0.0
            signed = size if shift[j] > 0.0 else -size
            z[row + f, first + j] = signed + 0.0  # no negative zero
            # the long tail lies on the side of the skewness
            g = third[j] / (safe * safe * safe)
            skew[j] = g if shift[j] > 0.0 else -g
            shift[j] = size
            base[j] = 1.0 + max(skew[j], 0.0) * size * 0.5
            single[j] = base[j]
        for j in range(n):
            bits[j] = np.int32(np.float32(bits[j]) * _THIRD + _ROOT_BITS)
        for j in range(n):
            # cube root by two steps of Halley from a start within 4 %
            r = np.float64(single[j])
            r *= (r * r * r + 2.0 * base[j]) / (2.0 * r * r * r + base[j])
            r *= (r * r * r + 2.0 * base[j]) / (2.0 * r * r * r + base[j])
            root[j] = r
        for j in range(n):
            g = skew[j] if skew[j] > 1e-4 else 1.0
            normal = 6.0 / g * (root[j] - 1.0) + g / 6.0
            size = normal if skew[j] > 1e-4 and normal < shift[j] else shift[j]
            calibrated[row + f, first + j] = size if z[row + f, first + j] > 0.0 else -size + 0.0
        n_pos, n_neg = max(n_pos, 1.0), max(n_neg, 1.0)
        for j in range(n):
            outside = max(linear_total[first + j] - sums[f, width + j], 0.0)
            ratio[j] = (sums[f, width + j] / n_pos + pseudocount) / (outside / n_neg + pseudocount)
        for j in range(n):
            # log2 of exponent and mantissa; the mantissa within the roots of 1/2 and 2, by the series of atanh
            whole = long_bits[j]
            exponent = np.float64((whole >> 52) - 1023)
            root[j] = exponent
            long_bits[j] = (whole & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000
        for j in range(n):
            m = ratio[j]
            large = m > 1.4142135623730951
            m = 0.5 * m if large else m
            s = (m - 1.0) / (m + 1.0)
            s2 = s * s
            series = 1.0 + s2 * (1 / 3 + s2 * (1 / 5 + s2 * (1 / 7 + s2 * (1 / 9 + s2 * (1 / 11 + s2 * (1 / 13))))))
            fold[row + f, first + j] = root[j] + (1.0 if large else 0.0) + 2.0 * _LOG2 * s * series
