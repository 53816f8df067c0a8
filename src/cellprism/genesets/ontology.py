"""Ontologies from OBO files: terms, their levels, and gene sets by the true-path rule."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from cellprism.data.text import read_text
from cellprism.errors import InputError
from cellprism.genesets.annotations import Annotations
from cellprism.numeric import numbers_checked

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["Ontology", "OntologySets", "ontology_sets", "read_ontology"]

_SHOWN = 5


@dataclass(frozen=True)
class Ontology:
    """Terms of an ontology and the relations along which annotations are inherited."""

    terms: pd.DataFrame
    """Index: term id. Columns ``name``; ``namespace``; ``level`` (fewest is_a steps from a root, 0 for a root);
    ``level1`` (id of the ancestor just below the root, the nearest one where there are several; the term itself at
    level 1, "" for a root) and ``level1_name``."""
    graph: nx.DiGraph[str]
    """An edge from each term to each of its parents along the chosen relations, without cycles."""
    replaced: dict[str, str]
    """Alternative or obsolete id -> the id that took its place."""


@dataclass(frozen=True)
class OntologySets:
    """Gene sets of an ontology and what is known of their terms."""

    sets: dict[str, list[str]]
    """``name (id)`` -> genes annotated to the term or to a term below it, sorted."""
    terms: pd.DataFrame
    """A row a set: ``set``, ``term``, ``name``, ``namespace``, ``level``, ``level1``, ``level1_name``, ``n_direct``
    (genes annotated to the term itself), ``n_genes`` (genes of the set)."""
    n_used: int
    """Annotations that reached a term."""
    n_unknown: int
    """Annotations to terms that the ontology does not hold (obsolete ones without successor, or of another ontology)."""
    n_replaced: int = 0
    """Annotations that were counted for the term that took the place of their own."""
    unknown: tuple[str, ...] = ()
    """Some of the terms that are not held."""

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{self.n_used:,} annotations give {len(self.sets):,} sets; "
            f"{self.n_unknown:,} annotations are to terms that the ontology does not hold"
            + (f" ({', '.join(self.unknown)}{', …' if len(self.unknown) == _SHOWN else ''})" if self.unknown else "")
            + (f", {self.n_replaced:,} to terms that others took the place of" if self.n_replaced else "")
        )


def read_ontology(path: str | Path, relations: Collection[str] = ("is_a", "part_of")) -> Ontology:
    """Read an OBO file, plain or compressed.

    Parameters
    ----------
    path
        Such as ``go-basic.obo``. Obsolete terms are left out; what says ``replaced_by`` counts for that term.
    relations
        Relations along which a gene of the child counts as a gene of the parent. For the Gene Ontology is_a and
        part_of are safe for this, regulates is not (Gene Ontology documentation, "Ontology relations").

    Returns
    -------
    Ontology
        Terms with their levels, and the graph of parents.

    Raises
    ------
    InputError
        If obonet is not installed, the file cannot be read or holds no term, or the relations form a cycle.

    Examples
    --------
    >>> ontology = prism.genesets.read_ontology("go-basic.obo")
    >>> type(ontology).__name__
    'Ontology'
    """
    try:
        import networkx as nx
        import obonet
    except ImportError as error:
        raise InputError(
            "reading OBO files needs the package obonet",
            f"{error.name!r} not installed",
            "pip install 'cellprism[genesets]'",
        ) from error

    path = Path(path)
    if not path.is_file():
        raise InputError("an ontology file must exist", f"no file {path}", "check the path")
    text = read_text(path, "an ontology file")
    try:
        full = obonet.read_obo(io.StringIO(text), ignore_obsolete=False)
    except (OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise InputError(
            "an ontology must be a file in OBO format", f"{path}: {error!r}", "check or fetch the file again"
        ) from error
    known = {term: data for term, data in full.nodes(data=True) if "name" in data}
    named = {term: data for term, data in known.items() if data.get("is_obsolete") != "true"}
    if not named:
        raise InputError("an ontology must hold a term", f"none in {path}", "give an OBO file")

    is_a: nx.DiGraph[str] = nx.DiGraph()
    graph: nx.DiGraph[str] = nx.DiGraph()
    for part in (is_a, graph):
        part.add_nodes_from(named)
    for child, parent, relation in full.edges(keys=True):
        if child in named and parent in named:
            if relation == "is_a":
                is_a.add_edge(child, parent)
            if relation in relations:
                graph.add_edge(child, parent)
    for part in (is_a, graph):
        if not nx.is_directed_acyclic_graph(part):
            raise InputError(
                "the relations of an ontology must not form a cycle",
                f"{[child for child, _ in nx.find_cycle(part)][:5]} in {path}",
                "use a release without cycles, such as go-basic.obo, or fewer relations",
            )
    default = full.graph.get("default-namespace", "")  # a list in some versions of the parser, a word in others
    default = default if isinstance(default, str) else next(iter(default), "")
    terms = pd.DataFrame(
        {
            "name": [data["name"] for data in named.values()],
            "namespace": [data.get("namespace", default) for data in named.values()],
        },
        index=pd.Index(named, name="term", dtype=object),
    )
    level, level1 = _levels(is_a)
    terms["level"] = [level[term] for term in named]
    terms["level1"] = [level1[term] for term in named]
    terms["level1_name"] = [named[level1[term]]["name"] if level1[term] else "" for term in named]
    replaced = {other: term for term, data in named.items() for other in data.get("alt_id", []) if other not in named}
    replaced |= _successors({term: data for term, data in known.items() if term not in named}, replaced, set(named))
    return Ontology(terms, graph, replaced)


def _successors(obsolete: dict[str, Any], replaced: dict[str, str], held: set[str]) -> dict[str, str]:
    """Obsolete id -> the one term that took its place, by way of others where these went too."""
    steps = {term: data["replaced_by"][0] for term, data in obsolete.items() if len(data.get("replaced_by", [])) == 1}
    found = {}
    for term in steps:
        seen, now = {term}, steps[term]
        while now not in held and now not in seen and (now in steps or now in replaced):
            seen.add(now)
            now = steps.get(now) or replaced[now]
        if now in held:
            found[term] = now
    return found


@numbers_checked
def ontology_sets(
    ontology: Ontology,
    annotations: Annotations,
    *,
    namespace: str | Iterable[str] | None = None,
    min_level: int = 1,
    max_level: int | None = None,
    min_genes: int = 1,
) -> OntologySets:
    """Turn annotations into gene sets by the true-path rule: a gene of a term is a gene of all terms above it.

    Parameters
    ----------
    ontology
        From :func:`read_ontology`.
    annotations
        From :func:`cellprism.genesets.read_annotations`.
    namespace
        Keep the terms of these only, such as ``"biological_process"``.
    min_level, max_level
        Keep the terms of these levels only; 1 leaves out the roots, which hold every gene.
    min_genes
        Keep terms with at least so many genes.

    Returns
    -------
    OntologySets
        The sets, in the order of the ontology, and their terms.

    Raises
    ------
    InputError
        If the namespace is unknown, or no set comes out.

    Examples
    --------
    >>> ontology = prism.genesets.read_ontology("go-basic.obo")
    >>> found = prism.genesets.ontology_sets(ontology, prism.genesets.read_annotations("goa_human.gaf"))
    >>> "immune response (GO:0006955)" in found.sets
    True
    """
    import networkx as nx

    terms = ontology.terms
    wanted = None if namespace is None else {namespace} if isinstance(namespace, str) else set(namespace)
    known = set(terms["namespace"])
    if wanted is not None and not wanted <= known:
        raise InputError(
            "the namespace must be one of the ontology's", f"{sorted(wanted - known)}", f"choose from {sorted(known)}"
        )
    direct: dict[str, set[str]] = {}
    n_unknown = n_replaced = 0
    unknown: dict[str, None] = {}
    for gene, term in annotations.table[["gene", "term"]].itertuples(index=False):
        n_replaced += term in ontology.replaced
        term = ontology.replaced.get(term, term)
        if term in ontology.graph:
            direct.setdefault(term, set()).add(gene)
        else:
            n_unknown += 1
            unknown[term] = None
    genes: dict[str, set[str]] = {term: set(members) for term, members in direct.items()}
    for child in nx.topological_sort(ontology.graph):  # children before parents, so one pass carries genes to the top
        members = genes.get(child)
        if members:
            for parent in ontology.graph.successors(child):
                genes.setdefault(parent, set()).update(members)

    keep = terms["level"] >= min_level
    if max_level is not None:
        keep &= terms["level"] <= max_level
    if wanted is not None:
        keep &= terms["namespace"].isin(wanted)
    keep &= pd.Series([len(genes.get(term, ())) >= max(min_genes, 1) for term in terms.index], index=terms.index)
    table = terms[keep].reset_index(names="term")
    if table.empty:
        raise InputError(
            "annotations and ontology must share terms",
            f"no set from {len(annotations.table):,} annotations, {n_unknown:,} of them to terms that the ontology "
            f"does not hold",
            "give files of the same ontology, or widen namespace, levels and evidence",
        )
    table.insert(0, "set", [f"{name} ({term})" for name, term in zip(table["name"], table["term"], strict=True)])
    table["n_direct"] = [len(direct.get(term, ())) for term in table["term"]]
    table["n_genes"] = [len(genes[term]) for term in table["term"]]
    sets = {name: sorted(genes[term]) for name, term in zip(table["set"], table["term"], strict=True)}
    return OntologySets(sets, table, len(annotations.table) - n_unknown, n_unknown, n_replaced, tuple(unknown)[:_SHOWN])


def _levels(is_a: nx.DiGraph[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Return for each term its level, and the nearest ancestor (or itself) of level 1, "" for a root."""
    import networkx as nx

    order = list(nx.topological_sort(is_a))[::-1]  # parents before children
    level: dict[str, int] = {}
    for term in order:
        level[term] = min((level[parent] + 1 for parent in is_a.successors(term)), default=0)
    # Of several ancestors at level 1 the nearest says most; of equally near ones the narrowest, then the first by id.
    breadth = {term: len(nx.ancestors(is_a, term)) for term in order if level[term] == 1}
    nearest: dict[str, tuple[int, int, str]] = {}
    for term in order:
        if level[term] == 1:
            nearest[term] = (0, breadth[term], term)
        elif level[term] > 1:
            above = (nearest[parent] for parent in is_a.successors(term) if parent in nearest)
            nearest[term] = min((steps + 1, width, top) for steps, width, top in above)
    return level, {term: nearest[term][2] if term in nearest else "" for term in order}
