"""Expression turned block by block of genes, so that no second copy of the matrix is made to see a gene's cells together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from cellprism.stats.walks import take_columns

__all__ = ["GeneBlock", "gene_blocks", "row_arrays"]

_ENTRIES = 2**22
"""Stored values of a block: 64 MiB of them with their cells and places. A gene of more cells is a block of its own."""


class GeneBlock(NamedTuple):
    """Some genes next to each other, compressed by gene, cells in order."""

    genes: slice
    ptr: np.ndarray
    """(genes + 1,)."""
    cells: np.ndarray
    values: np.ndarray
    positions: np.ndarray
    """Where each value lies in the matrix."""


def gene_blocks(log: sp.csr_array, expressed: np.ndarray) -> Iterator[GeneBlock]:
    """All genes in order, as many at a time as hold about four million values.

    Parameters
    ----------
    log
        (cells, genes) CSR with sorted columns.
    expressed
        (genes,) stored values of each gene.
    """
    ptr, columns = row_arrays(log)
    at = ptr[:-1].copy()
    first = 0
    while first < log.shape[1]:
        reach = np.cumsum(expressed[first:])
        last = first + max(1, int(np.searchsorted(reach, _ENTRIES, side="right")))
        starts = np.concatenate([[0], reach[: last - first]]).astype(np.int64)
        n = int(starts[-1])
        cells, values, positions = np.empty(n, np.int32), np.empty(n, np.float32), np.empty(n, np.int64)
        take_columns(first, last, ptr, columns, log.data, at, starts[:-1].copy(), cells, values, positions)
        yield GeneBlock(slice(first, last), starts, cells, values, positions)
        first = last


def row_arrays(log: sp.csr_array) -> tuple[np.ndarray, np.ndarray]:
    """Row pointers and columns in one integer width, so that compiled loops are compiled once; columns are no copy."""
    columns = log.indices.view(np.uint32) if log.indices.dtype == np.int32 else log.indices.astype(np.uint32)
    return log.indptr.astype(np.int64, copy=False), columns
