"""The collection of gene sets that ships with the package, curated from the literature."""

from __future__ import annotations

from importlib.resources import as_file, files

import pandas as pd

from cellprism.genesets.gmt import read_gmt

__all__ = ["bundled", "bundled_sources"]


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
    """
    with as_file(files(__name__) / "sources.tsv") as path:
        return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
