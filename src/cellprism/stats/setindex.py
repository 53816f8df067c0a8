"""Gene sets as positions among the genes that can be tested: one gene a symbol, sizes within bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cellprism.errors import InputError

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
    overlap
        Share of the distinct symbols in the given sets that were measured.
    """

    names: np.ndarray
    genes: np.ndarray
    ptr: np.ndarray
    members: np.ndarray
    overlap: float

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
        Refuse when fewer than this share of the sets' symbols are measured in every set's union.

    Raises
    ------
    InputError
        When the naming plainly differs or no set has a size within the bounds.
    """
    names = usable_symbols(symbols)
    best: dict[str, int] = {}
    for g in np.argsort(-expressed, kind="stable"):
        if names[g] and expressed[g] > 0:
            best.setdefault(names[g], int(g))
    genes = np.array(sorted(best.values()), dtype=np.int64)
    place = {names[g]: i for i, g in enumerate(genes)}
    union = {member for members in gene_sets.values() for member in members}
    found = len(union & place.keys())
    # of the smaller of the two lists: a panel of 500 genes cannot cover a collection of 20,000
    overlap = found / max(1, min(len(union), len(place)))
    if gene_sets and overlap < min_overlap:
        raise InputError(
            f"at least {min_overlap:.0%} of gene symbols must match the gene sets",
            f"{overlap:.1%} ({found} of {min(len(union), len(place))}); genes look like "
            f"{', '.join(sorted(place)[:3]) or 'nothing'}, set members like {', '.join(sorted(union)[:3]) or 'nothing'}",
            "give symbols of the same species and naming (`symbols=`, `--gene-symbols`)",
        )
    kept_names, kept = [], []
    for name, members in gene_sets.items():
        inside = sorted({place[m] for m in members if m in place})
        if set_size[0] <= len(inside) <= set_size[1] and len(inside) < genes.size:
            kept_names.append(name)
            kept.append(np.array(inside, dtype=np.int64))
    if gene_sets and not kept:
        raise InputError(
            f"at least one gene set must have {set_size[0]} to {set_size[1]} measured genes",
            f"{len(gene_sets)} sets, none of that size among {genes.size} genes with a symbol",
            "give other sets or other bounds (`set_size=`)",
        )
    ptr = np.concatenate([[0], np.cumsum([k.size for k in kept])]).astype(np.int64)
    members_flat = np.concatenate(kept) if kept else np.empty(0, dtype=np.int64)
    return SetIndex(np.array(kept_names, dtype=object), genes, ptr, members_flat, overlap)
