"""Gene sets on a change: what moves together, against other genes and against moves that mean nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats

from cellprism.genesets.match import check_sets

__all__ = ["contrast", "first_of", "membership", "set_table"]

SET_COLUMNS = ["set", "n_measured", "effect", "auroc", "pval", "qval", "null_pval", "null_qval"]


def membership(
    gene_sets: Mapping[str, Sequence[str]], symbols: Sequence[str], sizes: tuple[int, int] = (5, 500)
) -> tuple[list[str], sparse.csr_array]:
    """Sets with enough measured genes, and (sets, genes) 0/1; a symbol that occurs twice counts once."""
    first: dict[str, int] = {}
    for at, s in enumerate(symbols):
        if s and s != "nan":
            first.setdefault(s, at)
    names: list[str] = []
    rows: list[int] = []
    cols: list[int] = []
    check_sets(gene_sets)
    for name, members in gene_sets.items():
        found = sorted({first[g] for g in members if g in first})
        if sizes[0] <= len(found) <= sizes[1]:
            rows += [len(names)] * len(found)
            cols += found
            names.append(name)
    M = sparse.csr_array((np.ones(len(rows)), (rows, cols)), shape=(len(names), len(symbols)))
    return names, M


def contrast(M: sparse.csr_array, values: NDArray[np.floating], measured: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean of ``values`` (..., genes) in each set minus the mean outside it, (..., sets)."""
    v = np.where(measured, np.asarray(values, dtype=np.float64), 0.0)
    size = np.asarray(M.sum(1)).ravel()
    inside = np.asarray((M @ v.T).T)
    rest = v.sum(-1)[..., None] - inside
    out: NDArray[np.float64] = inside / size - rest / np.maximum(measured.sum() - size, 1)
    return out


def set_table(
    names: list[str],
    M: sparse.csr_array,
    observed: NDArray[np.floating],
    null: NDArray[np.floating],
    measured: NDArray[np.bool_],
) -> pd.DataFrame:
    """A row a gene set.

    ``effect`` is the mean log2 change inside minus outside; ``auroc`` and ``pval`` the two-sided rank-sum test of the
    same contrast with tie correction (normal approximation; genes are not independent, so read it as an order);
    ``null_pval`` the share of null moves, the observed one counted in, whose absolute effect is as large.

    Parameters
    ----------
    names, M
        From :func:`membership`.
    observed, null
        (genes,) and (moves, genes) log2 changes.
    measured
        (genes,) which genes take part: one column a symbol.
    """
    if not names:
        return pd.DataFrame({c: pd.Series(dtype="object" if c == "set" else "float64") for c in SET_COLUMNS})
    size = np.asarray(M.sum(1)).ravel()
    n = int(measured.sum())
    ranks = np.zeros(observed.size)
    ranks[measured] = stats.rankdata(observed[measured])
    u = np.asarray(M @ ranks).ravel() - size * (size + 1) / 2
    auroc = u / (size * (n - size))
    ties = np.unique(observed[measured], return_counts=True)[1].astype(float)
    variance = size * (n - size) / 12 * (n + 1 - (ties**3 - ties).sum() / (n * (n - 1)))
    z = (np.abs(u - size * (n - size) / 2) - 0.5).clip(0) / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    effect = contrast(M, observed, measured)
    beyond = np.abs(contrast(M, null, measured)) >= np.abs(effect)
    pval = 2 * stats.norm.sf(z).clip(0, 0.5)
    null_pval = (1 + beyond.sum(0)) / (1 + len(null))
    table = pd.DataFrame(
        {
            "set": names,
            "n_measured": size.astype(int),
            "effect": effect,
            "auroc": auroc,
            "pval": pval,
            "qval": stats.false_discovery_control(pval),
            "null_pval": null_pval,
            "null_qval": stats.false_discovery_control(null_pval),
        }
    )
    return table.sort_values(["null_pval", "effect"], key=lambda c: -c.abs() if c.name == "effect" else c)


def first_of(symbols: Sequence[str]) -> NDArray[np.bool_]:
    """Which entries are the first of their symbol; empty and "nan" ones are not counted."""
    s = pd.Series(list(symbols))
    return np.asarray(~s.duplicated() & (s != "") & (s != "nan"))
