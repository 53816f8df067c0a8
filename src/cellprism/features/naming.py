"""A short readable name for a feature, from its best calibrated evidence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

__all__ = ["Evidence", "display_gene", "feature_name", "short_set"]

_ENSEMBL = re.compile(r"^ENS[A-Z]*G\d{6,}")
_FAMILIES = {
    "ribosomal genes": re.compile(r"^(M?RP[SL]\d+\w*|RPLP\d|RPSA|FAU|UBA52|GM\d+)$", re.IGNORECASE),
    "mitochondrial genes": re.compile(r"^MT-", re.IGNORECASE),
    "housekeeping genes": re.compile(
        r"^(ACTB|ACTG1|B2M|EEF1A1|EEF1B2|EEF2|FTH1|FTL1?|GAPDH|MALAT1|NEAT1|PTMA|TMSB4X|TMSB10|TPT1|XIST)$",
        re.IGNORECASE,
    ),
}
_SET_SUFFIX = re.compile(r"\s*\((GO|R-HSA|hsa|WP)[:-]?\w+\)\s*$|\s+(GO:\d+|R-HSA-\d+|WP\d+|hsa\d+)$")
_SET_PREFIX = re.compile(r"^(HALLMARK|KEGG|REACTOME|GOBP|GOMF|GOCC|WP|BIOCARTA|PID)_")
_AS_STRONG = 0.5  # a specific gene is preferred when its statistic is at least this share of the strongest


@dataclass(frozen=True)
class Evidence:
    """What is known of one feature, each piece already past its threshold.

    Attributes
    ----------
    label
        Category the feature detects well; "" for none.
    gene_set
        Best set of the feature's up direction at the stated q; "" for none.
    genes
        Up genes at the stated q with their statistics, strongest first.
    confound
        Mark of a technical covariate; "" for none.
    n_active
        Active cells.
    untestable
        Why the feature could not be tested; "" where it was.
    ancestor
        What the gene set belongs to in its ontology; "" where that is not known.
    regulator
        Regulator or pathway whose targets are up; "" for none.
    """

    label: str
    gene_set: str
    genes: tuple[tuple[str, float], ...]
    confound: str
    n_active: int
    untestable: str = ""
    ancestor: str = ""
    regulator: str = ""


def display_gene(gene: str, symbol: str) -> str:
    """The gene's own name, or its symbol where the name is an Ensembl identifier."""
    return symbol if symbol and _ENSEMBL.match(gene) else gene


def short_set(name: str, length: int = 44) -> str:
    """A set name without its identifier or library prefix, cut at a word."""
    text = _SET_SUFFIX.sub("", name)
    if _SET_PREFIX.match(text):
        text = _SET_PREFIX.sub("", text).replace("_", " ").lower()
    text = text.strip() or name
    if len(text) <= length:
        return text
    return text[: length + 1].rsplit(" ", 1)[0].rstrip(" ,;-") + " …"


@cache
def _family(gene: str) -> str:
    return next((name for name, pattern in _FAMILIES.items() if pattern.match(gene)), "")


def _genes_part(genes: tuple[tuple[str, float], ...], n: int) -> tuple[str, str]:
    """Names of up to n genes, and the family they belong to when no specific gene is as strong."""
    if not genes:
        return "", ""
    strong = [g for g, stat in genes if stat >= _AS_STRONG * genes[0][1]]
    specific = [g for g in strong if not _family(g)]
    if specific:
        return "/".join(specific[:n]), ""
    families = [_family(g) for g in strong]
    return "/".join(strong[:n]), max(set(families), key=lambda f: (families.count(f), f))


def _set_part(evidence: Evidence) -> str:
    """The set, and its ancestor where that says more."""
    if not evidence.gene_set:
        return ""
    text = short_set(evidence.gene_set)
    return f"{text} [{evidence.ancestor}]" if evidence.ancestor and evidence.ancestor not in text else text


def feature_name(evidence: Evidence) -> str:
    """Name a feature ``label or set · genes``, with the mark of a confound before it.

    The label comes first because it says where the feature is, then the set (with its ancestor in brackets), then the
    regulator, then genes alone. A feature without any
    evidence says so, with its number of active cells; so does one that could not be tested.
    """
    if evidence.untestable:
        return f"not testable ({evidence.untestable})"
    lead = evidence.label or _set_part(evidence) or evidence.regulator
    genes, family = _genes_part(evidence.genes, 2 if lead else 3)
    if family and not lead:
        lead = family
    name = " · ".join(part for part in (lead, genes) if part)
    if not name:
        name = f"no evidence ({evidence.n_active} cells)"
    return f"[{evidence.confound}] {name}" if evidence.confound else name
