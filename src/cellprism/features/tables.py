"""Tables of genes and sets, built from the arrays of the tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellprism.features.evidence import SetEvidence
from cellprism.stats.fdr import Family, two_sided_log_p
from cellprism.stats.genes import GeneResult
from cellprism.stats.parallel import for_chunks
from cellprism.stats.setindex import SetIndex

__all__ = ["KEEP_TOP", "gene_table", "keep_pairs", "marked", "set_table"]

KEEP_TOP = 100
_NOTHING = np.empty(0, dtype=np.int32)
_CHUNK = 64
_SET_COLUMNS = {
    "feature": "int32", "set": "object", "direction": "object", "n_measured": "int32", "n_hits": "int32",
    "effect": "float64", "pval_rank": "float64", "qval_rank": "float64", "pval_ora": "float64", "qval_ora": "float64",
    "qval": "float64",
}  # fmt: skip


def marked(table: pd.DataFrame, **words: str) -> pd.DataFrame:
    """The table with constant columns that say how it was made, a byte a row."""
    constant = {
        name: pd.Categorical.from_codes(np.zeros(len(table), dtype=np.int8), categories=pd.Index([word]))
        for name, word in words.items()
    }
    # `assign` would copy the table, and put its columns into one block on the way
    columns: dict[Any, Any] = {name: table[name] for name in table.columns}
    return pd.DataFrame(columns | constant, index=table.index, copy=False)


def keep_pairs(
    score: np.ndarray, limit: float, keep: str, *, top: int = KEEP_TOP, two_sided: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the (feature, item) pairs that a table keeps: features in order, best score first.

    Parameters
    ----------
    score
        (features, items), larger is better (larger in size when ``two_sided``); NaN rows are left out.
    limit
        Pairs with this score or a better one are kept whatever their rank.
    keep
        "significant": what passes, and the ``top`` best of each feature; "all": every pair.
    """
    n_features, n_items = score.shape
    rows: list[np.ndarray] = [_NOTHING] * n_features
    columns = rows.copy()
    if n_items == 0:
        return _NOTHING, _NOTHING

    def choose(part: slice) -> None:
        for f in range(part.start, part.stop):
            here = np.abs(score[f]) if two_sided else score[f]
            if np.isnan(here[0]):
                continue
            n = n_items if keep == "all" else min(n_items, max(top, int((here >= limit).sum())))
            # those that are kept first, and only these in order
            kept = np.argpartition(here, n_items - n)[n_items - n :] if 2 * n < n_items else np.arange(n_items)
            kept = kept[np.argsort(here[kept])[::-1][:n]]
            rows[f], columns[f] = np.full(n, f, dtype=np.int32), kept.astype(np.int32)

    for_chunks(choose, n_features, _CHUNK)
    return np.concatenate([_NOTHING, *rows]), np.concatenate([_NOTHING, *columns])


def gene_table(
    result: GeneResult,
    genes: pd.DataFrame,
    family: Family,
    level: float,
    keep: str,
    association: np.ndarray | None = None,
) -> pd.DataFrame:
    """Rows of ``genes.parquet``: what passes its q value plus the strongest of each feature.

    Parameters
    ----------
    genes
        Columns ``gene``, ``symbol``, ``modality``, one row a gene of the expression matrix.
    family
        The calibrated statistics of all features and genes.
    association
        (features, genes) correlation with the activation, for the column ``spearman``.
    """
    row, gene = keep_pairs(result.calibrated, family.critical(level), keep, two_sided=True)
    z = result.z[row, gene].astype(np.float64)
    log_p = two_sided_log_p(z)
    columns: dict[str, Any] = {"feature": row}
    for name in ("gene", "symbol", "modality"):
        columns[name] = pd.Categorical(genes[name])[gene]
    columns["log2fc"], columns["statistic"], columns["logpval"] = result.log2fc[row, gene], z, log_p
    columns["pval"] = np.exp(log_p)
    columns["qval"] = family.q(result.calibrated[row, gene])
    if association is not None:
        columns["spearman"] = association[row, gene]
    return pd.DataFrame(columns, copy=False)


def set_table(
    sets: SetIndex | None, found: SetEvidence | None, level: float, keep: str, ancestors: Mapping[str, str]
) -> pd.DataFrame:
    """Rows of ``sets.parquet``: an up and a down row for every (feature, set) that is kept; ``ancestor`` where any is known."""
    if sets is None or found is None:
        empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _SET_COLUMNS.items()})
        return _with_ancestors(empty, ancestors)
    both = found.both
    # the z breaks ties among sets whose p values are both 1
    score = 1e-6 * np.abs(found.z).astype(np.float32) - found.combined.min(axis=1)
    row, item = keep_pairs(score, -both.critical(level), keep)
    stat = found.z[row, item]
    mine = np.stack([stat >= 0, stat < 0], axis=1).ravel()
    q_rank, log_p = found.rank.q(stat), two_sided_log_p(stat)
    twice = np.repeat(np.arange(row.size), 2)  # an up row, then a down row
    down = np.tile(np.array([0, 1]), row.size)
    effect = found.effect[row, item][twice]
    row, item = row[twice], item[twice]
    log_over = found.ora[row, down, item]
    table = pd.DataFrame(
        {
            "feature": row,
            "set": pd.Categorical.from_codes(item, categories=pd.Index(sets.names)),
            "direction": pd.Categorical.from_codes(down, categories=pd.Index(["up", "down"])),
            "n_measured": sets.sizes[item].astype(np.int32),
            "n_hits": found.hits[row, down, item].astype(np.int32),
            "effect": effect,
            "pval_rank": np.where(mine, np.exp(log_p)[twice], np.nan),
            "qval_rank": np.where(mine, q_rank[twice], np.nan),
            "pval_ora": np.exp(log_over.astype(np.float64)),
            "qval_ora": found.over.q(log_over),
            "qval": both.q(found.combined[row, down, item]),
        }
    )
    return _with_ancestors(table, ancestors)


def _with_ancestors(sets: pd.DataFrame, ancestors: Mapping[str, str]) -> pd.DataFrame:
    if not ancestors:
        return sets
    found = sets["set"].map(lambda name: ancestors.get(str(name), "")).astype("category")
    return sets.assign(ancestor=found)
