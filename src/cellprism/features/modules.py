"""Features that are active together: communities of the graph of co-activations that chance would not give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.missing import groups as labelled
from cellprism.errors import InputError
from cellprism.sae.correlation import code_correlation
from cellprism.stats.contrast import check_codes

__all__ = ["Modules", "modules"]

_CHANCE: Final = 0.05


@dataclass(frozen=True)
class Modules:
    """Features by the module that they are of."""

    table: pd.DataFrame
    """A row a live feature: ``feature``, ``module`` (from 0, the largest first; -1: none), ``within`` (mean correlation with the
    others of its module), ``edges`` (features it goes with beyond chance)."""
    correlation: sp.csr_array
    """(live features, live features) correlations of codes beyond chance."""
    info: dict[str, Any] = field(default_factory=dict)
    """``cells`` (with a label, where strata are given), ``threshold`` (the correlation beyond which an edge counts), ``modularity``, ``n_modules``, ``permutations``, ``seed``."""

    def __repr__(self) -> str:
        n = int((self.table["module"] >= 0).sum())
        return (
            f"Modules: {self.info['n_modules']:,} of {n:,} features, {len(self.table) - n:,} features in none\n"
            f"    edges at r > {self.info['threshold']:.2f}, modularity {self.info['modularity']:.2f}; .table, .correlation"
        )


def modules(
    codes: Any,
    strata: NDArray[Any] | pd.Series | None = None,
    *,
    permutations: int = 99,
    resolution: float = 1.0,
    seed: int = 0,
) -> Modules:
    """Communities of features by co-activation.

    Two features go together where the correlation of their codes over cells is larger than what the largest of all pairs
    reaches in 95 % of draws in which the cells of each feature are permuted on their own (within strata): so among features
    that have nothing to do with each other, one draw in twenty gives an edge at all. The graph of these edges, weighted by
    correlation, is cut by the Louvain method (Blondel et al. 2008); features without an edge are in no module.

    Parameters
    ----------
    codes
        (cells, width), sparse or dense, non-negative.
    strata
        (cells,) labels within which cells are permuted, so that an edge says more than that both follow the labels. Cells without
        one are left out.
    permutations
        Draws of the null, at least 19.
    resolution
        Larger values cut smaller modules.
    seed
        Of draws and cuts.

    Raises
    ------
    InputError
        If codes are negative or not finite, strata are not of these cells, or the draws are too few for a threshold.

    Examples
    --------
    >>> from cellprism.features.modules import modules
    >>> modules(codes, types, permutations=19).table.columns[0]
    'feature'
    """
    import networkx as nx

    given = sp.csc_array(check_codes(codes), dtype=np.float64)
    number = np.zeros(given.shape[0], dtype=np.int64) if strata is None else labelled(strata).number
    if len(number) != given.shape[0]:
        raise InputError("strata name a label a cell", f"{len(number)} for {given.shape[0]} cells", "give one for each")
    known = np.flatnonzero(number >= 0)
    if not len(known):
        raise InputError("strata name a label a cell", "none of any cell", "leave them out")
    given, groups = sp.csc_array(given[known]), number[known].astype(np.intp)
    live = np.flatnonzero(np.diff(given.indptr))
    part = sp.csc_array(given[:, live])
    if permutations < 19:
        raise InputError("a threshold at 5 % takes at least 19 draws", str(permutations), "give 99")
    threshold = _threshold(part, groups, permutations, np.random.default_rng(seed))
    r = _pairs(part)
    r.data[r.data <= threshold] = 0.0
    r.eliminate_zeros()
    graph = nx.from_scipy_sparse_array(r)
    graph.remove_nodes_from(list(nx.isolates(graph)))
    found = nx.community.louvain_communities(graph, resolution=resolution, seed=seed) if len(graph) else []
    found = sorted((sorted(one) for one in found), key=lambda one: (-len(one), one))
    module = np.full(len(live), -1, dtype=np.int64)
    for i, one in enumerate(found):
        module[one] = i
    same = sp.csr_array(r.multiply((module[:, None] == module) & (module[:, None] >= 0)))
    others = np.bincount(module[module >= 0], minlength=len(found) + 1)[module] - 1
    within = np.where(module >= 0, np.asarray(same.sum(axis=1)) / np.maximum(others, 1), np.nan)
    table = pd.DataFrame({"feature": live, "module": module, "within": within, "edges": np.diff(r.indptr)})
    info = {
        "cells": len(known), "threshold": threshold, "n_modules": len(found), "permutations": permutations, "seed": seed,
        "modularity": float(nx.community.modularity(graph, found, resolution=resolution)) if found else float("nan"),
    }  # fmt: skip
    return Modules(table, r, info)


def _pairs(codes: sp.csc_array) -> sp.csr_array:
    """Correlations above 0 of every two features."""
    r = sp.csr_array(code_correlation(codes, codes))
    r.setdiag(0.0)
    r.eliminate_zeros()
    return r


def _threshold(codes: sp.csc_array, groups: NDArray[np.intp], n: int, rng: np.random.Generator) -> float:
    """The (1 + n) · 5 % largest of the maxima of ``n`` draws and what is observed: a fresh draw exceeds it one time in twenty."""
    rows = np.argsort(groups, kind="stable")
    at, start = np.unique(groups, return_index=True)[0], np.searchsorted(groups[rows], np.unique(groups))
    sizes = np.bincount(groups)[at]
    column = np.repeat(np.arange(codes.shape[1]), np.diff(codes.indptr))
    own = np.searchsorted(at, groups[codes.indices])
    largest = []
    for _ in range(n):
        # Each (feature, stratum) draws as many cells of the stratum as it had, without replacement.
        order = np.lexsort((own, column))
        cells = np.empty(len(order), dtype=np.int64)
        key = column[order] * len(at) + own[order]
        for first, stop in _runs(key):
            stratum = own[order[first]]
            cells[first:stop] = start[stratum] + rng.permutation(sizes[stratum])[: stop - first]
        drawn = sp.csc_array((codes.data[order], (rows[cells], column[order])), shape=codes.shape)
        r = _pairs(drawn)
        largest.append(float(r.data.max()) if r.nnz else 0.0)
    rank = int(np.floor((1 + n) * _CHANCE))
    return float(np.sort(largest)[-rank])


def _runs(key: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Where equal keys stand together: first and one past last."""
    edges = np.flatnonzero(np.diff(key, prepend=key[:1] - 1, append=key[-1:] + 1))
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
