"""Where a feature's activation lies: its core cells, their labels, and whether its genes hold in them.

Genes and sets are tested on all active cells, of which many may be weakly active. The *core* of a feature is the fewest
of its strongest cells that hold half of its activation. It rests on the codes alone, so no threshold is fitted to a label:
precision and recall in it are not flattered by a choice.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.missing import groups
from cellprism.stats.expression import Expression
from cellprism.stats.gene_blocks import GeneBlock, gene_blocks, row_arrays
from cellprism.stats.kernels import njit
from cellprism.stats.parallel import for_chunks
from cellprism.stats.walks import list_sums, power_sums

__all__ = ["LabelLocation", "core_cells", "core_deviates", "label_location", "label_means", "lift"]

HALF = 0.5


class LabelLocation(NamedTuple):
    """Shares of a feature's activation and core in each category of a column; cells without a label are left out."""

    categories: NDArray[np.object_]
    prevalence: NDArray[np.float64]
    """(categories,) share of the labelled cells."""
    activation_share: NDArray[np.float64]
    """(features, categories) share of the activation; 0 for features without any."""
    core_precision: NDArray[np.float64]
    """(features, categories) share of the core cells."""
    core_recall: NDArray[np.float64]
    """(features, categories) share of the category's cells that are core cells."""
    active_recall: NDArray[np.float64]
    """(features, categories) share of the category's cells that are active."""


def lift(share: NDArray[np.float64], prevalence: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a share lies on the way from the prevalence (0) to 1."""
    out: NDArray[np.float64] = (share - prevalence) / np.maximum(1.0 - prevalence, 1e-9)
    return out


def core_cells(codes: sp.csc_array) -> sp.csc_array:
    """(cells, features) ones at the fewest strongest cells that hold half of each feature's activation.

    Cells as strong as the weakest of them belong to the core too, so that the order of cells does not matter.
    """
    keep = np.zeros(codes.nnz, dtype=bool)
    ptr = codes.indptr
    kept = np.zeros_like(ptr)
    for f in np.flatnonzero(np.diff(ptr)):
        values = codes.data[ptr[f] : ptr[f + 1]]
        down = np.sort(values)[::-1]
        total = np.cumsum(down, dtype=np.float64)
        weakest = down[np.searchsorted(total, HALF * total[-1] * (1 - 1e-12))]
        strong = values >= weakest
        keep[ptr[f] : ptr[f + 1]], kept[f + 1] = strong, strong.sum()
    ends = np.cumsum(kept, dtype=ptr.dtype)
    return sp.csc_array((np.ones(int(ends[-1]), dtype=np.float32), codes.indices[keep], ends), codes.shape)


def label_location(codes: sp.csc_array, core: sp.csc_array, labels: np.ndarray) -> LabelLocation:
    """Shares of every feature's activation and core in every category of one column."""
    found = groups(labels)
    sizes = found.sizes

    def by_feature(matrix: sp.csc_array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ptr = matrix.indptr.astype(np.int64, copy=False)
        counts, sums = list_sums(ptr, matrix.indices, matrix.data, found.number, found.names.size, 1)
        return counts, sums

    def share(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        total = counts.sum(axis=1, keepdims=True)
        return counts / np.where(total > 0, total, 1.0)

    in_core, _ = by_feature(core)
    active, activation = by_feature(codes)
    prevalence = sizes / max(sizes.sum(), 1)
    return LabelLocation(found.names, prevalence, share(activation), share(in_core), in_core / sizes, active / sizes)


def label_means(expression: Expression, labels: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean log expression in each category, less that in all other labelled cells; and as it is: (categories, genes)."""
    found = groups(labels)
    sizes, shape = found.sizes, (found.names.size, expression.n_genes)
    sums = power_sums(*row_arrays(expression.log), expression.log.data, found.number, shape, 1)[0]
    rest = np.maximum(sizes.sum() - sizes, 1)[:, None]
    means = sums / sizes[:, None]
    return means - (sums.sum(axis=0) - sums) / rest, means


def core_deviates(core: sp.csc_array, expression: Expression, genes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Welch's t of each feature's listed genes, core cells against all others.

    Parameters
    ----------
    genes
        (features, n) positions of genes; -1 where there is none.

    Returns
    -------
    (features, n); NaN where there is no gene, or nothing on one side.
    """
    out = np.full(genes.shape, np.nan)
    core_ptr, core_rows = core.indptr.astype(np.int64), core.indices

    for block in gene_blocks(expression.log, expression.expressed):
        here = np.where((genes >= block.genes.start) & (genes < block.genes.stop), genes - block.genes.start, -1)

        def measure(part: slice, block: GeneBlock = block, here: NDArray[np.int64] = here) -> None:
            _deviates(
                core_ptr[part.start : part.stop + 1], core_rows, here[part], block.ptr, block.cells, block.values,
                expression.n_cells, out[part],
            )  # fmt: skip

        for_chunks(measure, genes.shape[0], 256)
    return out


@njit
def _deviates(
    core_ptr: np.ndarray,
    core_rows: np.ndarray,
    genes: np.ndarray,
    ptr: np.ndarray,
    cells: np.ndarray,
    values: np.ndarray,
    n_cells: int,
    out: np.ndarray,
) -> None:
    inside = np.zeros(n_cells, dtype=np.bool_)
    for f in range(genes.shape[0]):
        start, stop = core_ptr[f], core_ptr[f + 1]
        n_in, n_out = stop - start, n_cells - (stop - start)
        if n_in == 0 or n_out < 2:
            continue
        for i in range(start, stop):
            inside[core_rows[i]] = True
        for j in range(genes.shape[1]):
            gene = genes[f, j]
            if gene < 0:
                continue
            sum_in, square_in, total, square = 0.0, 0.0, 0.0, 0.0
            for i in range(ptr[gene], ptr[gene + 1]):
                x = float(values[i])
                total += x
                square += x * x
                if inside[cells[i]]:
                    sum_in += x
                    square_in += x * x
            mean_in, mean_out = sum_in / n_in, (total - sum_in) / n_out
            variance = max(square_in / n_in - mean_in**2, 0.0) / max(n_in - 1, 1)
            variance += max((square - square_in) / n_out - mean_out**2, 0.0) / max(n_out - 1, 1)
            if variance > 0.0:
                out[f, j] = (mean_in - mean_out) / variance**0.5
            else:
                out[f, j] = 0.0
        for i in range(start, stop):
            inside[core_rows[i]] = False
