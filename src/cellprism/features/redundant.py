"""Sets that say the same of a feature, collapsed for display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

__all__ = ["collapse_sets"]


def collapse_sets(
    sets: pd.DataFrame, gene_sets: Mapping[str, Sequence[str]], *, overlap: float = 0.5, q: str = "qval"
) -> pd.DataFrame:
    """Keep, for each feature and direction, one set of each group of sets that share most of their genes.

    Sets are taken from the best q value down; a set is put under the first kept one with which it shares at least
    ``overlap`` of the smaller of the two. Nothing is tested anew, so this is for reading only.

    Parameters
    ----------
    sets
        Rows of a set table (those that pass, say).
    gene_sets
        Members of the sets.
    overlap
        Share of the smaller set's genes that makes two sets redundant.
    q
        Column to order by.

    Returns
    -------
    The kept rows, best first within a feature, with ``also``: the names of the sets under each, joined by "; ".
    """
    members = {name: frozenset(gene_sets[name]) for name in sets["set"].astype(str).unique() if name in gene_sets}
    kept_rows: list[int] = []
    also: dict[int, list[str]] = {}
    ordered = sets.sort_values(["feature", q, "n_measured"], kind="stable")
    for _, group in ordered.groupby(["feature", "direction"], sort=True, observed=True):
        leaders: list[tuple[int, frozenset[str]]] = []
        for row, name in zip(group.index.tolist(), group["set"].astype(str), strict=True):
            mine = members.get(name, frozenset())
            leader = next((i for i, theirs in leaders if _redundant(mine, theirs, overlap)), None)
            if leader is None:
                leaders.append((row, mine))
                kept_rows.append(row)
                also[row] = []
            else:
                also[leader].append(name)
    return sets.loc[kept_rows].assign(also=["; ".join(also[row]) for row in kept_rows]).reset_index(drop=True)


def _redundant(a: frozenset[str], b: frozenset[str], overlap: float) -> bool:
    smaller = min(len(a), len(b))
    return smaller > 0 and len(a & b) >= overlap * smaller
