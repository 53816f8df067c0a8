"""Tests of every gene for every feature: rank-sum (van Elteren within strata), Welch, fold change.

All features share one walk over the cells that are active in them (:func:`cellprism.stats.kernels.group_sums`); what
remains for each feature and gene is a formula.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cellprism.stats.contrast import Contrast
from cellprism.stats.expression import Expression
from cellprism.stats.gene_blocks import row_arrays
from cellprism.stats.kernels import group_sums
from cellprism.stats.moderate import t_to_z
from cellprism.stats.parallel import for_chunks, nan_array
from cellprism.stats.rank_kernels import BLOCK_GENES, block_sums, empty_block, fill_block, rank_formulas, row_starts
from cellprism.stats.walks import group_moments, split_by_group

__all__ = ["GeneResult", "cell_sums", "empty_statistics", "log2_fold_change", "rank_sum", "split_by_stratum", "welch"]

_CHUNK_BYTES = 2**20
_MOST_DOUBLES = 40_000_000
_DENSE = 0.05  # share of values that are not zero from which on dense blocks of genes are the faster way
_ROWS = 1_024  # features whose sums are held at a time


class GeneResult(NamedTuple):
    """A statistic and an effect for every feature and gene."""

    z: np.ndarray
    """(features, genes) signed z; NaN for untestable features, 0 for constant genes (:func:`empty_statistics`)."""
    calibrated: np.ndarray
    """The same, float32, with the tail of its permutation distribution: what q values and gene sets use."""
    log2fc: np.ndarray
    """(features, genes) float32 log2 fold change of the normalised (unlogged) means."""


def empty_statistics(n_features: int, n_genes: int) -> np.ndarray:
    """An array of NaN for statistics: double precision, single where there are more than forty million."""
    return nan_array((n_features, n_genes), _precision(n_features, n_genes))


def _precision(n_features: int, n_genes: int) -> type[np.floating]:
    return np.float64 if n_features * n_genes <= _MOST_DOUBLES else np.float32


def rank_sum(expression: Expression, contrast: Contrast, *, pseudocount: float = 0.1) -> GeneResult:
    """Wilcoxon's rank-sum test with tie correction; van Elteren's stratified form where there are strata.

    Parameters
    ----------
    expression
        Ranked expression (:func:`cellprism.stats.expression.prepare_expression`).
    contrast
        Active against inactive cells, counted in the same strata.
    pseudocount
        Added to both normalised means before their ratio, in units of the normalised expression.

    Notes
    -----
    With one stratum z is that of ``scipy.stats.mannwhitneyu(method="asymptotic")`` with its continuity correction of
    one half. The normal tail is far too light for genes seen in few cells or features active in few (the permutation
    distribution is skewed), so ``calibrated`` carries the exact third moment of that distribution through a Pearson
    type III tail (Mielke & Berry, 2007, Permutation Methods, ch. 2), turned into a normal deviate by Wilson and
    Hilferty's cube root; where that tail is the lighter one, the normal stays.

    With more than one stratum, ranks are taken within strata and added with weights 1 / (cells + 1) (van Elteren, 1960,
    Bull. Inst. Int. Stat. 37:351), and no continuity correction applies, as the sum has no fixed step.

    Examples
    --------
    >>> from cellprism.stats.contrast import active_contrast
    >>> from cellprism.stats.expression import prepare_expression
    >>> from cellprism.stats.genes import rank_sum
    >>> ranked = prepare_expression(expression)
    >>> found = rank_sum(ranked, active_contrast(codes.tocsc(), ranked.strata, ranked.sizes))
    >>> found.z.shape == (codes.shape[1], len(genes))
    True
    """
    n_strata = expression.sizes.size
    sizes = expression.sizes.astype(np.float64)
    weight = 1.0 / (sizes + 1.0) if n_strata > 1 else np.ones(1)
    continuity = 0.0 if n_strata > 1 else 0.5
    cell_weight = weight[expression.strata]
    pairs = np.maximum(sizes * (sizes - 1.0), 1.0)
    # variance of one stratum = positive * negative / 12 * spread (0 where all cells tie)
    spread = np.maximum((sizes[:, None] + 1.0) - expression.ties / pairs[:, None], 0.0) / 12.0
    centre = weight[:, None] * (expression.zero_rank - (sizes[:, None] + 1.0) / 2.0)
    third = sizes * (sizes - 1.0) * (sizes - 2.0)
    cubes = np.where(third > 0, weight**3 / np.where(third > 0, third, 1.0), 0.0)[:, None] * expression.cubes
    shape = contrast.n_features, expression.n_genes
    z = np.empty(shape, dtype=_precision(*shape))  # every entry is written below
    calibrated, fold = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)

    ptr, cells = split_by_stratum(contrast.ptr, contrast.cells, expression.strata, n_strata)
    ptr = ptr.astype(np.int64, copy=False)
    pos, neg = contrast.positive.astype(np.float64), contrast.negative.astype(np.float64)

    def formulas(sums: np.ndarray, row: int, first: int, n: int) -> None:
        rank_formulas(
            sums, row, first, pos, neg, weight, centre, spread, cubes, expression.linear_total, continuity, pseudocount,
            n, z, calibrated, fold,
        )  # fmt: skip

    def by_cells(part: slice) -> None:
        sums = cell_sums(expression, contrast.ptr, contrast.cells, part, expression.values, cell_weight)
        formulas(sums.reshape(len(sums), -1), part.start, 0, expression.n_genes)

    def by_blocks(blocks: slice) -> None:
        row_ptr, columns = _rows(expression)
        at = row_starts(blocks.start * BLOCK_GENES, row_ptr, columns)
        block = empty_block(expression.n_cells)
        sums = np.empty((min(_ROWS, contrast.n_features), 2 * BLOCK_GENES))
        for b in range(blocks.start, blocks.stop):
            genes = slice(b * BLOCK_GENES, min((b + 1) * BLOCK_GENES, expression.n_genes))
            fill_block(genes.start, genes.stop, row_ptr, columns, expression.values, at, block)
            for start in range(0, contrast.n_features, _ROWS):
                part = slice(start, min(start + _ROWS, contrast.n_features))
                here = sums[: part.stop - start]
                groups = ptr[start * n_strata : part.stop * n_strata + 1]
                block_sums(groups, cells, weight, block, run, here)
                formulas(here, start, genes.start, genes.stop - genes.start)

    if expression.log.nnz > _DENSE * expression.n_cells * expression.n_genes:
        # halves of whole numbers up to 2^23 add up without rounding in single precision
        run = int(max(4, min(64, 2**23 // max(expression.n_cells, 1))))
        n_blocks = -(-expression.n_genes // BLOCK_GENES)
        for_chunks(by_blocks, n_blocks, max(1, min(16, -(-n_blocks // 8))))
    else:
        for_chunks(by_cells, contrast.n_features, _step(expression.n_genes))
    for array in (z, calibrated, fold):
        array[~contrast.testable] = np.nan
    return GeneResult(z, calibrated, fold)


def welch(expression: Expression, contrast: Contrast, *, pseudocount: float = 0.1) -> GeneResult:
    """Welch's t test on log1p values; within strata, the precision-weighted sum of their differences.

    The z is the normal deviate of the same two-sided p value. Strata count with weights n1 n2 / (n1 + n2), and the
    degrees of freedom are Satterthwaite's for the weighted sum, which for one stratum are Welch's. A gene without
    variance on either side but with different means (a perfect marker) gets an infinite t; its z is capped at the
    largest deviate that the log p value of the machine can carry (about 1e4) so that it ranks first.

    Examples
    --------
    >>> from cellprism.stats.contrast import active_contrast
    >>> from cellprism.stats.expression import prepare_expression
    >>> from cellprism.stats.genes import welch
    >>> ranked = prepare_expression(expression)
    >>> found = welch(ranked, active_contrast(codes.tocsc(), ranked.strata, ranked.sizes))
    >>> found.log2fc.shape == (codes.shape[1], len(genes))
    True
    """
    n_strata = expression.sizes.size

    def moments(ptr: np.ndarray, cells: np.ndarray, part: slice) -> np.ndarray:
        groups = (ptr[part.start : part.stop + 1] - ptr[part.start]).astype(np.int64)
        mine = cells[ptr[part.start] : ptr[part.stop]]
        sums: np.ndarray = group_moments(groups, mine, *_rows(expression), expression.log.data, expression.n_genes)
        return sums

    unit = np.zeros(n_strata + 1, dtype=np.int64)
    unit[1:] = np.cumsum(expression.sizes)
    order = np.argsort(expression.strata, kind="stable")
    total = moments(unit, order.astype(np.int32), slice(0, n_strata))
    z = empty_statistics(contrast.n_features, expression.n_genes)
    fold = nan_array(z.shape, np.float32)
    ptr, cells = split_by_stratum(contrast.ptr, contrast.cells, expression.strata, n_strata)
    out_ptr, out_cells = split_by_stratum(contrast.excluded_ptr, contrast.excluded_cells, expression.strata, n_strata)
    linear = expression.values

    def test(part: slice) -> None:
        groups = slice(part.start * n_strata, part.stop * n_strata)
        width = (part.stop - part.start, n_strata, 2, expression.n_genes)
        inside = moments(ptr, cells, groups).reshape(width)
        outside = total[None] - inside - moments(out_ptr, out_cells, groups).reshape(width)
        pos, neg = contrast.positive[part].astype(np.float64), contrast.negative[part].astype(np.float64)
        t, df = _stratified_welch(inside, outside, pos, neg)
        z[part] = t_to_z(t, df)
        lin_in = cell_sums(expression, contrast.ptr, contrast.cells, part, linear)[:, 1]
        lin_out = expression.linear_total - lin_in
        lin_out -= cell_sums(expression, contrast.excluded_ptr, contrast.excluded_cells, part, linear)[:, 1]
        fold[part] = log2_fold_change(lin_in, lin_out, pos, neg, pseudocount)

    for_chunks(test, contrast.n_features, _step(expression.n_genes * n_strata))
    z[~contrast.testable] = np.nan
    fold[~contrast.testable] = np.nan
    return GeneResult(z, z.astype(np.float32, copy=False), fold)


def _stratified_welch(
    inside: np.ndarray, outside: np.ndarray, pos: np.ndarray, neg: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    both = (pos > 1) & (neg > 1)
    n1, n2 = np.where(both, pos, 2.0)[:, :, None], np.where(both, neg, 2.0)[:, :, None]
    weight = np.where(both[:, :, None], n1 * n2 / (n1 + n2), 0.0)
    diff = inside[:, :, 0] / n1 - outside[:, :, 0] / n2
    parts = []
    for sums, n in ((inside, n1), (outside, n2)):
        square = sums[:, :, 0] ** 2 / n
        centred = sums[:, :, 1] - square
        # what is left of a constant gene after subtraction is rounding, not variance
        parts.append(np.where(centred > 1e-12 * np.maximum(square, 1e-300), centred, 0.0) / (n - 1.0) / n)
    within = weight**2
    variance = (within * (parts[0] + parts[1])).sum(axis=1)
    numerator = (weight * diff).sum(axis=1)
    numerator[np.abs(numerator) < 1e-9 * np.abs(weight * inside[:, :, 0] / n1).sum(axis=1)] = 0.0
    denominator = (within**2 * (parts[0] ** 2 / (n1 - 1.0) + parts[1] ** 2 / (n2 - 1.0))).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(numerator == 0.0, 0.0, numerator / np.sqrt(variance))
        df = np.where(denominator > 0, variance**2 / denominator, 1.0)
    return t, df


def log2_fold_change(
    inside: np.ndarray, outside: np.ndarray, pos: np.ndarray, neg: np.ndarray, pseudocount: float
) -> np.ndarray:
    """Log2 ratio of the means of two sums, the pseudocount added to both; counts are (features, strata)."""
    n1, n2 = np.maximum(pos.sum(axis=1), 1.0)[:, None], np.maximum(neg.sum(axis=1), 1.0)[:, None]
    out: np.ndarray = np.log2((inside / n1 + pseudocount) / (np.maximum(outside, 0.0) / n2 + pseudocount))
    return out


def split_by_stratum(
    ptr: np.ndarray, cells: np.ndarray, strata: np.ndarray, n_strata: int
) -> tuple[np.ndarray, np.ndarray]:
    """Split the cell list of each feature into one list a stratum."""
    if n_strata == 1:
        return ptr, cells
    parts: tuple[np.ndarray, np.ndarray] = split_by_group(ptr.astype(np.int64, copy=False), cells, strata, n_strata)
    return parts


def cell_sums(
    expression: Expression,
    ptr: np.ndarray,
    cells: np.ndarray,
    part: slice,
    values: np.ndarray,
    cell_weight: np.ndarray | None = None,
) -> np.ndarray:
    """(groups of ``part``, 2, genes) sums of two values over lists of cells, the first one weighted by cell."""
    if cell_weight is None:
        cell_weight = np.ones(expression.n_cells)
    start, stop = ptr[part.start], ptr[part.stop]
    groups = (ptr[part.start : part.stop + 1] - start).astype(np.int64)
    return group_sums(groups, cells[start:stop], cell_weight, *_rows(expression), values, expression.n_genes)


def _rows(expression: Expression) -> tuple[np.ndarray, np.ndarray]:
    """Row pointers and columns in one integer width, so that the compiled loop is compiled once."""
    return row_arrays(expression.log)


def _step(row: int) -> int:
    """Features a chunk: small enough for the sums to stay in the cache of a core."""
    return max(1, _CHUNK_BYTES // (16 * max(row, 1)))
