"""The tables of an annotation, built from the arrays of the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellprism.features.evidence import SetEvidence
from cellprism.stats.fdr import q_from_p, q_from_z, two_sided_log_p
from cellprism.stats.genes import GeneResult
from cellprism.stats.setindex import SetIndex

__all__ = ["KEEP_TOP", "gene_table", "keep_pairs", "label_table", "set_table"]

KEEP_TOP = 100
_NO_TABLE = np.empty(0, dtype=np.int64)
_SET_COLUMNS = {
    "feature": "int32", "set": "object", "direction": "object", "n_measured": "int32", "n_hits": "int32",
    "effect": "float64", "pval_rank": "float64", "qval_rank": "float64", "pval_ora": "float64", "qval_ora": "float64",
    "qval": "float64",
}  # fmt: skip


def keep_pairs(score: np.ndarray, passes: np.ndarray | None, keep: str, top: int = KEEP_TOP) -> np.ndarray:
    """Flat positions of (feature, item) pairs that a table keeps, features in order, best score first.

    Parameters
    ----------
    score
        (features, items), larger is better; NaN rows are left out.
    passes
        The same shape: pairs kept whatever their rank.
    keep
        "significant": what passes, and the ``top`` best of each feature; "all": every pair.
    """
    n_features, n_items = score.shape
    if n_items == 0 or n_features == 0:
        return _NO_TABLE
    tested = ~np.isnan(score[:, 0])
    if keep == "all" or n_items <= top:
        chosen = np.broadcast_to(tested[:, None], score.shape)
    else:
        chosen = np.zeros(score.shape, dtype=bool)
        best = np.argpartition(-score[tested], top - 1, axis=1)[:, :top]
        chosen[np.flatnonzero(tested)[:, None], best] = True
        if passes is not None:
            chosen |= passes
    flat = np.flatnonzero(chosen)
    order = np.lexsort((-score.ravel()[flat], flat // n_items))
    kept: np.ndarray = flat[order]
    return kept


def gene_table(
    result: GeneResult, features: np.ndarray, genes: pd.DataFrame, critical: float, keep: str
) -> pd.DataFrame:
    """Rows of ``genes.parquet``: what passes its q value plus the strongest of each feature.

    Parameters
    ----------
    genes
        Columns ``gene``, ``symbol``, ``modality``, one row a gene of the expression matrix.
    critical
        The calibrated |z| at which the q value reaches the stated level.
    """
    size = np.abs(result.calibrated)
    flat = keep_pairs(size, size >= critical, keep)
    row, gene = np.divmod(flat, max(result.z.shape[1], 1))
    z = result.z.ravel()[flat]
    log_p = two_sided_log_p(z)
    columns: dict[str, Any] = {"feature": features[row].astype(np.int32)}
    for name in ("gene", "symbol", "modality"):
        columns[name] = pd.Categorical(genes[name])[gene]
    columns["log2fc"] = result.log2fc.ravel()[flat].astype(np.float64)
    columns["statistic"], columns["logpval"] = z, log_p
    columns["pval"] = np.exp(log_p)
    tail = result.calibrated.ravel()[flat]
    columns["qval"] = q_from_z(result.calibrated, flat) if flat.size else z
    columns["pval_calibrated"] = np.exp(two_sided_log_p(tail))
    return pd.DataFrame(columns)


def set_table(
    sets: SetIndex | None, features: np.ndarray, found: SetEvidence | None, level: float, keep: str
) -> pd.DataFrame:
    """Rows of ``sets.parquet``: an up and a down row for every (feature, set) that is kept."""
    if sets is None or found is None:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _SET_COLUMNS.items()})
    n_sets = sets.names.size
    q_both = q_from_p(found.combined, np.arange(found.combined.size)).reshape(found.combined.shape)
    best = found.combined.min(axis=1)
    score = -np.log(np.maximum(best, 1e-300)) + 1e-6 * np.abs(found.z)
    flat = keep_pairs(score, q_both.min(axis=1) <= level, keep)
    row, item = np.divmod(flat, n_sets)
    up = (row * 2) * n_sets + item
    position = np.stack([up, up + n_sets], axis=1).ravel()  # an up row, then a down row
    stat = found.z.ravel()[flat]
    mine = np.stack([stat >= 0, stat < 0], axis=1).ravel()
    twice = np.repeat(np.arange(flat.size), 2)
    q_rank = q_from_z(found.z, flat) if flat.size else stat
    item = item[twice]
    return pd.DataFrame(
        {
            "feature": features[row[twice]].astype(np.int32),
            "set": pd.Categorical.from_codes(item, categories=pd.Index(sets.names)),
            "direction": pd.Categorical.from_codes(np.tile([0, 1], flat.size), categories=pd.Index(["up", "down"])),
            "n_measured": sets.sizes[item].astype(np.int32),
            "n_hits": found.hits.ravel()[position].astype(np.int32),
            "effect": found.effect.ravel()[flat][twice],
            "pval_rank": np.where(mine, np.exp(two_sided_log_p(stat))[twice], np.nan),
            "qval_rank": np.where(mine, q_rank[twice], np.nan),
            "pval_ora": found.ora.ravel()[position],
            "qval_ora": q_from_p(found.ora, position),
            "qval": q_both.ravel()[position],
        }
    )


def label_table(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Rows of ``labels.parquet``; an empty table with the right columns when there are no labels."""
    columns = ["feature", "column", "value", "auroc", "f1", "precision", "recall", "qval", "threshold", "spearman"]
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype=object if c in {"column", "value"} else float) for c in columns})
    out = pd.concat(parts, ignore_index=True)[columns]
    return out.sort_values(["feature", "auroc"], ascending=[True, False], kind="stable", ignore_index=True)
