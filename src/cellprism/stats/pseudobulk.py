"""Genes of a feature with the donor as the unit: cells of one donor are not independent of each other.

For each donor the mean expression of active less that of inactive cells (within bins of depth where depth is a
covariate) is one number a gene; donors' differences are tested against zero by a moderated paired t test. Donor
intercepts cancel in the difference and donor-by-feature slopes are part of its variance over donors, so both leave
the level of the test where it should be.
"""

from __future__ import annotations

import numpy as np

from cellprism.stats.contrast import Contrast
from cellprism.stats.expression import Expression
from cellprism.stats.genes import GeneResult, cell_sums, empty_statistics, log2_fold_change, split_by_stratum
from cellprism.stats.moderate import fit_prior, t_to_z
from cellprism.stats.parallel import for_chunks, nan_array

__all__ = ["MIN_DONORS", "donors_of_strata", "paired_pseudobulk"]

MIN_DONORS = 3
_MIN_CELLS = 3


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
    A gene's variance over donors is compared with what sampling of its cells alone would give; the ratio is what
    genes of a feature share, so the prior is fitted to these ratios (a prior on the variances themselves would be too
    small for abundant genes and too large for rare ones).
    """
    n_strata, n_genes = expression.sizes.size, expression.n_genes
    n_donors = int(donor_of.max()) + 1
    log = expression.log.data.astype(np.float64)
    moments = np.stack([log, log**2], axis=1)
    by_block = np.argsort(expression.strata, kind="stable")
    block_ptr = np.concatenate([[0], np.cumsum(expression.sizes)])
    total = cell_sums(expression, block_ptr, by_block, slice(0, n_strata), moments)
    ptr, cells = split_by_stratum(contrast.ptr, contrast.cells, expression.strata, n_strata)
    linear = np.repeat(expression.values[:, 1:], 2, axis=1)
    z = empty_statistics(contrast.n_features, n_genes)
    fold = nan_array(z.shape, np.float32)
    enough = np.zeros((contrast.n_features, n_donors), dtype=bool)
    belongs = (donor_of[None, :] == np.arange(n_donors)[:, None]).astype(float)

    def test(part: slice) -> None:
        groups = slice(part.start * n_strata, part.stop * n_strata)
        inside = cell_sums(expression, ptr, cells, groups, moments).reshape(-1, n_strata, 2, n_genes)
        pos, neg = contrast.positive[part].astype(np.float64), contrast.negative[part].astype(np.float64)
        enough[part] = (pos @ belongs.T >= _MIN_CELLS) & (neg @ belongs.T >= _MIN_CELLS)
        for i, f in enumerate(range(part.start, part.stop)):
            if enough[f].sum() >= MIN_DONORS:
                z[f] = _one_feature(inside[i], total - inside[i], pos[i], neg[i], belongs[enough[f]])
        linear_in = cell_sums(expression, contrast.ptr, contrast.cells, part, linear)[:, 1]
        fold[part] = log2_fold_change(linear_in, expression.linear_total - linear_in, pos, neg, pseudocount)

    for_chunks(test, contrast.n_features, max(1, 2**20 // (16 * n_strata * n_genes)))
    return GeneResult(z, z.astype(np.float32, copy=False), fold), enough.sum(axis=1)


def _one_feature(
    inside: np.ndarray, outside: np.ndarray, pos: np.ndarray, neg: np.ndarray, belongs: np.ndarray
) -> np.ndarray:
    """Z of one feature's genes from sums (strata, 2, genes) and the strata of each usable donor."""
    both = (pos > 0) & (neg > 0)
    n1, n2 = np.where(both, pos, 1.0)[:, None], np.where(both, neg, 1.0)[:, None]
    weight = np.where(both[:, None], n1 * n2 / (n1 + n2), 0.0)
    difference = inside[:, 0] / n1 - outside[:, 0] / n2
    sampling = np.zeros_like(difference)
    for sums, n in ((inside, n1), (outside, n2)):
        spread = np.maximum(sums[:, 1] - sums[:, 0] ** 2 / n, 0.0) / np.maximum(n - 1.0, 1.0)
        sampling += spread / n
    share = belongs @ weight  # of each donor
    per_donor = belongs @ (weight * difference) / np.maximum(share, 1e-12)
    noise = (belongs @ (weight**2 * sampling) / np.maximum(share, 1e-12) ** 2).mean(axis=0)
    k = per_donor.shape[0]
    variance = per_donor.var(axis=0, ddof=1)
    usable = noise > 0
    ratio = np.where(usable, variance / np.where(usable, noise, 1.0), np.nan)
    prior = fit_prior(ratio, k - 1.0)
    squeezed, df = prior.squeeze(np.nan_to_num(ratio), k - 1.0)
    se = np.sqrt(np.maximum(squeezed, 1e-12) * np.where(usable, noise, 1.0) / k)
    t = np.where(usable, per_donor.mean(axis=0) / se, 0.0)
    return t_to_z(t, df)
