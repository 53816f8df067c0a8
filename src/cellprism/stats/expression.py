"""Expression made ready for tests: checked once, ranked once, and shared by all features and all nulls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from cellprism.errors import InputError
from cellprism.stats.kernels import rank_offsets

__all__ = ["Expression", "prepare_expression"]

_LARGEST_LOG = 30.0  # e^30 is beyond any count: larger values were not logged


@dataclass(frozen=True)
class Expression:
    """Log-normalised expression with what every contrast needs of it.

    Attributes
    ----------
    log
        (cells, genes) CSR of log1p values, zeros not stored.
    values
        (stored values, 2): rank within gene and stratum less the rank that zeros share; expm1 of the value.
    zero_rank, ties, cubes
        (strata, genes): the rank that zeros share; the sum of t^3 - t over groups of equal values; the sum of cubed
        deviations of ranks from their mean.
    linear_total
        (genes,): sum over cells of expm1 of the values.
    strata, sizes
        The stratum of each cell, and the number of cells in each stratum.
    """

    log: sp.csr_array
    values: np.ndarray
    zero_rank: np.ndarray
    ties: np.ndarray
    cubes: np.ndarray
    linear_total: np.ndarray
    strata: np.ndarray
    sizes: np.ndarray

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.log.shape[0])

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.log.shape[1])

    def standard_ranks(self, genes: np.ndarray) -> np.ndarray:
        """Ranks within strata of some genes, centred within strata, each column of unit length: (cells, genes).

        Constant genes give a column of zeros. Correlations between these columns are Spearman's.
        """
        column = self.log[:, genes].tocsr()
        lookup = sp.csr_array((self.values[:, 0].astype(np.float64), self.log.indices, self.log.indptr), self.log.shape)
        dense = lookup[:, genes].toarray()
        if column.nnz:
            dense += self.zero_rank[:, genes][self.strata]
            dense -= ((self.sizes + 1.0) / 2.0)[self.strata][:, None]
        length = np.sqrt((dense**2).sum(axis=0))
        out: np.ndarray = dense / np.where(length > 0, length, 1.0)
        return out


def prepare_expression(expression: sp.sparray | np.ndarray, strata: np.ndarray | None = None) -> Expression:
    """Check log1p expression and rank every gene once.

    Parameters
    ----------
    expression
        (cells, genes) depth-normalised log1p values, sparse or dense.
    strata
        (cells,) labels; ranks are taken within each stratum (one stratum without them).

    Raises
    ------
    InputError
        For negative, non-finite or plainly unlogged values.
    """
    log = sp.csr_array(expression, dtype=np.float32, copy=True)
    log.sum_duplicates()
    log.eliminate_zeros()
    _check(log)
    if strata is None:
        code, sizes = np.zeros(log.shape[0], dtype=np.int64), np.array([log.shape[0]])
    else:
        _, code, sizes = np.unique(np.asarray(strata).astype(str), return_inverse=True, return_counts=True)
    # positions ride through the transpose so that ranks can be put back in row order
    position = sp.csr_array((np.arange(log.nnz, dtype=np.int64), log.indices, log.indptr), log.shape).tocsc()
    by_gene = position.data
    offset, zero_rank, ties, cubes = rank_offsets(position.indptr, position.indices, log.data[by_gene], code, sizes)
    values = np.empty((log.nnz, 2), dtype=np.float32)
    values[by_gene, 0] = offset
    np.expm1(log.data, out=values[:, 1])
    linear_total = np.bincount(log.indices, weights=values[:, 1], minlength=log.shape[1])
    return Expression(log, values, zero_rank, ties, cubes, linear_total, code, sizes)


def _check(log: sp.csr_array) -> None:
    if not np.isfinite(log.data).all():
        raise InputError(
            "expression must be finite",
            f"{int((~np.isfinite(log.data)).sum())} NaN or infinite values",
            "remove or impute them before the tests",
        )
    if log.nnz and log.data.min() < 0:
        raise InputError(
            "expression must be non-negative log1p values",
            f"{int((log.data < 0).sum())} negative values, the smallest {log.data.min():g}",
            "give the values before scaling or centring (often in adata.raw or a layer)",
        )
    if log.nnz and log.data.max() > _LARGEST_LOG:
        raise InputError(
            "expression must be on the log1p scale",
            f"a largest value of {log.data.max():g}",
            "normalise by depth and apply log1p first",
        )
