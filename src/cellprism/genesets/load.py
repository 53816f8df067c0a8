"""Gene sets by name or path, as users give them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from cellprism.data.text import cut_notes
from cellprism.errors import InputError
from cellprism.genesets.annotations import read_annotations
from cellprism.genesets.bundled import bundled
from cellprism.genesets.gmt import read_gmt
from cellprism.genesets.libraries import LIBRARIES, fetch_library, is_library_name, library_path
from cellprism.genesets.networks import NETWORKS, fetch_network, network_path, signed_sets
from cellprism.genesets.ontology import ontology_sets, read_ontology

__all__ = ["files_behind", "load"]

# PROGENy weighs thousands of genes for each pathway; its authors advise the strongest hundred or so.
_TOP = {"progeny": 100}


def load(
    names_or_paths: str | Path | Iterable[str | Path], say: Callable[[str], None] = lambda _: None
) -> dict[str, list[str]]:
    """Join gene sets from files and named collections.

    Parameters
    ----------
    names_or_paths
        One or several of:

        - ``"bundled"``, the collection of this package;
        - a GMT file, plain or gzipped;
        - the name of a library, such as ``"GO_Biological_Process_2023"`` (:data:`cellprism.genesets.LIBRARIES`),
          fetched on first use;
        - ``"collectri"`` or ``"progeny"``, as sets of induced and of repressed genes;
        - an ontology and its annotations joined by a plus sign: ``"go-basic.obo+goa_human.gaf.gz"``.

    say
        Called with a line where annotations were left out on the way, or counted for another term, or a file may have been cut.

    Returns
    -------
    dict
        Set name -> members, in the order given. Where two collections name different sets alike, the later one gets
        its collection behind the name: ``Apoptosis (kegg)``. The same set given twice is kept once.

    Raises
    ------
    InputError
        If nothing is given, one of the names is neither a file nor a known collection, or a collection cannot be had.

    Examples
    --------
    >>> sets = prism.genesets.load(["bundled", "my_sets.gmt"])
    >>> sets["B cell"][:2] == prism.genesets.bundled()["B cell"][:2]
    True
    """
    given = [names_or_paths] if isinstance(names_or_paths, str | Path) else list(names_or_paths)
    if not given:
        raise InputError("there must be a collection of gene sets", "none", "give a GMT file or 'bundled'")
    joined: dict[str, list[str]] = {}
    for one in given:
        for name, members in _collection(one, say).items():
            if joined.get(name) == members:
                continue
            joined[name if name not in joined else _free_name(name, _label(one), joined)] = members
    return joined


def files_behind(names_or_paths: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    """Return the files that :func:`load` reads for these, so that a run can record what it was made from.

    Parameters
    ----------
    names_or_paths
        As :func:`load` takes them, after it has fetched what it had to.

    Returns
    -------
    dict
        What was given (both parts of an ontology apart) -> the file. ``"bundled"`` has none: the version of the
        package says what it holds.

    Examples
    --------
    >>> list(prism.genesets.files_behind(["bundled", "my_sets.gmt"]))
    ['my_sets.gmt']
    """
    given = [names_or_paths] if isinstance(names_or_paths, str | Path) else list(names_or_paths)
    found: dict[str, Path] = {}
    for one in map(str, given):
        if Path(one).is_file():
            found[one] = Path(one)
        elif one in NETWORKS:
            found[one] = network_path(one)
        elif is_library_name(one):
            found[one] = library_path(one)
        elif "+" in one:
            found |= {part: Path(part) for part in one.split("+", 1)}
    return {name: path for name, path in found.items() if path.is_file()}


def _collection(one: str | Path, say: Callable[[str], None]) -> dict[str, list[str]]:
    """Return the sets behind one name or path."""
    name = str(one)
    if name == "bundled":
        return bundled()
    if Path(name).exists() or name.endswith((".gmt", ".gmt.gz")):
        sets = read_gmt(name)
        for note in cut_notes([name]):
            say(note)
        return sets
    ontology, plus, annotations = name.partition("+")
    if plus and ontology.removesuffix(".gz").endswith(".obo"):
        read = read_annotations(annotations)
        found = ontology_sets(read_ontology(ontology), read)
        if read.n_lost or read.cut:
            say(f"{Path(annotations).name}: {read.summary()}")
        for note in cut_notes([ontology]):
            say(note)
        if found.n_unknown or found.n_replaced:
            say(f"{Path(ontology).name}: {found.summary()}")
        return found.sets
    if name in NETWORKS:
        return signed_sets(fetch_network(name), NETWORKS[name], _TOP.get(name))
    if isinstance(one, str) and is_library_name(name):
        return fetch_library(name)
    raise InputError(
        "gene sets are a GMT file or the name of a collection",
        f"{name!r}, which is neither",
        f"check the path, or give 'bundled' or a library such as {', '.join(list(LIBRARIES)[:4])}",
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
