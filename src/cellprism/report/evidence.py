"""The rows of a run's tables by feature, the strongest first, names pooled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.report.columns import minus_log10, minus_log10_p, pool, pool_pairs, text
from cellprism.report.source import Source

__all__ = ["Evidence", "gather"]

LABEL_ROWS: Final = 80
MATCH_COLUMNS: Final = ("feature", "seed", "partner", "correlation", "cosine", "best", "best_correlation")


@dataclass(frozen=True)
class Evidence:
    """Rows of all features, sorted by feature (as its row in the feature table), the strongest first.

    `genes`, `symbols`, `sets` and `label_pairs` are what the id columns of the tables point into; `*_ptr` cut the
    tables by feature.
    """

    gene_table: pd.DataFrame
    set_table: pd.DataFrame
    label_table: pd.DataFrame
    match_table: pd.DataFrame
    gene_ptr: NDArray[np.int64]
    set_ptr: NDArray[np.int64]
    label_ptr: NDArray[np.int64]
    match_ptr: NDArray[np.int64]
    genes: list[str]
    symbols: list[str]
    modality: NDArray[np.int64]
    modalities: list[str]
    sets: list[str]
    label_pairs: list[list[str]]
    code_counts: NDArray[np.int64]
    rows_kept: int
    rows_cut: bool

    def bytes_per_feature(self) -> NDArray[np.int64]:
        """Rough size of each feature's evidence before compression."""
        rows = 12 * np.diff(self.gene_ptr) + 14 * np.diff(self.set_ptr) + 14 * np.diff(self.label_ptr)
        rows = rows + 15 * np.diff(self.match_ptr)
        return np.asarray(rows + 3 * self.code_counts + 300, dtype=np.int64)

    def set_profile(self) -> NDArray[np.float32] | None:
        """Signed -log10 q by gene set, reduced to 30 components: (features, <= 30); ``None`` with too few sets."""
        n, table = len(self.set_ptr) - 1, self.set_table
        if len(self.sets) < 3 or n < 3 or table.empty:
            return None
        weight = np.nan_to_num(np.minimum(table["mlq_rank"].to_numpy(), 20.0)) * np.where(table["up"], 1.0, -1.0)
        matrix = sparse.csr_array(
            (weight, (table["row"].to_numpy(), table["id"].to_numpy())), shape=(n, len(self.sets))
        )
        k = min(30, min(matrix.shape) - 1)
        if matrix.nnz == 0 or k < 1:
            return None
        from cellprism.stats.decompositions import leading_axes

        return np.asarray(leading_axes(matrix, k, 0)[0], dtype=np.float32)


def gather(source: Source, gene_rows: int, set_rows: int = 60) -> Evidence:
    """Sort and thin the tables of a run; at most `gene_rows` genes and `set_rows` gene sets a feature."""
    row_of = pd.Series(np.arange(source.n_features), index=source.features["feature"].to_numpy())
    genes = _rows(source.genes, row_of)
    genes["strength"] = genes["statistic"].abs().fillna(0.0)
    sorted_genes = _strongest(genes, "strength", gene_rows)
    gene_names, symbols = text(sorted_genes["gene"]), text(sorted_genes["symbol"])
    modalities = text(sorted_genes["modality"]) if "modality" in sorted_genes else [""] * len(sorted_genes)
    ids, distinct = pool_pairs(gene_names, modalities)
    sorted_genes["id"] = ids
    first = np.unique(ids, return_index=True)[1]
    modality, modality_names = pool([modalities[i] for i in first])
    sorted_genes["mlp"] = minus_log10_p(sorted_genes)
    sorted_genes["mlq"] = minus_log10(sorted_genes["qval"])

    sets = _rows(source.sets, row_of)
    sets["mlq_rank"], sets["mlq_ora"] = minus_log10(sets["qval_rank"]), minus_log10(sets["qval_ora"])
    sets["up"] = sets["direction"].astype(str) == "up"
    # A finding has a row a direction; the rank test stands on the row of its sign, so the other says nothing new
    # unless its over-representation does.
    sets = sets[sets["mlq_rank"].notna() | (sets["mlq_ora"] > -np.log10(0.05))].copy()
    sets["strength"] = np.fmax(sets["mlq_rank"], sets["mlq_ora"]).fillna(0.0)
    sets = _strongest(sets, "strength", set_rows)
    sets["id"], set_names = pool(text(sets["set"]))
    sets["under"] = _under(sets, set_names)

    labels = _rows(source.labels, row_of)
    labels = labels[labels["auroc"].notna()].copy()  # a number column has a correlation and no detector
    labels["strength"] = labels["auroc"]
    labels = _strongest(labels, "strength", LABEL_ROWS)
    labels["id"], pairs = pool_pairs(text(labels["column"]), text(labels["value"]))

    matches = source.matches
    if matches is None:
        matches = pd.DataFrame({c: [] for c in MATCH_COLUMNS})
    matches = _rows(matches, row_of).sort_values(["row", "seed"], kind="stable", ignore_index=True)
    n = source.n_features
    return Evidence(
        gene_table=sorted_genes,
        set_table=sets,
        label_table=labels,
        match_table=matches,
        gene_ptr=_pointers(sorted_genes, n),
        set_ptr=_pointers(sets, n),
        label_ptr=_pointers(labels, n),
        match_ptr=_pointers(matches, n),
        genes=[gene for gene, _ in distinct],
        symbols=[symbols[i] for i in first],
        modality=modality,
        modalities=modality_names,
        sets=set_names,
        label_pairs=pairs,
        code_counts=np.diff(source.codes.indptr).astype(np.int64),
        rows_kept=gene_rows,
        rows_cut=len(sorted_genes) < len(genes),
    )


def _under(sets: pd.DataFrame, names: list[str]) -> NDArray[np.int64]:
    """Id of the better set that says the same of the feature; -1 where there is none."""
    if "redundant_with" not in sets:
        return np.full(len(sets), -1, dtype=np.int64)
    place = pd.Series(np.arange(len(names)), index=names)
    return place.reindex(text(sets["redundant_with"])).fillna(-1).to_numpy(dtype=np.int64)


def _rows(table: pd.DataFrame, row_of: pd.Series[Any]) -> pd.DataFrame:
    """Rows of listed features, with the place of the feature in the feature table."""
    rows = row_of.reindex(table["feature"].to_numpy()).to_numpy(dtype=np.float64)
    kept: pd.DataFrame = table[~np.isnan(rows)].copy()
    kept["row"] = rows[~np.isnan(rows)].astype(np.int64)
    return kept


def _strongest(table: pd.DataFrame, by: str, limit: int) -> pd.DataFrame:
    table = table.sort_values(["row", by], ascending=[True, False], kind="stable")
    rank = table.groupby("row").cumcount().to_numpy()
    return table.iloc[np.flatnonzero(rank < limit)].reset_index(drop=True)


def _pointers(table: pd.DataFrame, n: int) -> NDArray[np.int64]:
    return np.searchsorted(table["row"].to_numpy(), np.arange(n + 1)).astype(np.int64)
