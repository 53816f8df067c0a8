"""Words of names: genes, their families, and gene sets without their identifiers."""

from __future__ import annotations

import re
from functools import cache

__all__ = ["display_gene", "family", "short_set"]

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


def display_gene(gene: str, symbol: str) -> str:
    """The gene's own name, or its symbol where the name is an Ensembl identifier."""
    return symbol if symbol and _ENSEMBL.match(gene) else gene


def short_set(name: str) -> str:
    """A set name without its identifier or library prefix; never cut, as two terms may begin alike."""
    text = _SET_SUFFIX.sub("", name)
    if _SET_PREFIX.match(text):
        text = _SET_PREFIX.sub("", text).replace("_", " ").lower()
    return text.strip() or name


@cache
def family(gene: str) -> str:
    """Family of genes that say little of a feature; "" for other genes."""
    return next((name for name, pattern in _FAMILIES.items() if pattern.match(gene)), "")
