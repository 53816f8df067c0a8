"""Sets that say the same of a feature, collapsed for display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

__all__ = ["collapse_sets", "mark_redundant"]


def mark_redundant(
    sets: pd.DataFrame, gene_sets: Mapping[str, Sequence[str]], *, overlap: float = 0.5, q: str = "qval"
) -> pd.Series[str]:
    """For each row the better set of the same feature and direction that shares most of its genes; "" where it leads.

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
    Names of the leading sets, with the index of ``sets``.
    """
    members = {name: frozenset(gene_sets[name]) for name in sets["set"].astype(str).unique() if name in gene_sets}
    under = pd.Series("", index=sets.index, dtype=object)
    ordered = sets.sort_values(["feature", q, "n_measured"], kind="stable")
    for _, group in ordered.groupby(["feature", "direction"], sort=True, observed=True):
        leaders: list[tuple[str, frozenset[str]]] = []
        for row, name in zip(group.index.tolist(), group["set"].astype(str), strict=True):
            mine = members.get(name, frozenset())
            leader = next((other for other, theirs in leaders if _redundant(mine, theirs, overlap)), None)
            if leader is None:
                leaders.append((name, mine))
            else:
                under.at[row] = leader
    return under


def collapse_sets(
    sets: pd.DataFrame, gene_sets: Mapping[str, Sequence[str]], *, overlap: float = 0.5, q: str = "qval"
) -> pd.DataFrame:
    """Keep, for each feature and direction, one set of each group of sets that share most of their genes.

    Parameters as for :func:`mark_redundant`.

    Returns
    -------
    The kept rows, best first within a feature, with ``also``: the names of the sets under each, joined by "; ".
    """
    under = mark_redundant(sets, gene_sets, overlap=overlap, q=q)
    ordered = sets.assign(under=under).sort_values(["feature", "direction", q, "n_measured"], kind="stable")
    below = ordered[ordered["under"] != ""].groupby(["feature", "direction", "under"], observed=True)["set"]
    names = {key: "; ".join(group.astype(str)) for key, group in below}
    kept = ordered[ordered["under"] == ""].drop(columns="under")
    keys = zip(kept["feature"], kept["direction"], kept["set"].astype(str), strict=True)
    return kept.assign(also=[names.get(key, "") for key in keys]).reset_index(drop=True)


def _redundant(a: frozenset[str], b: frozenset[str], overlap: float) -> bool:
    smaller = min(len(a), len(b))
    return smaller > 0 and len(a & b) >= overlap * smaller
