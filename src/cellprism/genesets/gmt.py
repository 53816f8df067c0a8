"""GMT files: one gene set a line, ``name <tab> description <tab> gene <tab> gene …``."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cellprism.data.text import read_text, text_lines
from cellprism.errors import InputError
from cellprism.files import check_ending, replacing

__all__ = ["ENDINGS", "read_gmt", "write_gmt"]

ENDINGS = (".gmt", ".gmt.gz")

# Some public libraries write a weight behind each member ("TP53,1.0"); no gene symbol holds a comma.
_WEIGHT = re.compile(r",-?\d+(\.\d+)?([eE]-?\d+)?$")


def read_gmt(path: str | Path) -> dict[str, list[str]]:
    """Read a GMT file, plain or gzipped.

    Parameters
    ----------
    path
        File to read; one ending in ``.gz`` is unpacked.

    Returns
    -------
    dict
        Set name -> members, both in the order of the file; a member named twice in a set is kept once. The
        description column is not kept.

    Raises
    ------
    InputError
        If the file cannot be read, holds no set, has a line without a name, a description and a gene, or names two
        sets alike.

    Notes
    -----
    The format is described in the GSEA user guide, "GMT: Gene Matrix Transposed file format".

    Examples
    --------
    >>> len(prism.genesets.read_gmt("my_sets.gmt"))
    40
    """
    path = Path(path)
    sets: dict[str, list[str]] = {}
    seen_at: dict[str, int] = {}
    for number, line in enumerate(text_lines(read_text(path, "a gene-set file")), start=1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        members = list(dict.fromkeys(_WEIGHT.sub("", gene) for gene in rest[1:] if gene))
        if not name or not members:
            shown = line if len(line) <= 60 else line[:57] + "..."
            raise InputError(
                "each line of a GMT file holds a name, a description and at least one gene, separated by tabs",
                f"{shown!r} in line {number} of {path}",
                "mend or remove the line",
            )
        if name in sets:
            raise InputError(
                "gene set names must be unique within a file",
                f"{name!r} in lines {seen_at[name]} and {number} of {path}",
                "rename one of the two or join their members in one line",
            )
        sets[name], seen_at[name] = members, number
    if not sets:
        raise InputError("a GMT file must hold at least one gene set", f"none in {path}", "give another file")
    return sets


def write_gmt(
    gene_sets: Mapping[str, Iterable[str]], path: str | Path, *, descriptions: Mapping[str, str] | None = None
) -> None:
    """Write gene sets as a GMT file that :func:`read_gmt` reads back unchanged.

    Parameters
    ----------
    gene_sets
        Set name -> members.
    path
        File to write, gzipped when it ends in ``.gz`` (without a time stamp, so that equal sets give equal bytes).
    descriptions
        Set name -> text of the second column; empty where absent.

    Raises
    ------
    InputError
        If a set is empty, or a name, description or member holds a tab or a line break or is blank.

    Examples
    --------
    >>> prism.genesets.write_gmt({"B": ["CD79A", "MS4A1"]}, "b.gmt")
    >>> prism.genesets.read_gmt("b.gmt")
    {'B': ['CD79A', 'MS4A1']}
    """
    descriptions = descriptions or {}
    lines = []
    for name, members in gene_sets.items():
        genes = list(dict.fromkeys(members))
        if not genes:
            raise InputError("a gene set must have a member to be written", f"none in {name!r}", "leave the set out")
        for text in (name, *genes):
            _check_field(text, name, blank=False)
        description = descriptions.get(name, "")
        _check_field(description, name, blank=True)
        lines.append("\t".join((name, description, *genes)))
    data = "".join(line + "\n" for line in lines).encode()
    path = check_ending(path, *ENDINGS, what="a GMT file")
    if path.suffix == ".gz":
        packed = io.BytesIO()
        with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as stream:
            stream.write(data)
        data = packed.getvalue()
    with replacing(path) as beside:
        beside.write_bytes(data)


def _check_field(text: str, name: str, *, blank: bool) -> None:
    """Refuse text that would not survive the tab-separated format."""
    if {"\n", "\r", "\t"} & set(text) or text != text.strip() or (not blank and not text):
        raise InputError(
            "names and members of a GMT file hold no tab, no line break and no outer blanks",
            f"{text!r} in set {name!r}",
            "rename it",
        )
