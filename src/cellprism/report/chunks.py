"""The evidence of each feature and each gene in blocks that are read when it is chosen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellprism.report.alike import Neighbours
from cellprism.report.columns import minus_log10
from cellprism.report.deciles import decile_means
from cellprism.report.evidence import Evidence
from cellprism.report.levels import level_columns
from cellprism.report.pack import Quantised, pack, smallest
from cellprism.report.source import Source

__all__ = ["feature_chunk", "gene_chunks"]

FEATURES_A_GENE: Final = 60
GENE_CHUNK_ROWS: Final = 30_000
EXPRESSION_VALUES: Final = 4_000_000  # a page holds the expression of single cells up to this many non-zero values


def feature_chunk(
    source: Source, evidence: Evidence, near: Neighbours | None, together: Neighbours, start: int, stop: int
) -> bytes:
    """Evidence of the features in rows `start` to `stop` of the feature table."""
    arrays: dict[str, Any] = level_columns(source.codes, start, stop)

    rows, arrays["gene_ptr"] = _cut(evidence.gene_ptr, start, stop)
    genes = evidence.gene_table.iloc[rows]
    arrays["gene"] = smallest(genes["id"].to_numpy())
    arrays["gene_fc"] = Quantised(genes["log2fc"], finest=0.002)
    arrays["gene_z"] = Quantised(genes["statistic"], finest=0.01)
    arrays["gene_mlp"] = Quantised(genes["mlp"], finest=0.01)
    arrays["gene_mlq"] = Quantised(genes["mlq"], finest=0.01)

    rows, arrays["set_ptr"] = _cut(evidence.set_ptr, start, stop)
    sets = evidence.set_table.iloc[rows]
    arrays["set"] = smallest(sets["id"].to_numpy())
    if (sets["under"] >= 0).any():
        arrays["set_under"] = sets["under"].to_numpy(dtype=np.int32)
    arrays["set_up"] = sets["up"].to_numpy().astype(np.uint8)
    for name in ("n_measured", "n_hits"):
        arrays[f"set_{name}"] = smallest(sets[name].fillna(0).to_numpy(dtype=np.int64))
    arrays["set_effect"] = Quantised(sets["effect"], finest=0.001)
    arrays["set_mlq_rank"] = Quantised(sets["mlq_rank"], finest=0.01)
    arrays["set_mlq_ora"] = Quantised(sets["mlq_ora"], finest=0.01)

    rows, arrays["label_ptr"] = _cut(evidence.label_ptr, start, stop)
    labels = evidence.label_table.iloc[rows]
    arrays["label"] = smallest(labels["id"].to_numpy())
    for name in ("auroc", "f1", "precision", "recall"):
        arrays[f"label_{name}"] = Quantised(labels[name], finest=0.001)
    arrays["label_mlq"] = Quantised(minus_log10(labels["qval"]), finest=0.01)

    if len(evidence.match_table):
        rows, arrays["match_ptr"] = _cut(evidence.match_ptr, start, stop)
        matches = evidence.match_table.iloc[rows]
        arrays["match_seed"] = smallest(matches["seed"].to_numpy())
        for name in ("partner", "best"):
            arrays[f"match_{name}"] = matches[name].to_numpy(dtype=np.int32)
        for name, column in (("r", "correlation"), ("cosine", "cosine"), ("best_r", "best_correlation")):
            arrays[f"match_{name}"] = Quantised(matches[column], finest=0.001)

    for name, neighbours in (("near", near), ("together", together)):
        if neighbours is not None:
            arrays[name] = neighbours.ids[start:stop].ravel()
            arrays[f"{name}_cosine"] = Quantised(neighbours.cosine[start:stop].ravel(), finest=0.001)
    arrays |= decile_means(source, evidence, start, stop)
    return pack(arrays)


def _cut(ptr: NDArray[np.int64], start: int, stop: int) -> tuple[slice, NDArray[np.uint32]]:
    """Rows of the features from `start` to `stop`, and where each begins among them."""
    return slice(int(ptr[start]), int(ptr[stop])), (ptr[start : stop + 1] - ptr[start]).astype(np.uint32)


def gene_chunks(source: Source, evidence: Evidence) -> tuple[list[int], dict[str, bytes]]:
    """The strongest features of each gene, and its expression where that is small enough.

    Returns
    -------
    Bounds of gene ids, and a block for each stretch between them.
    """
    n = len(evidence.genes)
    table = evidence.gene_table.sort_values(["id", "strength"], ascending=[True, False], kind="stable")
    table = table.iloc[np.flatnonzero(table.groupby("id").cumcount().to_numpy() < FEATURES_A_GENE)]
    ptr = np.searchsorted(table["id"].to_numpy(), np.arange(n + 1))
    expression = _expression(source, evidence)
    weight = ptr if expression is None else ptr + expression.indptr
    bounds = [0]
    while bounds[-1] < n:
        target = int(weight[bounds[-1]]) + GENE_CHUNK_ROWS
        bounds.append(min(n, max(bounds[-1] + 1, int(np.searchsorted(weight, target, side="right")) - 1)))
    blocks = {}
    for i, (start, stop) in enumerate(pairwise(bounds)):
        rows = table.iloc[int(ptr[start]) : int(ptr[stop])]
        arrays: dict[str, Any] = {
            "ptr": (ptr[start : stop + 1] - ptr[start]).astype(np.uint32),
            "row": smallest(rows["row"].to_numpy()),
            "fc": Quantised(rows["log2fc"], finest=0.002),
            "z": Quantised(rows["statistic"], finest=0.01),
            "mlq": Quantised(rows["mlq"], finest=0.01),
        }
        if expression is not None:
            arrays |= level_columns(expression, start, stop)
            arrays["max"] = np.asarray(expression[:, start:stop].max(axis=0).todense(), dtype=np.float32).ravel()
        blocks[f"gene-{i}"] = pack(arrays)
    return bounds, blocks


def _expression(source: Source, evidence: Evidence) -> sparse.csc_array | None:
    """(cells, genes of the page), or None where unknown or too large."""
    if source.expression is None or source.expression.nnz > EXPRESSION_VALUES:
        return None
    place = {gene: i for i, gene in enumerate(source.expression_genes)}
    columns = np.array([place.get(gene, -1) for gene in evidence.genes], dtype=np.int64)
    padded = sparse.hstack([source.expression, sparse.csr_array((source.n_cells, 1), dtype=np.float32)], format="csc")
    return sparse.csc_array(padded[:, columns])  # -1: the empty column, for a gene of another modality
