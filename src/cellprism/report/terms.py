"""The features x terms matrix on the page: which feature has which gene sets, and where features of like sets lie."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cellprism.features.terms import TermMap, term_map
from cellprism.report.columns import pool, text
from cellprism.report.layout import plane
from cellprism.report.pack import Quantised, pack, smallest
from cellprism.report.source import Source

__all__ = ["set_groups", "terms_block"]


def set_groups(source: Source) -> dict[str, str] | None:
    """The group of each set: None where an ontology gave its ancestor, else the collection that it is of."""
    if "ancestor" in source.sets and source.sets["ancestor"].notna().any():
        return None
    table = source.gene_sets
    if table is None or "collection" not in table:
        return {}
    return dict(zip(text(table["set"]), text(table["collection"]), strict=True))


def terms_block(source: Source) -> bytes:
    """Terms at q < 0.05 upward of each row of the feature table, and a map of the features that have some.

    Returns
    -------
    A block: ``row`` of each such feature, ``ptr`` and ``term`` (its terms), ``x`` and ``y`` (t-SNE of the binary matrix by
    cosine), ``ancestor`` of most of its terms and ``term_ancestor`` of each term, as places in ``ancestors``.
    """
    found = None if source.sets.empty else term_map(source.features, source.sets, set_groups(source))
    if found is None or not len(found.features):
        return pack({}, {"terms": [], "ancestors": []})
    rows = pd.Index(source.features["feature"]).get_indexer(pd.Index(found.features))
    codes, names = pool([*found.ancestors, *found.term_ancestors])
    flat = plane(_binary(found))
    n = len(found.features)
    return pack(
        {
            "row": rows.astype(np.uint32),
            "ptr": found.matrix.indptr.astype(np.uint32),
            "term": smallest(found.matrix.indices),
            "x": Quantised(flat[:, 0]),
            "y": Quantised(flat[:, 1]),
            "ancestor": smallest(codes[:n]),
            "term_ancestor": smallest(codes[n:]),
        },
        {"terms": found.terms, "ancestors": names},
    )


def _binary(found: TermMap) -> np.ndarray:
    """(features, k) rows of the binary matrix in at most 50 components."""
    k = min(50, min(found.matrix.shape) - 1)
    if k < 2:
        return np.asarray(found.matrix.toarray(), dtype=np.float32)
    from cellprism.stats.decompositions import leading_axes

    return np.asarray(leading_axes(found.matrix, k, 0)[0], dtype=np.float32)
