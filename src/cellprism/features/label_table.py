"""Rows of ``labels.parquet``: how well each feature tells the cells of each label, and where its activation lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features.core import core_cells, label_location
from cellprism.features.evidence import test_labels
from cellprism.stats.enrichment import two_sided
from cellprism.stats.fdr import benjamini_hochberg
from cellprism.stats.labels import code_ranks, spearman

__all__ = ["label_table"]

LOCATION = ("prevalence", "activation_share", "core_precision", "core_recall", "active_recall")
"""Columns of the label table that say where the activation lies (:mod:`cellprism.features.core`)."""


def label_table(
    codes: sp.csc_array,
    categorical: dict[str, np.ndarray],
    continuous: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Rows of ``labels.parquet``, live features only: detection of categories, Spearman with continuous columns."""
    live = np.flatnonzero(np.diff(codes.indptr) > 0)
    results, qval = test_labels(codes, categorical)
    core = core_cells(codes if results else codes[:, :0])
    parts, start = [], 0
    for column, result in results.items():
        k = result.categories.size
        where = label_location(codes, core, categorical[column])
        kept = np.isin(where.categories, result.categories)
        parts.append(
            pd.DataFrame(
                {
                    "feature": np.repeat(live, k).astype(np.int32),
                    "column": column,
                    "value": np.tile(result.categories, live.size),
                    "auroc": result.auroc[live].ravel(),
                    "f1": result.f1[live].ravel(),
                    "precision": result.precision[live].ravel(),
                    "recall": result.recall[live].ravel(),
                    "qval": qval[live, start : start + k].ravel(),
                    "threshold": result.threshold[live].ravel(),
                    "spearman": np.nan,
                    "prevalence": np.tile(where.prevalence[kept], live.size),
                    **{name: getattr(where, name)[live][:, kept].ravel() for name in LOCATION[1:]},
                }
            )
        )
        start += k
    ranks = code_ranks(codes) if continuous else None
    for column, values in continuous.items():
        rho, _, z = spearman(codes, values, ranks)
        parts.append(
            pd.DataFrame(
                {
                    "feature": live.astype(np.int32),
                    "column": column,
                    "value": "",
                    **dict.fromkeys(("auroc", "f1", "precision", "recall", "threshold", *LOCATION), np.nan),
                    "qval": benjamini_hochberg(two_sided(z[live])),
                    "spearman": rho[live],
                }
            )
        )
    return _joined(parts)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One table in order; an empty one with the right columns when there are no labels."""
    columns = [
        "feature", "column", "value", "auroc", "f1", "precision", "recall", "qval", "threshold", "spearman", *LOCATION
    ]  # fmt: skip
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype=object if c in {"column", "value"} else float) for c in columns})
    out = pd.concat(parts, ignore_index=True)[columns]
    return out.sort_values(["feature", "auroc"], ascending=[True, False], kind="stable", ignore_index=True)
