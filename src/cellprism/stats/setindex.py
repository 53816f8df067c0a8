"""Gene sets as positions among the genes that can be tested: one gene a symbol, sizes within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cellprism.errors import InputError
from cellprism.genesets.match import match_sets

__all__ = ["SetIndex", "index_sets", "usable_symbols"]

_NOT_A_SYMBOL = {"", "nan", "none", "na", "<na>"}


@dataclass(frozen=True)
class SetIndex:
    """Gene sets over a background of genes.

    Attributes
    ----------
    names
        Set names.
    genes
        Positions (in the gene axis of the expression) of the background: one gene a symbol.
    ptr, members
        Members of set ``s`` are ``members[ptr[s]:ptr[s + 1]]``, positions within ``genes``.
    measured
        Share of the distinct symbols in the given sets that were measured.
    """

    names: np.ndarray
    genes: np.ndarray
    ptr: np.ndarray
    members: np.ndarray
    measured: float

    @property
    def sizes(self) -> np.ndarray:
        """(sets,) number of measured genes."""
        return np.diff(self.ptr)


def usable_symbols(symbols: Sequence[str]) -> np.ndarray:
    """Symbols as strings, with "nan", "None" and blanks turned into ""."""
    clean = np.array(["" if s is None else str(s).strip() for s in symbols], dtype=object)
    return np.array(["" if s.lower() in _NOT_A_SYMBOL else s for s in clean], dtype=object)


def index_sets(
    gene_sets: Mapping[str, Sequence[str]],
    symbols: Sequence[str],
    expressed: np.ndarray,
    set_size: tuple[int, int] = (5, 500),
    min_overlap: float = 0.2,
) -> SetIndex:
    """Match set members to measured symbols.

    Parameters
    ----------
    gene_sets
        Name -> symbols.
    symbols
        One symbol a gene, "" where there is none. Of genes with the same symbol the one expressed in most cells
        stands for it.
    expressed
        (genes,) number of cells that express each gene; genes seen in no cell are not part of the background.
    set_size
        Smallest and largest number of measured genes for a set to be tested.
    min_overlap
        Refuse when a smaller share of symbols matches: of the sets' symbols or of the measured ones, whichever are
        fewer (a panel of 500 genes cannot cover a collection of 20,000).

    Raises
    ------
    InputError
        When the naming plainly differs or no set has a size within the bounds.

    Examples
    --------
    >>> from cellprism.stats.setindex import index_sets
    >>> found = index_sets(sets, genes, (expression > 0).sum(axis=0))
    >>> len(found.names) == len(found.sizes)
    True
    """
    names = usable_symbols(symbols)
    best: dict[str, int] = {}
    for g in np.argsort(-expressed, kind="stable"):
        if names[g] and expressed[g] > 0:
            best.setdefault(names[g], int(g))
    genes = np.array(sorted(best.values()), dtype=np.int64)
    counted = np.full(names.size, "", dtype=object)
    counted[genes] = names[genes]
    matched = match_sets(gene_sets, counted, *set_size, min_overlap)
    # A set of all genes has nothing to be held against.
    kept = np.flatnonzero(matched.sizes < genes.size)
    if not kept.size:
        raise InputError(
            "a gene set is tested against the genes outside it",
            f"no set that leaves out any of the {genes.size} genes with a symbol",
            "give other sets, or the symbols of more genes",
        )
    rows = matched.membership[kept]
    return SetIndex(
        np.array(matched.names, dtype=object)[kept],
        genes,
        rows.indptr.astype(np.int64),
        np.searchsorted(genes, rows.indices).astype(np.int64),
        matched.measured_share,
    )
