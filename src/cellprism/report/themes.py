"""Groups of gene sets, so that a map of features can be coloured by more than single sets."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.report.columns import minus_log10, text

__all__ = ["feature_groups", "membership", "themes"]

MOST: Final = 12  # as many groups as a map has colours for
A_GROUP: Final = 6  # sets that a group has on average at least
CLEAR: Final = -np.log10(0.05)


def membership(gene_sets: pd.DataFrame, genes: list[str]) -> tuple[list[str], sparse.csr_array]:
    """Sets over the genes of a page.

    Parameters
    ----------
    gene_sets
        Columns ``set`` and ``genes`` (lists).
    genes
        Gene names; members that are not among them are left out.

    Returns
    -------
    Set names, and (sets, genes) of ones with sorted indices.
    """
    lists = gene_sets["genes"].tolist()
    row = np.repeat(np.arange(len(lists)), [len(g) for g in lists])
    flat = np.concatenate([np.asarray(g, dtype=object) for g in lists]) if lists else np.array([], dtype=object)
    column = pd.Index(genes).get_indexer(pd.Index(flat)) if pd.Index(genes).is_unique else _first(genes, flat)
    known = column >= 0
    shape = (len(lists), len(genes))
    matrix = sparse.csr_array((np.ones(int(known.sum()), np.float32), (row[known], column[known])), shape=shape)
    matrix.sum_duplicates()
    return text(gene_sets["set"]), matrix


def _first(genes: list[str], wanted: NDArray[np.object_]) -> NDArray[np.int64]:
    place = {gene: i for i, gene in reversed(list(enumerate(genes)))}
    return np.array([place.get(gene, -1) for gene in wanted], dtype=np.int64)


def themes(names: list[str], matrix: sparse.csr_array, *, seed: int = 0) -> list[str]:
    """Group sets by the genes they share; each group is called after the set nearest to its middle.

    Sets are compared by the cosine of their members, rare genes the heavier (inverse document frequency), in at most 30
    components, and grouped by k-means into at most 12 groups.

    Returns
    -------
    The group of each set, "" where it has no gene here; all "" where there are too few sets for groups.
    """
    size = np.asarray(matrix.sum(axis=1)).ravel()
    kept = np.flatnonzero(size > 0)
    k = min(MOST, len(kept) // A_GROUP)
    if k < 2:
        return [""] * len(names)
    from sklearn.cluster import KMeans

    from cellprism.stats.decompositions import leading_axes

    frequency = np.asarray((matrix > 0).sum(axis=0)).ravel()
    weighted = sparse.csr_array(matrix[kept] @ sparse.diags_array(np.log(len(kept) / np.maximum(frequency, 1)) + 1))
    norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    unit = sparse.csr_array(sparse.diags_array(1 / norm) @ weighted)
    d = min(30, min(unit.shape) - 1)
    if d < 2:
        return [""] * len(names)
    scores = leading_axes(unit, d, seed)[0]
    scores /= np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12)
    found = KMeans(k, n_init=4, random_state=seed).fit(scores)
    distance = np.linalg.norm(scores - found.cluster_centers_[found.labels_], axis=1)
    called = {}
    for group in range(k):
        mine = np.flatnonzero(found.labels_ == group)
        called[group] = f"like {names[kept[mine[np.argmin(distance[mine])]]]}"
    out = [""] * len(names)
    for i, group in zip(kept, found.labels_, strict=True):
        out[i] = called[int(group)]
    return out


def feature_groups(features: pd.DataFrame, gene_sets: pd.DataFrame | None, genes: list[str]) -> dict[str, list[str]]:
    """The group of each feature's best set, where that set is clear (q < 0.05), else "".

    Returns
    -------
    ``set_collection`` (where the set comes from) and ``set_theme`` (sets that share genes), each where the sets have at
    least two such groups.
    """
    if gene_sets is None or gene_sets.empty or "top_set" not in features or "top_set_qval" not in features:
        return {}
    clear = np.nan_to_num(minus_log10(features["top_set_qval"])) > CLEAR
    top = text(features["top_set"])
    names, matrix = membership(gene_sets, genes)
    known = {"set_theme": themes(names, matrix)}
    if "collection" in gene_sets:
        known["set_collection"] = text(gene_sets["collection"])
    out = {}
    for column, groups in known.items():
        if len(set(groups) - {""}) < 2:
            continue
        of = dict(zip(names, groups, strict=True))
        out[column] = [of.get(s, "") if c else "" for s, c in zip(top, clear, strict=True)]
    return out
