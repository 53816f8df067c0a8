"""Gene sets by name or path, as users give them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cellprism.errors import InputError
from cellprism.genesets.bundled import bundled
from cellprism.genesets.gmt import read_gmt

__all__ = ["load"]


def load(names_or_paths: str | Path | Iterable[str | Path]) -> dict[str, list[str]]:
    """Join gene sets from files and named collections.

    Parameters
    ----------
    names_or_paths
        One or several of: ``"bundled"``, or a GMT file.

    Returns
    -------
    dict
        Set name -> members, in the order given. Where two collections name different sets alike, the later one gets
        its collection behind the name: ``Apoptosis (kegg)``. The same set given twice is kept once.

    Raises
    ------
    InputError
        If nothing is given, or one of the names is neither a file nor a known collection.
    """
    given = [names_or_paths] if isinstance(names_or_paths, str | Path) else list(names_or_paths)
    if not given:
        raise InputError("there must be a collection of gene sets", "none", "give a GMT file or 'bundled'")
    joined: dict[str, list[str]] = {}
    for one in given:
        for name, members in _collection(one).items():
            if joined.get(name) == members:
                continue
            joined[name if name not in joined else _free_name(name, _label(one), joined)] = members
    return joined


def _collection(one: str | Path) -> dict[str, list[str]]:
    """Return the sets behind one name or path."""
    if one == "bundled":
        return bundled()
    if Path(one).exists() or Path(one).suffix in {".gmt", ".gz"}:
        return read_gmt(one)
    raise InputError(
        "gene sets are a GMT file or the name of a collection",
        f"{str(one)!r}, which is neither",
        "check the path, or give 'bundled'",
    )


def _label(one: str | Path) -> str:
    """Name a collection as briefly as it can be."""
    return Path(one).name.removesuffix(".gz").removesuffix(".gmt")


def _free_name(name: str, label: str, taken: dict[str, list[str]]) -> str:
    """Return a name that is not taken yet."""
    candidate = f"{name} ({label})"
    number = 2
    while candidate in taken:
        candidate = f"{name} ({label} {number})"
        number += 1
    return candidate
