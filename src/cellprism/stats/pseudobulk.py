"""Genes of a feature with the donor as the unit: cells of one donor are not independent of each other.

For each donor the mean expression of active less that of inactive cells (within bins of depth where depth is a
covariate) is one number a gene; donors' differences, weighted by their precision (:mod:`cellprism.stats.donors`), are
tested against zero by a moderated paired t test. Donor intercepts cancel in the difference and donor-by-feature slopes are part of its variance over donors, so both leave
the level of the test where it should be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cellprism.data.scratch import mapped
from cellprism.stats.contrast import Contrast
from cellprism.stats.donors import weigh_donors
from cellprism.stats.expression import Expression
from cellprism.stats.gene_blocks import row_arrays
from cellprism.stats.genes import GeneResult, cell_sums, empty_statistics, log2_fold_change, split_by_stratum
from cellprism.stats.moderate import fit_prior, skewed_tail, t_to_z
from cellprism.stats.parallel import for_chunks, nan_array
from cellprism.stats.units import FEWEST_A_SIDE, MIN_DONORS
from cellprism.stats.walks import power_sums

__all__ = ["donors_of_strata", "paired_pseudobulk"]

_EVEN, _FEWEST_EVEN = 0.3, 50
_PIECE = 2**22
_DOUBT = 2.0
"""Of a gene's own variance between donors, which a handful of donors does not tell (:func:`weigh_donors`)."""


def donors_of_strata(strata: np.ndarray, donor: np.ndarray, n_strata: int) -> np.ndarray:
    """(strata,) donor number of each stratum; strata must not cross donors."""
    out = np.full(n_strata, -1, dtype=np.int64)
    out[strata] = donor
    return out


