"""The gene sets that a run tested: where each comes from, and its measured genes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from cellprism import genesets
from cellprism.genesets.bundled import bundled_sources
from cellprism.genesets.match import MatchedSets

__all__ = ["collections_of", "gene_set_table"]


def gene_set_table(matched: MatchedSets, genes: Sequence[str], given: Sequence[str | Path]) -> pd.DataFrame:
    """Rows of ``gene_sets.parquet``, so that a page can tell which genes carry a set without the set's file.

    Parameters
    ----------
    matched
        The sets as they were tested.
    genes
        Names of the measured genes, in the order of ``matched``.
    given
        The collections asked for, as :func:`cellprism.genesets.load` takes them.

    Returns
    -------
    pandas.DataFrame
        ``set``; ``collection``, see :func:`collections_of`; ``genes``, a list of the measured members.
    """
    names = np.asarray(genes, dtype=object)
    ptr, members = matched.membership.indptr, matched.membership.indices
    source = collections_of(matched.names, given)
    return pd.DataFrame(
        {
            "set": list(matched.names),
            "collection": [source[name] for name in matched.names],
            "genes": [names[members[a:b]].tolist() for a, b in pairwise(ptr)],
        }
    )


def collections_of(names: Sequence[str], given: Sequence[str | Path]) -> dict[str, str]:
    """Name the collection of each set, as finely as is known.

    Parameters
    ----------
    names
        Set names as :func:`cellprism.genesets.load` gives them for ``given``.
    given
        Collections.

    Returns
    -------
    dict
        Set name -> for bundled sets their kind and tissue ("cell types of blood"), for terms of an ontology their
        level-1 ancestor, else the name of the file or library; "" where none fits.
    """
    found: dict[str, str] = {}
    labels: list[str] = []
    for one in map(str, given):
        label = Path(one.partition("+")[0]).name.removesuffix(".gz").removesuffix(".gmt").removesuffix(".obo")
        labels.append(label)
        for name, group in _groups(one, label).items():
            found.setdefault(name, group)
    # A name that an earlier collection had taken carries its own collection behind it.
    marked = {name: next((s for s in labels if f" ({s}" in name), "") for name in names if name not in found}
    return {name: found.get(name) or marked.get(name, "") for name in names}


def _groups(one: str, label: str) -> dict[str, str]:
    if one == "bundled":
        table = bundled_sources()
        kinds = np.where(table["kind"] == "cell_type", "cell types", "processes")
        tissues = table["tissue"].map(
            lambda t: "" if t == "any" else " of several tissues" if t == "common" else f" of {t}"
        )
        return dict(zip(table["set"], kinds + tissues, strict=True))
    if "+" in one:
        terms = genesets.read_ontology(one.partition("+")[0]).terms
        names = terms["name"] + " (" + terms.index + ")"
        return dict(zip(names, terms["level1_name"].where(terms["level1_name"] != "", terms["name"]), strict=True))
    return dict.fromkeys(genesets.load(one), label)
