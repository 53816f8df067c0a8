"""Gene identifiers: Ensembl ids and symbols, mouse and human, by a table that the user gives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.genesets.tables import read_table

__all__ = ["MappedIds", "id_table", "map_ids", "map_sets", "read_id_table"]

_VERSIONED = re.compile(r"(ENS[A-Z]{0,4}[GT]\d{11})\.\d+")


@dataclass(frozen=True)
class MappedIds:
    """Names of genes in another naming."""

    names: NDArray[np.object_]
    """(genes,) the new name of each gene, "" where the table has none."""
    n_mapped: int
    """Genes with a new name."""
    n_unmapped: int
    """Genes without."""
    n_ambiguous: int
    """Mapped genes for which the table had several names, so that one was chosen."""

    def summary(self) -> str:
        """One line for people."""
        total = self.n_mapped + self.n_unmapped
        return f"{self.n_mapped:,} of {total:,} genes are mapped ({self.n_ambiguous:,} had several names)"


def read_id_table(path: str | Path, source: str, target: str) -> dict[str, list[str]]:
    """Read two columns of a table as a mapping, such as a BioMart export or an ortholog table.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv`` or ``.txt``, also gzipped, or ``.parquet``.
    source, target
        Columns with the names to map from and to.

    Returns
    -------
    dict
        Source name -> its target names, in the order of the table.

    Raises
    ------
    InputError
        If the file cannot be read, or lacks one of the columns.

    Examples
    --------
    >>> pd.DataFrame({"mouse": ["Cd79a"], "human": ["CD79A"]}).to_csv("orthologs.csv", index=False)
    >>> prism.genesets.read_id_table("orthologs.csv", "mouse", "human")
    {'Cd79a': ['CD79A']}
    """
    return id_table(read_table(Path(path), "a table of names"), source, target)


def id_table(table: pd.DataFrame, source: str | None, target: str) -> dict[str, list[str]]:
    """Take a mapping from two columns of a frame, such as ``adata.var``.

    Parameters
    ----------
    table
        A row a pair of names; missing and empty ones are left out.
    source, target
        Columns with the names to map from and to; ``source=None`` is the frame's index.

    Returns
    -------
    dict
        Source name -> its target names, in the order of the table.

    Raises
    ------
    InputError
        If a column is absent.

    Examples
    --------
    >>> prism.genesets.id_table(pd.DataFrame({"symbol": ["CD79A"]}, index=["ENSG00000105369"]), None, "symbol")
    {'ENSG00000105369': ['CD79A']}
    """
    absent = [column for column in (source, target) if column is not None and column not in table.columns]
    if absent:
        raise InputError(
            "the table of names must have both columns",
            f"no column {absent[0]!r}",
            f"choose from {', '.join(map(repr, table.columns[:20]))}",
        )
    keys = table.index if source is None else table[source]
    pairs = pd.DataFrame({"source": list(keys), "target": list(table[target])}, dtype=object).dropna()
    mapping: dict[str, list[str]] = {}
    for old, new in pairs.astype(str).apply(lambda column: column.str.strip()).itertuples(index=False):
        if old and new and new not in mapping.setdefault(old, []):
            mapping[old].append(new)
    return {old: new for old, new in mapping.items() if new}


def map_ids(genes: Sequence[str] | NDArray[np.object_], table: Mapping[str, str | Sequence[str]]) -> MappedIds:
    """Name genes by a table: Ensembl ids by symbols, mouse symbols by human ones, or the other way.

    Parameters
    ----------
    genes
        (genes,) names to map. The version of an Ensembl id (``ENSG00000139618.17``) is ignored where the table has
        none.
    table
        Old name -> new name or names, as :func:`read_id_table` gives it.

    Returns
    -------
    MappedIds
        Of several new names the one that equals the old one but for case is chosen (the ortholog of that name), else
        the first of the table. Several genes may get one name: :func:`cellprism.data.symbols.clean_symbols` decides
        which of them counts.

    Raises
    ------
    InputError
        If no gene is in the table; the message shows names of both.

    Examples
    --------
    >>> list(prism.genesets.map_ids(["ENSG00000105369.12", "unknown"], {"ENSG00000105369": "CD79A"}).names)
    ['CD79A', '']
    """
    lists = _lists(table)
    names = np.full(len(genes), "", dtype=object)
    n_ambiguous = 0
    for index, gene in enumerate(genes):
        found = _look_up(str(gene), lists)
        if found:
            same = [name for name in found if name.casefold() == str(gene).casefold()]
            names[index] = (same or found)[0]
            n_ambiguous += len(found) > 1
    n_mapped = int((names != "").sum())
    if n_mapped == 0:
        raise InputError(
            "at least one gene must be in the table of names",
            f"none of {len(genes):,} (genes: {_examples(genes)}; table: {_examples(lists)})",
            "choose the column of the table that names genes as the data do",
        )
    return MappedIds(names, n_mapped, len(genes) - n_mapped, n_ambiguous)


def map_sets(
    gene_sets: Mapping[str, Iterable[str]], table: Mapping[str, str | Sequence[str]]
) -> tuple[dict[str, list[str]], MappedIds]:
    """Name the members of gene sets by a table, such as human sets for mouse data.

    Parameters
    ----------
    gene_sets
        Set name -> members.
    table
        Old name -> new name or names. All new names of a member enter the set, as each ortholog belongs to it.

    Returns
    -------
    sets : dict
        The sets in the new naming; those without a mapped member are left out.
    mapped : MappedIds
        Counts over the distinct members of all sets, for printing.

    Raises
    ------
    InputError
        If no member is in the table.

    Examples
    --------
    >>> prism.genesets.map_sets({"B cell": ["CD79A", "MS4A1"]}, {"CD79A": "Cd79a", "MS4A1": "Ms4a1"})[0]
    {'B cell': ['Cd79a', 'Ms4a1']}
    """
    lists = _lists(table)
    members = {name: list(genes) for name, genes in gene_sets.items()}
    mapped = map_ids(list(dict.fromkeys(gene for genes in members.values() for gene in genes)), lists)
    sets = {
        name: list(dict.fromkeys(new for gene in genes for new in _look_up(gene, lists)))
        for name, genes in members.items()
    }
    return {name: genes for name, genes in sets.items() if genes}, mapped


def _lists(table: Mapping[str, str | Sequence[str]]) -> dict[str, list[str]]:
    """Bring both forms of a table to one."""
    return {old: [new] if isinstance(new, str) else list(new) for old, new in table.items() if len(new)}


def _look_up(gene: str, table: Mapping[str, list[str]]) -> list[str]:
    """Find the new names of a gene, if need be without the version of its Ensembl id."""
    found = table.get(gene)
    if found is None and (versioned := _VERSIONED.fullmatch(gene)):
        found = table.get(versioned[1])
    return found or []


def _examples(names: Iterable[object]) -> str:
    """Show the first few names."""
    return ", ".join(str(name) for name, _ in zip(names, range(4), strict=False)) or "none"
