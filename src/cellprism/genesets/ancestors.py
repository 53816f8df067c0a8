"""What a set named by a term of an ontology belongs to: the term's ancestor just below the root."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cellprism.genesets.ontology import Ontology

__all__ = ["level1_ancestors"]

_TERM = re.compile(r"\b([A-Za-z]+:\d+)\)?\s*$")


def level1_ancestors(names: Iterable[str], ontology: Ontology) -> dict[str, str]:
    """Find the level-1 ancestor of sets whose names end in the id of a term, such as "ion transport (GO:0006811)".

    Parameters
    ----------
    names
        Set names: of :func:`cellprism.genesets.ontology_sets`, of a library, or of a GMT file.
    ontology
        From :func:`cellprism.genesets.read_ontology`. Ids that another term took over are followed.

    Returns
    -------
    dict
        Set name -> name of the ancestor (the nearest one, then the narrowest; the term itself at level 1). Sets without
        a known term, and roots, are left out.

    Examples
    --------
    >>> ontology = prism.genesets.read_ontology("go-basic.obo")
    >>> prism.genesets.level1_ancestors(["immune response (GO:0006955)"], ontology)
    {'immune response (GO:0006955)': 'immune system process'}
    """
    level1 = ontology.terms["level1_name"].to_dict()
    found = {}
    for name in names:
        term = _TERM.search(name)
        if term:
            ancestor = level1.get(ontology.replaced.get(term[1], term[1]), "")
            if ancestor:
                found[name] = ancestor
    return found
