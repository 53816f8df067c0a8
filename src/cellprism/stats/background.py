"""Genes of like expression: what the genes of a set are held against.

An abundant gene reaches significance more easily than a rare one, whatever it does, and normalisation ties abundant
genes to each other. Held against all genes, a set of abundant genes would then pass for many features (Young et al.,
2010, Genome Biol. 11:R14, for over-representation). Genes are therefore binned by their mean expression, and both set
tests ask whether the genes of a set stand out among the genes of their bins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellprism.stats.kernels import set_sums
from cellprism.stats.setindex import SetIndex

__all__ = ["Background", "expression_bins", "match_background", "variance_within"]

_MOST_BINS, _FEWEST_GENES = 20, 100


@dataclass(frozen=True)
class Background:
    """Bins of background genes with like mean expression, and how each set spreads over them.

    Attributes
    ----------
    ptr, genes
        Genes of bin ``b`` are ``genes[ptr[b]:ptr[b + 1]]``, positions in the background of the sets.
    bin_of
        (background genes,) bin of each gene, the rarest genes in bin 0.
    profile
        (sets, bins) genes of each set in each bin.
    """

    ptr: np.ndarray
    genes: np.ndarray
    bin_of: np.ndarray
    profile: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """(bins,) number of genes."""
        return np.diff(self.ptr)


def expression_bins(mean_expression: np.ndarray) -> np.ndarray:
    """(genes,) bin of each gene: up to 20 bins of equal size, of at least 100 genes, by mean expression."""
    n = mean_expression.size
    n_bins = int(np.clip(n // _FEWEST_GENES, 1, _MOST_BINS))
    out = np.empty(n, dtype=np.int64)
    out[np.argsort(mean_expression, kind="stable")] = np.arange(n) * n_bins // max(n, 1)
    return out


def match_background(sets: SetIndex, mean_expression: np.ndarray | None = None) -> Background:
    """Bin the background genes of the sets.

    Parameters
    ----------
    mean_expression
        (background genes,) mean of each gene; without it all genes are in one bin.

    Examples
    --------
    >>> from cellprism.stats.background import match_background
    >>> from cellprism.stats.setindex import index_sets
    >>> index = index_sets(sets, genes, (expression > 0).sum(axis=0))
    >>> background = match_background(index, expression.mean(axis=0)[index.genes])
    >>> len(background.bin_of) == len(index.genes)
    True
    """
    n_genes = sets.genes.size
    bin_of = np.zeros(n_genes, dtype=np.int64) if mean_expression is None else expression_bins(mean_expression)
    sizes = np.bincount(bin_of)
    owner = np.repeat(np.arange(sets.sizes.size), sets.sizes)
    profile = np.zeros((sets.sizes.size, sizes.size), dtype=np.int64)
    np.add.at(profile, (owner, bin_of[sets.members]), 1)
    ptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Background(ptr, np.argsort(bin_of, kind="stable"), bin_of, profile)


def variance_within(z: np.ndarray, background: Background) -> np.ndarray:
    """(features,) variance of each row of ``z`` (features, background genes) over genes, after the bins' means."""
    sums = set_sums(z, background.ptr, background.genes)
    out: np.ndarray = ((z**2).sum(axis=1) - (sums**2 / background.sizes).sum(axis=1)) / z.shape[1]
    return out