def paired_pseudobulk(
    expression: Expression, contrast: Contrast, donor_of: np.ndarray, *, pseudocount: float = 0.1
) -> tuple[GeneResult, np.ndarray]:
    """Moderated paired t test over donors, for every feature and gene.

    Parameters
    ----------
    expression
        With one stratum a donor, or several (donor by depth bin).
    contrast
        Active against inactive cells in the same strata.
    donor_of
        (strata,) donor of each stratum.

    Returns
    -------
    result
        z of the moderated t (``calibrated`` is the same), fold change over all cells.
    n_donors
        (features,) donors with at least three active and three inactive cells; with fewer than three donors a
        feature's z is NaN.

    Notes
    -----
    A donor's difference is as precise as its cells on both sides and the variance between donors make it: a donor of 20
    cells cannot outvote one of 300. A gene's variance over donors, so weighted, is compared with what sampling of its cells alone would give; the ratio is what
    genes of a feature share, so the prior is fitted to these ratios (a prior on the variances themselves would be too
    small for abundant genes and too large for rare ones). Sampling variance and skewness are those under permuted cells,
    from all cells of a stratum: a rare gene that no active cell happens to express has no variance of its own there.
    ``calibrated`` takes the skewness into the tail as :func:`cellprism.stats.genes.rank_sum` does.

    Examples
    --------
    >>> from cellprism.stats.contrast import active_contrast
    >>> from cellprism.stats.expression import prepare_expression
    >>> from cellprism.stats.pseudobulk import paired_pseudobulk
    >>> ranked = prepare_expression(expression, strata=donors)
    >>> contrast = active_contrast(codes.tocsc(), ranked.strata, ranked.sizes)
    >>> found, n_donors = paired_pseudobulk(ranked, contrast, np.arange(3))
    >>> int(n_donors.max())
    3
    """
    n_strata, n_genes = expression.sizes.size, expression.n_genes
    n_donors = int(donor_of.max()) + 1
    log = expression.log.data
    values = (mapped if expression.on_disk else np.empty)((log.size, 2), np.float32)
    for start in range(0, log.size, _PIECE):
        part = slice(start, start + _PIECE)
        values[part, 0], values[part, 1] = log[part], expression.values[part, 1]
    powers = power_sums(*row_arrays(expression.log), log, expression.strata, (n_strata, n_genes), 3)
    total = powers[0]
    moments = _moments(total, powers[1:].swapaxes(0, 1), expression.sizes.astype(np.float64))
    ptr, cells = split_by_stratum(contrast.ptr, contrast.cells, expression.strata, n_strata)
    z = empty_statistics(contrast.n_features, n_genes)
    calibrated, fold = nan_array(z.shape, np.float32), nan_array(z.shape, np.float32)
    enough = np.zeros((contrast.n_features, n_donors), dtype=bool)
    belongs = (donor_of[None, :] == np.arange(n_donors)[:, None]).astype(float)

    def test(part: slice) -> None:
        groups = slice(part.start * n_strata, part.stop * n_strata)
        inside = cell_sums(expression, ptr, cells, groups, values).reshape(-1, n_strata, 2, n_genes)
        pos, neg = contrast.positive[part].astype(np.float64), contrast.negative[part].astype(np.float64)
        enough[part] = (pos @ belongs.T >= FEWEST_A_SIDE) & (neg @ belongs.T >= FEWEST_A_SIDE)
        for i, f in enumerate(range(part.start, part.stop)):
            if enough[f].sum() >= MIN_DONORS:
                z[f], calibrated[f] = _one_feature(inside[i, :, 0], total, moments, pos[i], neg[i], belongs[enough[f]])
        linear_in = inside[:, :, 1].sum(axis=1)
        fold[part] = log2_fold_change(linear_in, expression.linear_total - linear_in, pos, neg, pseudocount)

    for_chunks(test, contrast.n_features, max(1, 2**20 // (16 * n_strata * n_genes)))
    return GeneResult(z, calibrated, fold), enough.sum(axis=1)


class _Moments(NamedTuple):
    """Of all cells of each stratum, (strata, genes)."""

    variance: np.ndarray
    cube: np.ndarray
    """Sum of cubed deviations over n (n - 1) (n - 2)."""


def _moments(total: np.ndarray, powers: np.ndarray, sizes: np.ndarray) -> _Moments:
    n = sizes[:, None]
    mean = total / n
    second = powers[:, 0] - n * mean**2
    # what is left of a constant gene after subtraction is rounding, not variance
    second = np.where(second > 1e-12 * np.maximum(powers[:, 0], 1e-300), second, 0.0)
    third = np.where(second > 0.0, powers[:, 1] - 3.0 * mean * powers[:, 0] + 2.0 * n * mean**3, 0.0)
    triples = n * (n - 1.0) * (n - 2.0)
    return _Moments(second / np.maximum(n - 1.0, 1.0), third / np.where(triples > 0.0, triples, np.inf))


def _one_feature(
    inside: np.ndarray, total: np.ndarray, moments: _Moments, pos: np.ndarray, neg: np.ndarray, belongs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Z and calibrated z of one feature's genes from sums (strata, genes) and the strata of each usable donor."""
    both = (pos > 0) & (neg > 0)
    n1, n2 = np.where(both, pos, 1.0)[:, None], np.where(both, neg, 1.0)[:, None]
    weight = np.where(both[:, None], n1 * n2 / (n1 + n2), 0.0)
    difference = inside / n1 - (total - inside) / n2
    step = 1.0 / n1 + 1.0 / n2
    sampling = moments.variance * step
    third = n1 * n2 * (n2 - n1) * step**3 * moments.cube
    share = np.maximum(belongs @ weight, 1e-12)  # of each donor: its difference varies as 1 / share
    per_donor = belongs @ (weight * difference) / share
    of_donor = belongs @ (weight**2 * sampling) / share**2
    weighed = weigh_donors([per_donor], [share[:, 0]], _within(moments.variance, pos + neg, belongs), _DOUBT)
    (w,) = weighed.weights
    total_weight = w.sum(axis=0)
    # what the variance over donors would be by the sampling of cells alone
    noise = ((w - w**2 / total_weight) * of_donor).sum(axis=0) / weighed.df
    usable = noise > 0
    safe = np.where(usable, noise, 1.0)
    error = (w**2 * of_donor).sum(axis=0)
    third_moment = (w**3 * (belongs @ (weight**3 * third) / share**3)).sum(axis=0)
    skewness = np.where(usable, third_moment / np.where(usable, error, 1.0) ** 1.5, 0.0)
    ratio = np.where(usable, weighed.variance / safe, np.nan)
    # ratios of genes that few cells express are far from chi-square and would make the prior too vague for all others
    even = usable & (np.abs(skewness) < _EVEN)
    prior = fit_prior(ratio[even] if even.sum() >= _FEWEST_EVEN else ratio, weighed.df)
    squeezed, df = prior.squeeze(np.nan_to_num(ratio), weighed.df)
    mean = (w * per_donor).sum(axis=0) / total_weight
    t = np.where(usable, mean / np.sqrt(np.maximum(squeezed, 1e-12) * safe / total_weight), 0.0)
    z = t_to_z(t, df)
    return z, skewed_tail(z, skewness)


def _within(variance: np.ndarray, sizes: np.ndarray, belongs: np.ndarray) -> np.ndarray:
    """(genes,) variance of cells within the strata of the usable donors."""
    df = np.maximum(sizes - 1.0, 0.0) * (belongs.sum(axis=0) > 0)
    return np.asarray(df @ variance / max(float(df.sum()), 1.0))
