"""Expression made ready for tests: checked once, ranked once, and shared by all features and all nulls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.stats.kernels import rank_offsets
from cellprism.stats.parallel import for_chunks

__all__ = ["Expression", "column_order", "prepare_expression"]

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

    def standard_ranks(self, cells: np.ndarray, genes: np.ndarray) -> np.ndarray:
        """Ranks of some cells and genes, centred within strata and scaled to unit length over all cells.

        Sums of products of these columns over all cells are Spearman correlations (within strata); a constant gene
        gives zeros.
        """
        ranks = sp.csr_array((self.values[:, 0], self.log.indices, self.log.indptr), self.log.shape)
        dense: np.ndarray = ranks[cells][:, genes].toarray().astype(np.float64)
        centre = (self.sizes[:, None] + 1.0) / 2.0
        dense += (self.zero_rank[:, genes] - centre)[self.strata[cells]]
        sizes = self.sizes[:, None].astype(np.float64)
        length = np.sqrt(((sizes**3 - sizes - self.ties[:, genes]) / 12.0).sum(axis=0))
        dense /= np.where(length > 0, length, 1.0)
        return dense


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
    log = as_csr(expression)
    _check(log)
    if strata is None:
        code, sizes = np.zeros(log.shape[0], dtype=np.int64), np.array([log.shape[0]])
    else:
        _, code, sizes = np.unique(np.asarray(strata).astype(str), return_inverse=True, return_counts=True)
    # positions ride through the transpose so that ranks can be put back in row order
    position = sp.csr_array((np.arange(log.nnz, dtype=np.int64), log.indices, log.indptr), log.shape).tocsc()
    by_gene = position.data
    ptr, cells, sorted_values = position.indptr.astype(np.int64), position.indices, log.data[by_gene]
    offset = np.empty(log.nnz)
    zero_rank, ties, cubes = (np.empty((sizes.size, log.shape[1])) for _ in range(3))

    def rank(part: slice) -> None:
        start, stop = ptr[part.start], ptr[part.stop]
        order = column_order(ptr[part.start : part.stop + 1] - start, sorted_values[start:stop])
        rank_offsets(
            ptr[part.start : part.stop + 1] - start,
            cells[start:stop],
            sorted_values[start:stop],
            order,
            code,
            sizes,
            offset[start:stop],
            zero_rank[:, part],
            ties[:, part],
            cubes[:, part],
        )

    for_chunks(rank, log.shape[1], 128)
    values = np.empty((log.nnz, 2), dtype=np.float32)
    values[by_gene, 0] = offset
    np.expm1(log.data, out=values[:, 1])
    linear_total = np.bincount(log.indices, weights=values[:, 1], minlength=log.shape[1])
    return Expression(log, values, zero_rank, ties, cubes, linear_total, code, sizes)


def column_order(ptr: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Positions that sort each sparse column's values upwards."""
    order = np.empty(values.size, dtype=np.int64)
    for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        order[start:stop] = np.argsort(values[start:stop]) + start
    return order


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
