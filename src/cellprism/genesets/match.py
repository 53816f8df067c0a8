"""Gene sets against the measured genes: the membership matrix that every set test works on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from cellprism.errors import InputError
from cellprism.genesets.bundled import former_symbols
from cellprism.numeric import numbers_checked

__all__ = ["MatchedSets", "check_sets", "match_sets", "pointing_to_columns"]

_ENSEMBL = re.compile(r"ENS[A-Z]{0,4}[GT]\d{11}(\.\d+)?")
_ENTREZ = re.compile(r"\d+")
_TITLE_CASE = re.compile(r"[A-Z][a-z0-9.-]*[a-z][a-z0-9.-]*")
_N_EXAMPLES = 4
_ENOUGH = 10  # genes of sets in a column of names for it to be worth a hint


@dataclass(frozen=True)
class MatchedSets:
    """Gene sets as rows over the measured genes."""

    names: tuple[str, ...]
    """Sets of an acceptable size, in the order given."""
    membership: csr_array[np.float32]
    """(sets, genes): 1 where the gene is in the set."""
    sizes: NDArray[np.int64]
    """(sets,): measured genes in each set."""
    sizes_given: NDArray[np.int64]
    """(sets,): genes in each set as it was given."""
    background: NDArray[np.bool_]
    """(genes,): which genes count in set tests: those with a symbol, one for each symbol."""
    n_genes_given: int
    """Distinct genes in all sets given."""
    n_genes_measured: int
    """How many of them are measured."""
    n_former: int
    """How many of these are measured under a former name (or are given under one)."""
    n_too_small: int
    """Sets left out for too few measured genes."""
    n_too_large: int
    """Sets left out for too many measured genes."""

    @property
    def measured_share(self) -> float:
        """Share of the distinct genes of all sets given that are measured."""
        return self.n_genes_measured / self.n_genes_given

    def summary(self) -> str:
        """One line for people: how much of the sets is measured, and which were left out."""
        n_given = len(self.names) + self.n_too_small + self.n_too_large
        former = f", {self.n_former:,} by a former name" if self.n_former else ""
        return (
            f"{self.n_genes_measured:,} of {self.n_genes_given:,} set genes are measured "
            f"({self.measured_share:.0%}{former}); "
            f"{len(self.names):,} of {n_given:,} sets are tested ({self.n_too_small:,} too small, "
            f"{self.n_too_large:,} too large)"
        )


def check_sets(gene_sets: Any) -> None:
    """Refuse what is no mapping of names to lists of genes: a path, a table, one text in place of a list.

    Raises
    ------
    InputError
        Says what to give.
    """
    if not isinstance(gene_sets, Mapping):
        raise InputError(
            "gene sets are a mapping of names to lists of genes",
            repr(gene_sets) if isinstance(gene_sets, str) else type(gene_sets).__name__,
            "read files and collections with prism.genesets.load(...)",
        )
    for name, members in gene_sets.items():
        if isinstance(members, str | bytes) or not isinstance(members, Iterable):
            raise InputError("each gene set is a list of genes", f"{members!r} for {name!r}", f"give [{members!r}]")


@numbers_checked
def match_sets(
    gene_sets: Mapping[str, Iterable[str]],
    symbols: Sequence[str | None] | NDArray[np.object_],
    min_size: int = 5,
    max_size: int = 500,
    min_overlap: float = 0.2,
    *,
    former: Mapping[str, str] | None = None,
) -> MatchedSets:
    """Find the measured genes of each set.

    Parameters
    ----------
    gene_sets
        Set name -> members.
    symbols
        (genes,) symbol of each measured gene; None or an empty one where there is none. Of several genes with one
        symbol the first counts; :func:`cellprism.data.symbols.clean_symbols` blanks all but a better chosen one.
    min_size, max_size
        Fewest and most *measured* genes of a set that is kept.
    min_overlap
        Refused when both the share of set genes that are measured and the share of measured symbols that are in a
        set lie below it. (Either alone may be low in sound data: a panel of 300 genes covers little of an ontology,
        and one small set covers few of the genes.)
    former
        Former symbol -> present one; :func:`cellprism.genesets.former_symbols` where not given, ``{}`` for none. A gene
        that is not measured under its name is looked for under its other one, so that data annotated years ago meet
        sets of today, and the other way.

    Returns
    -------
    MatchedSets
        Membership, sizes, the background, and what was left out.

    Raises
    ------
    InputError
        If there are no sets, the names hardly overlap (with the likely reason and examples of both namings), or no
        set has an acceptable size.

    Notes
    -----
    Names are otherwise compared as they are. Matching without regard to case would join mouse genes to human sets without
    anybody having chosen orthologs, so it is not done; the message says when that is what the data look like.

    Examples
    --------
    >>> matched = prism.genesets.match_sets(prism.genesets.bundled(), genes)
    >>> "are measured" in matched.summary()
    True
    """
    check_sets(gene_sets)
    if min_size < 1 or max_size < min_size:
        raise InputError("set sizes need 1 <= min_size <= max_size", f"{min_size} and {max_size}", "change them")
    names = list(gene_sets)
    lists = [list(members) for members in gene_sets.values()]
    owner = np.repeat(np.arange(len(names)), [len(members) for members in lists])
    flat = np.empty(len(owner), dtype=object)
    flat[:] = list(chain.from_iterable(lists))
    # one number a distinct gene, so that all that follows is done on arrays
    number, distinct = pd.factorize(flat, use_na_sentinel=False)
    given: list[str] = distinct.tolist()
    if not given:
        raise InputError("there must be a gene set with a member", f"{len(names)} sets without any", "give gene sets")

    column: dict[str, int] = {}
    for index, symbol in enumerate(symbols):
        if isinstance(symbol, str) and symbol:
            column.setdefault(symbol, index)
    former = former_symbols() if former is None else former
    renamed: dict[str, int] = {}
    for symbol, index in column.items():
        renamed.setdefault(former.get(symbol, symbol), index)
    place = np.array([column.get(g, renamed.get(former.get(g, g), -1)) for g in given], dtype=np.int64)
    n_measured = int((place >= 0).sum())
    if n_measured < min_overlap * min(len(given), len(column)) or n_measured == 0:
        raise _no_overlap(given, list(column), n_measured, min_overlap)

    entries = np.unique(owner * len(given) + number)  # a gene counts once in a set
    sizes_given = np.bincount(entries // len(given), minlength=len(names))
    columns = place[entries % len(given)]
    entries = np.unique((entries // len(given) * len(symbols) + columns)[columns >= 0])
    row, columns = np.divmod(entries, len(symbols))
    sizes = np.bincount(row, minlength=len(names))
    kept = (sizes >= min_size) & (sizes <= max_size)
    if not kept.any():
        largest = names[int(sizes.argmax())]
        raise InputError(
            f"a set needs {min_size} to {max_size} measured genes to be tested",
            f"none among {len(names)} (the largest, {largest!r}, has {sizes.max()})",
            "give sets with more of the measured genes, or (in Python) other limits of size",
        )
    background = np.zeros(len(symbols), dtype=bool)
    background[list(column.values())] = True
    indices = columns[kept[row]]
    indptr = np.concatenate(([0], np.cumsum(sizes[kept])))
    membership = csr_array(
        (np.ones(len(indices), dtype=np.float32), indices, indptr),
        shape=(int(kept.sum()), len(symbols)),
        dtype=np.float32,
    )
    return MatchedSets(
        names=tuple(name for name, keep in zip(names, kept, strict=True) if keep),
        membership=membership,
        sizes=sizes[kept],
        sizes_given=sizes_given[kept],
        background=background,
        n_genes_given=len(given),
        n_genes_measured=n_measured,
        n_former=n_measured - sum(gene in column for gene in given),
        n_too_small=int((sizes < min_size).sum()),
        n_too_large=int((sizes > max_size).sum()),
    )


class _NoOverlap(InputError):
    """Sets and genes that are named otherwise; carries the genes of the sets."""

    given: frozenset[str] = frozenset()


@contextmanager
def pointing_to_columns(tables: Iterable[pd.DataFrame]) -> Iterator[None]:
    """Where sets and genes are named otherwise, tell which column of these tables (``var``) has the names of the sets."""
    try:
        yield
    except _NoOverlap as error:
        columns = {
            str(name): len(error.given.intersection(table[name].dropna().astype(str)))
            for table in tables
            for name in table.columns
            if not pd.api.types.is_numeric_dtype(table[name])
        }
        best = max(columns, key=columns.__getitem__, default="")
        if not best or columns[best] < _ENOUGH:
            raise
        said = f"give `gene_symbols={best!r}`: {columns[best]:,} genes of the sets are in that column of var"
        raise InputError(error.rule, error.met, said) from None


def _no_overlap(given: list[str], measured: list[str], n_shared: int, min_overlap: float) -> InputError:
    """The error, which knows the genes of the sets."""
    error = _NoOverlap(*_how_named(given, measured, n_shared, min_overlap))
    error.given = frozenset(given)
    return error


def _how_named(given: list[str], measured: list[str], n_shared: int, min_overlap: float) -> tuple[str, str, str]:
    """Say how both sides name their genes and what most likely went wrong."""
    rule = f"at least {min_overlap:.0%} of the genes of the sets must be measured under the same name"
    counts = f"{n_shared} of {len(given):,} set genes among {len(measured):,} named genes"
    met = f"{counts} (measured: {_examples(measured)}; sets: {_examples(given)})"
    if not measured:
        return rule, met, "give the column that holds the gene symbols: `gene_symbols=COL`"
    ours, theirs = _naming(measured), _naming(given)
    if ours == theirs:
        remedy = "use sets of the same organism and naming as the data, or give matching names: `gene_symbols=COL`, or a table of names, `id_table=`"
    elif ours == "Ensembl ids":
        remedy = f"the genes are named by Ensembl ids and the sets by {theirs}: give the symbols, `gene_symbols=COL`, or a table of names, `id_table=`"
    elif theirs in {"Ensembl ids", "Entrez numbers"}:
        remedy = f"the sets are named by {theirs} and the genes by {ours}: use sets of gene symbols"
    elif ours == "mouse-like symbols":
        remedy = (
            "the genes look like mouse symbols and the sets like human ones, which are not matched by ignoring case: "
            "give the human orthologs, `gene_symbols=COL` or `id_table=`, or use mouse sets"
        )
    elif theirs == "mouse-like symbols":
        remedy = "the sets look like mouse symbols and the genes like human ones: use human sets"
    else:
        remedy = f"the genes are named by {ours} and the sets by {theirs}: give the symbols, `gene_symbols=COL`, or a table of names, `id_table=`"
    return rule, met, remedy


def _naming(names: list[str]) -> str:
    """Name the convention that most of the names follow."""
    kinds = (("Ensembl ids", _ENSEMBL), ("Entrez numbers", _ENTREZ), ("mouse-like symbols", _TITLE_CASE))
    for kind, pattern in kinds:
        if sum(pattern.fullmatch(name) is not None for name in names) > len(names) / 2:
            return kind
    return "gene symbols"


def _examples(names: list[str]) -> str:
    """Show the first few names."""
    return ", ".join(names[:_N_EXAMPLES]) + (", …" if len(names) > _N_EXAMPLES else "") if names else "none"
