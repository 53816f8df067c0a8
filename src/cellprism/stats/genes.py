"""Tests of every gene for every feature: rank-sum (van Elteren within strata), Welch, fold change.

All features share one walk over the cells that are active in them (:func:`cellprism.stats.kernels.group_sums`); what
remains for each feature and gene is a formula.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from cellprism.stats.contrast import Contrast
from cellprism.stats.expression import Expression
from cellprism.stats.kernels import group_sums, skewed_z

__all__ = ["GeneResult", "rank_sum", "welch"]

_CHUNK_BYTES = 64 * 2**20


class GeneResult(NamedTuple):
    """A statistic and an effect for every feature and gene."""

    z: np.ndarray
    """(features, genes) signed z; NaN for untestable features, 0 for genes that are constant."""
    calibrated: np.ndarray
    """The same with the tail of its permutation distribution: what q values and gene sets use."""
    log2fc: np.ndarray
    """(features, genes) float32 log2 fold change of the normalised (unlogged) means."""


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
    z = np.full((contrast.n_features, expression.n_genes), np.nan)
    calibrated = z.copy()
    fold = np.full(z.shape, np.nan, dtype=np.float32)
    for part in _chunks(contrast, expression.n_genes):
        sums = _sums(expression, contrast.ptr, contrast.cells, part, expression.values, cell_weight)
        pos, neg = contrast.positive[part].astype(np.float64), contrast.negative[part].astype(np.float64)
        shift = sums[:, 0] + pos @ centre
        sd = np.sqrt((pos * neg * weight**2) @ spread)
        size = np.maximum(np.abs(shift) - continuity, 0.0)
        safe = np.where(sd > 0, sd, 1.0)
        z[part] = np.where(sd > 0, np.sign(shift) * size / safe, 0.0)
        calibrated[part] = skewed_z(z[part], ((pos * neg * (neg - pos)) @ cubes) / safe**3)
        fold[part] = _log2fc(sums[:, 1], expression.linear_total - sums[:, 1], pos, neg, pseudocount)
    for array in (z, calibrated, fold):
        array[~contrast.testable] = np.nan
    return GeneResult(z, calibrated, fold)


def welch(expression: Expression, contrast: Contrast, *, pseudocount: float = 0.1) -> GeneResult:
    """Welch's t test on log1p values; within strata, the precision-weighted sum of their differences.

    The z is the normal deviate of the same two-sided p value. Strata count with weights n1 n2 / (n1 + n2), and the
    degrees of freedom are Satterthwaite's for the weighted sum, which for one stratum are Welch's. A gene without
    variance on either side but with different means (a perfect marker) gets an infinite t; its z is capped at the
    largest deviate that the log p value of the machine can carry (about 1e4) so that it ranks first.
    """
    n_strata = expression.sizes.size
    log = expression.log.data.astype(np.float64)
    moments = np.stack([log, log**2], axis=1)
    one = np.ones(expression.n_cells)
    unit = np.zeros(n_strata + 1, dtype=np.int64)
    unit[1:] = np.cumsum(expression.sizes)
    order = np.argsort(expression.strata, kind="stable")
    total = group_sums(
        unit, order, np.ones(order.size), expression.log.indptr, expression.log.indices, moments, expression.n_genes
    )
    z = np.full((contrast.n_features, expression.n_genes), np.nan)
    fold = np.full(z.shape, np.nan, dtype=np.float32)
    ptr, cells = _by_stratum(contrast.ptr, contrast.cells, expression.strata, n_strata)
    out_ptr, out_cells = _by_stratum(contrast.excluded_ptr, contrast.excluded_cells, expression.strata, n_strata)
    linear = np.repeat(expression.values[:, 1:], 2, axis=1)
    for part in _chunks(contrast, expression.n_genes * n_strata):
        groups = slice(part.start * n_strata, part.stop * n_strata)
        width = (part.stop - part.start, n_strata, 2, expression.n_genes)
        inside = _sums(expression, ptr, cells, groups, moments, one).reshape(width)
        outside = total[None] - inside - _sums(expression, out_ptr, out_cells, groups, moments, one).reshape(width)
        pos, neg = contrast.positive[part].astype(np.float64), contrast.negative[part].astype(np.float64)
        t, df = _stratified_welch(inside, outside, pos, neg)
        z[part] = _t_to_z(t, df)
        lin_in = _sums(expression, contrast.ptr, contrast.cells, part, linear, one)[:, 1]
        lin_out = expression.linear_total - lin_in
        lin_out -= _sums(expression, contrast.excluded_ptr, contrast.excluded_cells, part, linear, one)[:, 1]
        fold[part] = _log2fc(lin_in, lin_out, pos, neg, pseudocount)
    z[~contrast.testable] = np.nan
    fold[~contrast.testable] = np.nan
    return GeneResult(z, z, fold)


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


def _t_to_z(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Normal deviates with the two-sided p values of Student's t, through logarithms in the far tail."""
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        log_tail = np.log(special.stdtr(df, -np.abs(t)))
        far = ~(log_tail > -600.0)
        x = df[far] / (df[far] + t[far] ** 2)
        a = df[far] / 2.0
        # log of I_x(a, 1/2) / 2 with the leading factors apart, so that nothing underflows
        log_beta = special.betaln(a, 0.5)
        series = special.hyp2f1(a + 0.5, 1.0, a + 1.0, np.minimum(x, 1.0))
        log_tail[far] = np.log(0.5) + a * np.log(x) + 0.5 * np.log1p(-x) - np.log(a) - log_beta + np.log(series)
    log_tail = np.maximum(np.nan_to_num(log_tail, nan=-5e7, neginf=-5e7), -5e7)
    out: np.ndarray = -np.sign(t) * special.ndtri_exp(log_tail)
    return out


def _log2fc(
    inside: np.ndarray, outside: np.ndarray, pos: np.ndarray, neg: np.ndarray, pseudocount: float
) -> np.ndarray:
    n1, n2 = np.maximum(pos.sum(axis=1), 1.0)[:, None], np.maximum(neg.sum(axis=1), 1.0)[:, None]
    out: np.ndarray = np.log2((inside / n1 + pseudocount) / (np.maximum(outside, 0.0) / n2 + pseudocount))
    return out


def _by_stratum(ptr: np.ndarray, cells: np.ndarray, strata: np.ndarray, n_strata: int) -> tuple[np.ndarray, np.ndarray]:
    """Split the cell list of each feature into one list a stratum."""
    if n_strata == 1:
        return ptr, cells
    group = np.repeat(np.arange(ptr.size - 1), np.diff(ptr)) * n_strata + strata[cells]
    counts = np.bincount(group, minlength=(ptr.size - 1) * n_strata)
    return np.concatenate([[0], np.cumsum(counts)]), cells[np.argsort(group, kind="stable")]


def _sums(
    expression: Expression,
    ptr: np.ndarray,
    cells: np.ndarray,
    part: slice,
    values: np.ndarray,
    cell_weight: np.ndarray,
) -> np.ndarray:
    span = slice(ptr[part.start], ptr[part.stop])
    member = cells[span]
    return group_sums(
        ptr[part.start : part.stop + 1] - ptr[part.start],
        member,
        cell_weight[member],
        expression.log.indptr,
        expression.log.indices,
        values,
        expression.n_genes,
    )


def _chunks(contrast: Contrast, row: int) -> list[slice]:
    step = max(1, _CHUNK_BYTES // (16 * max(row, 1)))
    return [slice(a, min(a + step, contrast.n_features)) for a in range(0, contrast.n_features, step)]
