"""Named public libraries of gene sets, fetched once and kept on disk."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from urllib.parse import urlencode

import pooch

from cellprism.errors import InputError
from cellprism.genesets.gmt import read_gmt
from cellprism.genesets.kept import forget, held_to_first

__all__ = ["LIBRARIES", "cache_dir", "fetch_library", "is_library_name", "library_path"]

ENRICHR = "https://maayanlab.cloud/Enrichr/geneSetLibrary"
_TIMEOUT_S = 60

LIBRARIES = {
    "GO_Biological_Process_2023": "Gene Ontology, biological process",
    "GO_Molecular_Function_2023": "Gene Ontology, molecular function",
    "GO_Cellular_Component_2023": "Gene Ontology, cellular component",
    "MSigDB_Hallmark_2020": "MSigDB hallmark sets",
    "Reactome_2022": "Reactome pathways",
    "KEGG_2021_Human": "KEGG pathways, human",
    "KEGG_2019_Mouse": "KEGG pathways, mouse",
    "WikiPathway_2023_Human": "WikiPathways, human",
    "CellMarker_2024": "CellMarker cell types",
    "PanglaoDB_Augmented_2021": "PanglaoDB cell types",
    "Azimuth_2023": "Azimuth cell types",
    "Tabula_Sapiens": "Tabula Sapiens cell types",
    "TRRUST_Transcription_Factors_2019": "TRRUST targets of transcription factors",
}
"""Well-known libraries of the Enrichr collection; any other name of that collection is accepted as well."""

_SHORT = {
    "go_bp": "GO_Biological_Process_2023",
    "go_mf": "GO_Molecular_Function_2023",
    "go_cc": "GO_Cellular_Component_2023",
    "hallmark": "MSigDB_Hallmark_2020",
    "reactome": "Reactome_2022",
    "kegg": "KEGG_2021_Human",
    "wikipathways": "WikiPathway_2023_Human",
    "cellmarker": "CellMarker_2024",
    "panglaodb": "PanglaoDB_Augmented_2021",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.&-]*(?:_[A-Za-z0-9.&-]+)+")


def cache_dir() -> Path:
    """Return where fetched files are kept: ``$CELLPRISM_CACHE``, or the user's cache folder."""
    chosen = os.environ.get("CELLPRISM_CACHE")
    return Path(chosen) if chosen else Path(pooch.os_cache("cellprism"))


def is_library_name(name: str) -> bool:
    """Tell whether a word reads as the name of a library: a short name, or words joined by underscores."""
    return name.lower() in _SHORT or _NAME.fullmatch(name) is not None


def library_path(name: str) -> Path:
    """Return where a library is kept once it is fetched."""
    return cache_dir() / "genesets" / f"{_SHORT.get(name.lower(), name)}.gmt"


def fetch_library(name: str, *, url: str = ENRICHR) -> dict[str, list[str]]:
    """Return a named library, from disk where it was fetched before.

    Parameters
    ----------
    name
        A key of :data:`LIBRARIES`, any other library of Enrichr, or a short name: go_bp, go_mf, go_cc, hallmark,
        reactome, kegg, wikipathways, cellmarker, panglaodb.
    url
        Service to ask; it is called with ``mode=text`` and ``libraryName``.

    Returns
    -------
    dict
        Set name -> human (in libraries of mouse genes: upper-case) symbols.

    Raises
    ------
    InputError
        If the library is neither on disk nor to be had, with what to do without a network; or is another than at first.

    Notes
    -----
    Libraries belong to their authors, and some ask for a licence in commercial use (KEGG, MSigDB). The collection is
    described by Kuleshov et al. 2016, doi:10.1093/nar/gkw377.

    Examples
    --------
    Not run by the tests: it fetches from the network.

    >>> sets = prism.genesets.fetch_library("hallmark")  # doctest: +SKIP
    """
    name = _SHORT.get(name.lower(), name)
    path = library_path(name)
    fresh = not path.is_file()
    if fresh:
        _download(f"{url}?{urlencode({'mode': 'text', 'libraryName': name})}", path, name)
    held_to_first(path, fresh=fresh)
    try:
        return read_gmt(path)
    except InputError as error:
        forget(path)  # what came was a page that says so, not a library; the next try must ask again
        close = difflib.get_close_matches(name, LIBRARIES, n=2, cutoff=0.4)
        raise InputError(
            "a library must be known to the service",
            f"no gene sets under the name {name!r}",
            f"check the name{', such as ' + ' or '.join(close) if close else ''}",
        ) from error


def _download(url: str, path: Path, name: str) -> None:
    """Fetch one file into the cache, whole or not at all."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # it advises programmers to pin a hash, which says nothing to a user
    try:
        pooch.retrieve(
            url, known_hash=None, fname=path.name, path=path.parent, downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S)
        )
    except (OSError, ValueError) as error:
        # the reason without the address and the objects' own names, which no user can act on
        reason = type(error).__name__
        raise InputError(
            f"the library {name} must be on this machine or to be had from the network",
            f"no copy in {path.parent}, and fetching it failed ({reason})",
            "run once with a network, copy the file there from another machine, or use 'bundled' or a GMT file",
        ) from error
    finally:
        logger.setLevel(level)
