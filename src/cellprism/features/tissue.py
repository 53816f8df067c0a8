"""Which tissues a data set shows, so that a cell type of another tissue names no feature."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from cellprism.genesets import bundled, bundled_sources

__all__ = ["SetKind", "home_tissues", "set_kinds"]

ANY = ""
_EVERYWHERE = {"any", "common"}
_BLOOD = {"blood", "marrow", "lymphoid", "thymus"}
_AT_HOME = 0.25


class SetKind(tuple[str, bool]):
    """Tissue of a set ("" for every tissue or where it is not known), and whether it is a process."""

    @property
    def tissue(self) -> str:
        """The tissue."""
        return self[0]

    @property
    def process(self) -> bool:
        """Whether it says what cells do, rather than what they are."""
        return self[1]


def set_kinds(gene_sets: Mapping[str, Sequence[str]] | None) -> dict[str, SetKind]:
    """Kinds of those sets that are sets of the bundled collection, under the same name with the same members."""
    ours = bundled()
    table = bundled_sources()
    out: dict[str, SetKind] = {}
    for name, kind, tissue in zip(table["set"], table["kind"], table["tissue"], strict=True):
        if gene_sets is not None and name in gene_sets and list(gene_sets[name]) == ours[name]:
            place = ANY if tissue in _EVERYWHERE else "blood" if tissue in _BLOOD else tissue
            out[name] = SetKind((place, kind == "process"))
    return out


def home_tissues(best: Iterable[str]) -> set[str]:
    """Tissues of at least a quarter of the features' best cell types (of those that have a tissue).

    Parameters
    ----------
    best
        Tissue of the best cell-type set of each feature that has one; "" for cell types of every tissue.

    Returns
    -------
    The tissues, with "" in it.
    """
    votes = Counter(tissue for tissue in best if tissue)
    total = sum(votes.values())
    return {ANY} | {tissue for tissue, n in votes.items() if n >= _AT_HOME * total}
