"""Expression made ready for tests: checked once, ranked once, and shared by all features and all nulls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp

from cellprism.data.beyond_memory import Gathering, on_disk, pieces
from cellprism.data.scratch import mapped
from cellprism.data.sparse import as_csr
from cellprism.errors import InputError
from cellprism.stats.gene_blocks import GeneBlock, gene_blocks, row_arrays
from cellprism.stats.kernels import rank_offsets
from cellprism.stats.parallel import for_chunks
from cellprism.stats.walks import dense_rows, power_sums

__all__ = ["ChosenRows", "Expression", "Rows", "column_order", "prepare_expression"]

_PIECE = 2**22

_LARGEST_LOG = 30.0  # e^30 is beyond any count: larger values were not logged


@runtime_checkable
class Rows(Protocol):
    """Expression that lies elsewhere and is read in order."""

    @property
    def shape(self) -> tuple[int, int]:
        """(cells, genes)."""

    def blocks(self) -> Iterator[sp.csr_array]:
        """Depth-normalised log1p values of some cells at a time: canonical CSR float32 without stored zeros."""


class ChosenRows:
    """Some of the cells of :class:`Rows`."""

    def __init__(self, rows: Rows, kept: np.ndarray) -> None:
        self._rows, self._kept = rows, kept

    @property
    def shape(self) -> tuple[int, int]:
        """(kept cells, genes)."""
        return int(self._kept.sum()), self._rows.shape[1]

    def blocks(self) -> Iterator[sp.csr_array]:
        """Those of the whole, without the other cells."""
        start = 0
        for block in self._rows.blocks():
            yield block[np.flatnonzero(self._kept[start : start + block.shape[0]])]
            start += block.shape[0]


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
    expressed
        (genes,) cells that express each gene.
    on_disk
        Whether ``log`` and ``values`` are mapped from files.
    """

    log: sp.csr_array
    values: np.ndarray
    zero_rank: np.ndarray
    ties: np.ndarray
    cubes: np.ndarray
    linear_total: np.ndarray
    strata: np.ndarray
    sizes: np.ndarray
    expressed: np.ndarray
    on_disk: bool = False

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.log.shape[0])

    @property
    def n_genes(self) -> int:
        """Number of genes."""
        return int(self.log.shape[1])

    @cached_property
    def log_moments(self) -> np.ndarray:
        """(2, genes) sums over cells of the values and of their squares."""
        ptr, columns = row_arrays(self.log)
        one = np.zeros(self.n_cells, dtype=np.int64)
        sums: np.ndarray = power_sums(ptr, columns, self.log.data, one, (1, self.n_genes), 2)[:, 0]
        return sums

    def standard_ranks(self, cells: np.ndarray, genes: np.ndarray) -> np.ndarray:
        """Ranks of some cells and genes, centred within strata and scaled to unit length over all cells.

        Sums of products of these columns over all cells are Spearman correlations (within strata); a constant gene
        gives zeros.
        """
        place = np.full(self.n_genes, -1, dtype=np.int64)
        place[genes] = np.arange(genes.size)
        shift = self.zero_rank[:, genes] - (self.sizes[:, None] + 1.0) / 2.0
        sizes = self.sizes[:, None].astype(np.float64)
        length = np.sqrt(((sizes**3 - sizes - self.ties[:, genes]) / 12.0).sum(axis=0))
        scale = np.where(length > 0, length, 1.0)
        dense: np.ndarray = dense_rows(
            cells, place, *row_arrays(self.log), self.values[:, 0], self.strata, shift, scale
        )
        return dense


