"""Gene annotations to ontology terms, from GAF and GPAD files."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from cellprism.data.text import read_text
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["Annotations", "read_annotations", "read_gpi"]

EXPERIMENTAL = frozenset({"EXP", "IDA", "IPI", "IMP", "IGI", "IEP", "HTP", "HDA", "HMP", "HGI", "HEP"})
"""Evidence codes of direct experiments, high-throughput ones included (Gene Ontology, "Guide to evidence codes")."""

# GPAD files name evidence by the Evidence & Conclusion Ontology; these terms are GO's own codes in it.
_ECO = {
    "ECO:0000269": "EXP", "ECO:0000314": "IDA", "ECO:0000353": "IPI", "ECO:0000315": "IMP", "ECO:0000316": "IGI",
    "ECO:0000270": "IEP", "ECO:0006056": "HTP", "ECO:0007005": "HDA", "ECO:0007001": "HMP", "ECO:0007003": "HGI",
    "ECO:0007007": "HEP", "ECO:0000318": "IBA", "ECO:0000319": "IBD", "ECO:0000320": "IKR", "ECO:0000321": "IRD",
    "ECO:0000250": "ISS", "ECO:0000266": "ISO", "ECO:0000247": "ISA", "ECO:0000255": "ISM", "ECO:0000317": "IGC",
    "ECO:0000245": "RCA", "ECO:0000304": "TAS", "ECO:0000303": "NAS", "ECO:0000305": "IC", "ECO:0000307": "ND",
    "ECO:0000501": "IEA", "ECO:0007669": "IEA", "ECO:0000256": "IEA", "ECO:0000265": "IEA", "ECO:0000322": "IEA",
}  # fmt: skip


@dataclass(frozen=True)
class Annotations:
    """Which gene is annotated to which term, on what evidence."""

    table: pd.DataFrame
    """Columns ``gene`` (symbol), ``term`` (id), ``evidence`` (GO code, or an ECO id that has none)."""
    n_read: int
    """Lines of the file."""
    n_negated: int
    """Lines left out because they say NOT."""
    n_filtered: int
    """Lines left out by evidence or taxon."""
    n_unnamed: int
    """Lines left out because the gene product has no symbol."""
    cut: bool = False
    """Whether the file ends within a line, as no published one does."""

    def summary(self) -> str:
        """One line for people."""
        return (
            f"{len(self.table):,} of {self.n_read:,} annotations are used ({self.n_negated:,} say NOT, "
            f"{self.n_filtered:,} left out by evidence or taxon, {self.n_unnamed:,} without a symbol)"
            + ("; the last line has no end: the file may have been cut" if self.cut else "")
        )

    @property
    def n_lost(self) -> int:
        """Lines that are not used."""
        return self.n_read - len(self.table)


@numbers_checked
def read_annotations(
    path: str | Path,
    *,
    evidence: Literal["all", "curated", "experimental"] | Iterable[str] = "all",
    taxon: int | None = None,
    names: Mapping[str, str] | None = None,
) -> Annotations:
    """Read a GAF 2 or GPAD 1/2 file, plain or gzipped.

    Parameters
    ----------
    path
        The format is told by the file's first lines (``!gaf-version``, ``!gpa-version``, ``!gpad-version``).
    evidence
        ``"all"`` leaves out only ND (no data); ``"curated"`` also IEA (not reviewed by a person);
        ``"experimental"`` keeps :data:`EXPERIMENTAL`; or the codes to keep (ECO ids may be given for GPAD).
    taxon
        NCBI taxon of the genes, such as 9606. GAF only: GPAD files do not hold it.
    names
        Gene product id, without its database, -> symbol. GPAD files hold ids only and need it; :func:`read_gpi`
        reads it from the GPI file that comes with them.

    Returns
    -------
    Annotations
        The table and what was left out. Lines that say NOT are left out.

    Raises
    ------
    InputError
        If the file cannot be read, is of another format, needs ``names``, or nothing is left.

    Notes
    -----
    Formats: Gene Ontology documentation, "GO annotation file (GAF) format 2.2" and "GPAD/GPI 2.0".

    Examples
    --------
    >>> annotations = prism.genesets.read_annotations("goa_human.gaf", evidence="curated")
    >>> type(annotations).__name__
    'Annotations'
    """
    path = Path(path)
    kind, version, columns = _read(path, {"gaf": "GAF", "gpa": "GPAD", "gpad": "GPAD"}, "an annotation file")
    if kind == "GAF":
        _need(columns, 14 if taxon is not None else 12, path)
        relation, term, code = columns[3], columns[4], columns[6]
        gene = columns[2]
    else:
        if taxon is not None:
            raise InputError("GPAD files hold no taxon", f"taxon {taxon}", "choose the genes by names, or give a GAF")
        if names is None:
            raise InputError("GPAD files need the symbols of their ids", "none given", "read the GPI file beside it")
        _need(columns, 6, path)
        # version 1: DB, id, relation, term, …; version 2: DB:id, negation, relation, term, …
        relation, term = columns[2 - (version >= 2)], columns[3]
        identifier = columns[0].str.split(":", n=1).str[-1] if version >= 2 else columns[1]
        gene = identifier.map(dict(names)).fillna("")
        stated = columns[11].str.extract(r"go_evidence=(\w+)")[0] if 11 in columns else pd.Series(index=columns.index)
        code = stated.fillna(columns[5].map(_ECO)).fillna(columns[5])

    negated = relation.str.contains(r"(?:^|\|)NOT(?:\||$)", regex=True)
    allowed = _allowed(code, evidence) | (columns[5].isin([] if isinstance(evidence, str) else list(evidence)))
    if taxon is not None:
        allowed &= columns[12].str.split("|").str[0] == f"taxon:{taxon}"
    named = gene != ""
    used = ~negated & allowed & named
    table = pd.DataFrame({"gene": gene, "term": term, "evidence": code}, dtype=object)[used].reset_index(drop=True)
    if table.empty:
        raise InputError(
            "an annotation must be left to use",
            f"none of {len(columns):,} in {path} ({int(negated.sum()):,} say NOT, {int((~allowed).sum()):,} have other "
            f"evidence or taxon, {int((~named).sum()):,} no symbol)",
            "widen evidence and taxon, or give the names of these ids",
        )
    return Annotations(
        table=table,
        n_read=len(columns),
        n_negated=int(negated.sum()),
        n_filtered=int((~negated & ~allowed).sum()),
        n_unnamed=int((~negated & allowed & ~named).sum()),
        cut=not read_text(path, "an annotation file").endswith("\n"),
    )


def read_gpi(path: str | Path) -> dict[str, str]:
    r"""Read the symbols of gene products from a GPI 1/2 file, plain or gzipped.

    Returns
    -------
    dict
        Gene product id, without its database, -> symbol.

    Raises
    ------
    InputError
        If the file cannot be read or is of another format.

    Examples
    --------
    >>> with open("symbols.gpi", "w") as file:
    ...     _ = file.write("!gpi-version: 1.2\nUniProtKB\tP12345\tCD79A\tname\t\tprotein\ttaxon:9606\n")
    >>> prism.genesets.read_gpi("symbols.gpi")
    {'P12345': 'CD79A'}
    """
    path = Path(path)
    _, version, columns = _read(path, {"gpi": "GPI"}, "a GPI file")
    _need(columns, 3, path)
    if version >= 2:
        return dict(zip(columns[0].str.split(":", n=1).str[-1], columns[1], strict=True))
    return dict(zip(columns[1], columns[2], strict=True))


def _allowed(code: pd.Series[str], evidence: str | Iterable[str]) -> pd.Series[bool]:
    """Tell which evidence codes are wanted."""
    if evidence == "all":
        return code != "ND"
    if evidence == "curated":
        return ~code.isin(["ND", "IEA"])
    if evidence == "experimental":
        return code.isin(EXPERIMENTAL)
    if isinstance(evidence, str):
        raise InputError(
            "evidence is 'all', 'curated', 'experimental' or the codes to keep", repr(evidence), "give one of these"
        )
    return code.isin(list(evidence))


def _read(path: Path, kinds: Mapping[str, str], what: str) -> tuple[str, int, pd.DataFrame]:
    """Return the kind and major version that the comment lines state, and the body as text; absent fields are empty."""
    stated = re.compile(rf"!\s*({'|'.join(kinds)})-version:\s*(\d+)", re.IGNORECASE)
    lines = read_text(path, what).split("\n")
    found = next((match for line in lines if line.startswith("!") and (match := stated.match(line))), None)
    if found is None:
        names = " or ".join(f"'!{name}-version:'" for name in kinds)
        raise InputError(
            f"{what} must say its format on top", f"no {names} line in {path}", "give the file as published"
        )
    # pandas would cut a line at any "!", which names of genes hold as well
    rows = "\n".join(line for line in lines if not line.startswith("!"))
    if not rows.strip():
        raise InputError(f"{what} must hold a line", f"none in {path}", "fetch it again")
    try:
        body = pd.read_csv(io.StringIO(rows), sep="\t", header=None, dtype=str, na_filter=False, quoting=csv.QUOTE_NONE)
    except pd.errors.ParserError as error:
        raise InputError(f"{what} must be readable", f"{path}: {error}", "check or fetch it again") from error
    return kinds[found[1].lower()], int(found[2]), body.fillna("")


def _need(columns: pd.DataFrame, number: int, path: Path) -> None:
    """Refuse a table that is too narrow for its format."""
    if columns.shape[1] < number:
        raise InputError(
            "an annotation file must have the columns of its format",
            f"{columns.shape[1]} in {path}, where at least {number} are needed",
            "check that the columns are separated by tabs",
        )
