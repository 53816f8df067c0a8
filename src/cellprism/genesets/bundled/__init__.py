"""The collection of gene sets that ships with the package, curated from the literature."""

from __future__ import annotations

from importlib.resources import as_file, files

import pandas as pd

from cellprism.genesets.gmt import read_gmt

__all__ = ["bundled", "bundled_sources", "former_symbols"]


def bundled() -> dict[str, list[str]]:
    """Return the bundled human gene sets: cell types of blood, marrow and common tissues, and processes.

    Returns
    -------
    dict
        Set name -> HGNC symbols. A new dictionary each time, so it may be changed.

    Notes
    -----
    The members were chosen for this package from what the literature says of each cell type or process. They are
    meant for naming, not as complete lists of a pathway. :func:`bundled_sources` tells where to read about each.

    Examples
    --------
    >>> "B cell" in prism.genesets.bundled()
    True
    """
    with as_file(files(__name__) / "cellprism_sets.gmt") as path:
        return read_gmt(path)


def bundled_sources() -> pd.DataFrame:
    """Return a row for each bundled set, in the same order, with where to read about it.

    Returns
    -------
    pandas.DataFrame
        Columns ``set``, ``kind`` ("cell_type" or "process"), ``tissue``, ``description``, ``source`` (DOI) and
        ``title`` (author, year, short title).

    Examples
    --------
    >>> len(prism.genesets.bundled_sources()) == len(prism.genesets.bundled())
    True
    """
    with as_file(files(__name__) / "sources.tsv") as path:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def former_symbols() -> dict[str, str]:
    """Return symbols that were approved for a human gene before, and the one that is approved now.

    Returns
    -------
    dict
        Former symbol -> present one. Only renames that leave no doubt: the former symbol names no other gene. Not all
        of HGNC, but the families that were renamed as a whole (histones, aminoacyl-tRNA synthetases, ATP synthase)
        and single genes that occur in common sets.

    Examples
    --------
    >>> len(prism.genesets.former_symbols()) > 100
    True
    """
    with as_file(files(__name__) / "former_symbols.tsv") as path:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    return dict(zip(table["former"], table["symbol"], strict=True))