def prepare_expression(expression: sp.sparray | np.ndarray | Rows, strata: np.ndarray | None = None) -> Expression:
    """Check log1p expression and rank every gene once.

    Parameters
    ----------
    expression
        (cells, genes) depth-normalised log1p values, sparse or dense, or :class:`Rows` of them: these are read once, in
        order, and with their ranks lie in files of the system's temporary folder from then on, never in memory. Ranks of a matrix
        that lies in such files already (:mod:`cellprism.data.beyond_memory`) lie there too.
    strata
        (cells,) labels; ranks are taken within each stratum (one stratum without them).

    Raises
    ------
    InputError
        For negative, non-finite or plainly unlogged values, and where the disk has no room.

    Examples
    --------
    >>> from cellprism.stats.expression import prepare_expression
    >>> ranked = prepare_expression(expression, strata=donors)
    >>> ranked.log.shape == expression.shape
    True
    """
    stored = isinstance(expression, Rows) or (sp.issparse(expression) and on_disk(expression))
    log = _on_disk(expression) if isinstance(expression, Rows) else _in_memory(expression)
    if strata is None:
        code, sizes = np.zeros(log.shape[0], dtype=np.int64), np.array([log.shape[0]])
    else:
        _, code, sizes = np.unique(np.asarray(strata).astype(str), return_inverse=True, return_counts=True)
    values = (mapped if stored else np.empty)((log.nnz, 2), np.float32)
    zero_rank, ties, cubes = (np.empty((sizes.size, log.shape[1])) for _ in range(3))
    linear_total, expressed = np.zeros(log.shape[1]), np.zeros(log.shape[1], dtype=np.int64)
    for start in range(0, log.nnz, _PIECE):
        part = slice(start, start + _PIECE)
        np.expm1(log.data[part], out=values[part, 1])
        expressed += np.bincount(log.indices[part], minlength=log.shape[1])
    for block in gene_blocks(log, expressed):
        offset, ptr = np.empty(block.values.size), block.ptr

        def rank(part: slice, block: GeneBlock = block, offset: np.ndarray = offset, ptr: np.ndarray = ptr) -> None:
            start, stop = ptr[part.start], ptr[part.stop]
            starts = ptr[part.start : part.stop + 1] - start
            order = column_order(starts, block.values[start:stop])
            here = slice(block.genes.start + part.start, block.genes.start + part.stop)
            rank_offsets(
                starts, block.cells[start:stop], block.values[start:stop], order, code, sizes, offset[start:stop],
                zero_rank[:, here], ties[:, here], cubes[:, here],
            )  # fmt: skip
            owner = np.repeat(np.arange(starts.size - 1), np.diff(starts))
            linear = values[block.positions[start:stop], 1]
            linear_total[here] = np.bincount(owner, weights=linear, minlength=starts.size - 1)

        for_chunks(rank, ptr.size - 1, 128)
        values[block.positions, 0] = offset
        del block, offset, ptr, rank  # before the next one is made
    return Expression(log, values, zero_rank, ties, cubes, linear_total, code, sizes, expressed, stored)


def _in_memory(expression: sp.sparray | np.ndarray) -> sp.csr_array:
    log = as_csr(expression)
    for part in pieces(log.data.size):
        _check(log.data[part])
    return log


def _on_disk(rows: Rows) -> sp.csr_array:
    with Gathering(rows.shape[1], 0) as gathered:
        for block in rows.blocks():
            _check(block.data)
            gathered.add(block)
        log = gathered.matrix()
    if log.shape != rows.shape:
        raise InputError(
            "expression has the rows that it says", f"{log.shape[0]:,} of {rows.shape[0]:,}", "write it again"
        )
    return log


def column_order(ptr: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Positions that sort each sparse column's values upwards."""
    order = np.empty(values.size, dtype=np.int64)
    for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        order[start:stop] = np.argsort(values[start:stop]) + start
    return order


def _check(data: np.ndarray) -> None:
    if not np.isfinite(data).all():
        raise InputError(
            "expression must be finite",
            f"{int((~np.isfinite(data)).sum())} NaN or infinite values",
            "remove or impute them before the tests",
        )
    if data.size and data.min() < 0:
        raise InputError(
            "expression must be non-negative log1p values",
            f"{int((data < 0).sum())} negative values, the smallest {data.min():g}",
            "give the values before scaling or centring (often in adata.raw or a layer)",
        )
    if data.size and data.max() > _LARGEST_LOG:
        raise InputError(
            "expression must be on the log1p scale",
            f"a largest value of {data.max():g}",
            "normalise by depth and apply log1p first",
        )
