"""Features and the gene sets that they have: which, how many, and which features have the same ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.stats.unfolded import unfolded

__all__ = ["TermMap", "probed", "term_map"]

LEVEL: Final = 0.05
_FEW: Final = 15  # fewer points than this have no neighbourhoods worth unfolding


@dataclass(frozen=True)
class TermMap:
    """The matrix of features and their significant terms (gene sets, such as those of an ontology)."""

    features: NDArray[np.int64]
    """Number of each feature that has a term."""
    terms: list[str]
    """Names of the terms that some feature has."""
    matrix: sp.csr_array
    """(features, terms) of ones: the feature has the term."""
    term_ancestors: list[str]
    """(terms,) level-1 ancestor, or the collection of the set; empty where not known."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """(features,) number of terms."""
        return np.asarray(np.diff(self.matrix.indptr), dtype=np.int64)

    @property
    def ancestors(self) -> list[str]:
        """(features,) the ancestor of most of a feature's terms, of several the first in the alphabet; empty where not known."""
        named, codes = np.unique(self.term_ancestors, return_inverse=True)
        own = np.asarray(self.matrix @ np.eye(len(named))[codes])
        own[:, named == ""] = 0
        return ["" if not row.any() else str(named[row.argmax()]) for row in own]

    def layout(self, seed: int = 0) -> NDArray[np.float64]:
        """(features, 2) UMAP by the Jaccard distance of terms; fewer than 15 features stand on their principal components."""
        if len(self.features) < _FEW:
            dense = self.matrix.toarray()
            u, s, _ = np.linalg.svd(dense - dense.mean(axis=0, keepdims=True), full_matrices=False)
            flat = np.zeros((len(dense), 2))
            flat[:, : min(2, len(s))] = (u * s)[:, :2]
            return flat
        distance = _jaccard_distance(self.matrix)
        near = np.argsort(distance, axis=1, kind="stable")[:, : min(15, len(distance) - 1)]
        there = np.take_along_axis(distance, near, axis=1)
        return unfolded(self.matrix.toarray(), near, there, seed, init="random").astype(np.float64)


def term_map(
    features: pd.DataFrame,
    sets: pd.DataFrame,
    ancestors: Mapping[str, str] | None = None,
    *,
    direction: str = "up",
    level: float = LEVEL,
) -> TermMap:
    """Which feature has which term: the paper's binary matrix.

    Parameters
    ----------
    features, sets
        Tables of an annotation or run.
    ancestors
        Term -> its group, from :func:`cellprism.genesets.level1_ancestors` or a collection; default: the set table's
        ``ancestor``.
    direction
        "up" (the term's genes are higher in active cells) or "down".
    level
        q value that a term must pass.

    Raises
    ------
    InputError
        Where there is no table of sets, or no such direction.

    Examples
    --------
    >>> from cellprism.features.terms import term_map
    >>> found = term_map(annotation.features, annotation.sets, dict.fromkeys(sets, "bundled"))
    >>> found.matrix.shape == (len(found.features), len(found.terms))
    True
    """
    if direction not in ("up", "down"):
        raise InputError("a term is up or down in a feature", repr(direction), "use direction='up'")
    if sets.empty or "set" not in sets:
        raise InputError(
            "features have terms once gene sets were tested", "an empty table of sets", "annotate with gene sets"
        )
    q = sets["qval"] if "qval" in sets else sets[["qval_rank", "qval_ora"]].min(axis=1)
    found = sets[(q < level).to_numpy() & (sets["direction"].astype(str) == direction).to_numpy()]
    found = found[found["feature"].isin(features["feature"])]
    row, numbers = pd.factorize(found["feature"], sort=True)
    column, terms = pd.factorize(found["set"].astype(str), sort=True)
    matrix = sp.csr_array((np.ones(len(row)), (row, column)), shape=(len(numbers), len(terms)))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    known = dict(ancestors or {})
    if ancestors is None and "ancestor" in found:
        ancestor = found["ancestor"].astype(object)  # a category has no place for "not known"
        known = dict(zip(found["set"].astype(str), ancestor.where(ancestor.notna(), "").astype(str), strict=True))
    names = [str(t) for t in terms]
    return TermMap(numbers.to_numpy(dtype=np.int64), names, matrix, [known.get(t, "") for t in names])


def probed(found: TermMap, words: str) -> NDArray[np.bool_]:
    """(features,) which have a term whose name holds all the words, in any order, upper or lower case alike.

    Examples
    --------
    >>> from cellprism.features.terms import probed, term_map
    >>> found = term_map(annotation.features, annotation.sets, dict.fromkeys(sets, "bundled"))
    >>> len(probed(found, "b cell")) == len(found.features)
    True
    """
    asked = words.casefold().split()
    if not asked:
        raise InputError("terms are probed by a word", "none", "give one, such as 'immune'")
    named = np.array([all(w in t.casefold() for w in asked) for t in found.terms], dtype=float)
    return np.asarray(found.matrix @ named > 0) if len(named) else np.zeros(len(found.features), dtype=bool)


def _jaccard_distance(matrix: sp.csr_array) -> NDArray[np.float64]:
    both = (matrix @ matrix.T).toarray()
    size = np.diff(matrix.indptr).astype(np.float64)
    out: NDArray[np.float64] = 1 - both / (size[:, None] + size[None] - both)
    np.fill_diagonal(out, 0.0)
    return out
