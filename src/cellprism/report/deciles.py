"""Mean expression of a feature's leading genes over inactive cells and deciles of activation."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from scipy import sparse

from cellprism.features.direction import direction
from cellprism.report.evidence import Evidence
from cellprism.report.pack import Quantised, smallest
from cellprism.report.source import Source

__all__ = ["BINS", "decile_means"]

BINS: Final = 10
GENES: Final = 12


def decile_means(source: Source, evidence: Evidence, start: int, stop: int) -> dict[str, Any]:
    """Columns of a feature block.

    Returns
    -------
    ``heat_ptr`` (features + 1) and ``heat_gene``: up to twelve genes higher in active cells, the strongest first;
    ``heat``: eleven means a gene (inactive cells, then deciles of the active ones from the weakest), NaN for a decile
    without a cell. Empty without expression.
    """
    if source.expression is None:
        return {}
    place = {gene: i for i, gene in enumerate(source.expression_genes)}
    column_of = np.array([place.get(gene, -1) for gene in evidence.genes], dtype=np.int64)
    table = evidence.gene_table
    leading = []
    for row in range(start, stop):
        mine = table.iloc[int(evidence.gene_ptr[row]) : int(evidence.gene_ptr[row + 1])]
        ids = mine["id"].to_numpy()[direction(mine["statistic"], mine["log2fc"]) > 0]
        leading.append(ids[column_of[ids] >= 0][:GENES])
    genes = np.unique(np.concatenate(leading)).astype(np.int64)
    X = source.expression[:, column_of[genes]]
    total = np.asarray(X.sum(axis=0)).ravel()
    weights, sizes = _bins(source, start, stop)
    sums = np.asarray((weights @ X).todense()).reshape(stop - start, BINS, len(genes))
    heat = []
    for i, ids in enumerate(leading):
        at = np.searchsorted(genes, ids)
        active = sums[i][:, at]
        n_inactive = source.n_cells - sizes[i].sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            inactive = (total[at] - active.sum(axis=0)) / n_inactive
            heat.append(np.vstack([inactive[None], active / sizes[i][:, None]]).T.ravel())
    return {
        "heat_ptr": np.cumsum([0, *map(len, leading)]).astype(np.uint32),
        "heat_gene": smallest(np.concatenate(leading)),
        "heat": Quantised(np.concatenate(heat), finest=0.002),
    }


def _bins(source: Source, start: int, stop: int) -> tuple[sparse.csr_array, Any]:
    """(features * BINS, cells) membership of active cells, and (features, BINS) their numbers."""
    codes = source.codes
    rows, columns = [], []
    sizes = np.zeros((stop - start, BINS))
    for i in range(stop - start):
        inside = slice(int(codes.indptr[start + i]), int(codes.indptr[start + i + 1]))
        cells, values = codes.indices[inside], codes.data[inside]
        rank = np.empty(len(cells), dtype=np.int64)
        rank[np.argsort(values, kind="stable")] = np.arange(len(cells))
        group = rank * BINS // max(len(cells), 1)
        sizes[i] = np.bincount(group, minlength=BINS)
        rows.append(i * BINS + group)
        columns.append(cells)
    row, column = np.concatenate(rows), np.concatenate(columns)
    shape = ((stop - start) * BINS, source.n_cells)
    return sparse.csr_array((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape), sizes
