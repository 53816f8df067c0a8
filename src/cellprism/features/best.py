"""The features that a reader should look at first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features.twins import without_twins

__all__ = ["READS", "best_features"]

_SAME = 0.5  # correlation of activations from which on a second feature shows a reader little that is new
READS = 0.7
"""AUROC from which on a label is shown as what a feature reads."""
_NOT_FIRST = ("not testable", "no evidence", "broad", "all but", "low in")

_MISSING: dict[str, str | float] = {
    "name": "", "confound": "", "top_label": "", "top_label_auroc": np.nan, "top_set_qval": np.nan, "stability": np.nan
}  # fmt: skip
"""What stands for a column that a run does not have."""


def best_features(table: pd.DataFrame, codes: sp.csc_array, n: int) -> pd.DataFrame:
    """The ``n`` best-supported features that differ from each other, strongest evidence first.

    Only features that could be tested and have a gene set (q < 0.05) or a label (AUROC of 0.7 or more) count: one for
    each such label and one for each named part of it, else one for each leading name; and of features whose activations
    follow each other at r = 0.5 or more only the best. They are ranked by the mean of three numbers between 0 and 1: how
    well they detect a label (AUROC, rescaled so that 0.5 is 0), how strong their gene set is (log10 q down to 1e-6), and
    their stability over seeds. Unnamed parts of what another feature detects whole, and features that mostly read a
    technical covariate, count half.

    Parameters
    ----------
    table
        Rows of ``features.parquet``.
    codes
        (cells, rows of the table), sparse by column.
    n
        How many.

    Examples
    --------
    >>> from cellprism.features.best import best_features
    >>> table = annotation.features
    >>> best = best_features(table, codes.tocsc()[:, table["feature"].to_numpy()], 3)
    >>> len(best) <= 3
    True
    """
    table = table.reset_index(drop=True)
    table = table.assign(**{name: value for name, value in _MISSING.items() if name not in table})
    named, marked = table["name"].fillna("").astype(str), table["confound"].fillna("") != ""
    bare = named.where(~marked, named.str.replace(r"^\[[^\]]*\] ", "", regex=True))
    label = (2 * table["top_label_auroc"].fillna(0.5) - 1).clip(0, 1)
    strength = (-np.log10(table["top_set_qval"].fillna(1).clip(1e-6, 1)) / 6).clip(0, 1)
    table["support"] = (label + strength + table["stability"].fillna(0).clip(lower=0)) / 3
    lead = bare.str.split(r" · | \(", regex=True).str[0]
    unnamed_part = lead.str.contains(", in part") & ~lead.str.contains(": ")
    table.loc[marked | unnamed_part, "support"] /= 2
    reads = (table["top_label_auroc"] >= READS) & ~lead.str.contains(", in part: ")
    table["shows"], table["lead"] = table["top_label"].where(reads, lead), lead.str.replace(", in part", "")
    found = (table["top_set_qval"] < 0.05) | (table["top_label_auroc"] >= READS)
    told = ~bare.str.startswith(_NOT_FIRST) & found
    table = table[told].sort_values("support", ascending=False, kind="stable")
    table = table.drop_duplicates("shows").drop_duplicates("lead")
    kept = without_twins(codes, table.index.to_list(), n, _SAME)
    return table.loc[kept].reset_index(drop=True)
