"""Text files as UTF-8, whatever the locale; what is another encoding is told as such."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cellprism.data.hdf5 import unfinished
from cellprism.errors import InputError

__all__ = ["cut_notes", "read_text", "read_yaml", "refuse_wide_text", "text_lines"]

_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


_START = 2**16


def read_text(path: str | Path, what: str) -> str:
    """The text of a file, plain or, where its name ends in ``.gz``, gzipped.

    Parameters
    ----------
    path
        The file; a mark of UTF-8 at its start is taken off, and lines end in a line feed.
    what
        What it is, for messages ("a gene-set file").

    Raises
    ------
    InputError
        If the file is missing, cannot be unpacked, or is not UTF-8: UTF-16 and UTF-32 are told, with or without a mark,
        and so is binary content.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise InputError(f"{what} must exist", f"no file {path}", "check the path") from None
    except (OSError, EOFError, zlib.error) as error:  # a bad header, a cut file, damaged content
        raise InputError(f"{what} must be readable", f"{path}: {error}", "check or fetch it again") from error
    if data.startswith(b"\x1f\x8b"):
        raise InputError(f"{what} must be UTF-8 text", f"gzipped bytes in {path}", "give it its .gz name")
    _refuse_wide(data, path, what)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise _not_utf8(what, f"byte {error.start} of {path} that is not (Latin-1 or Windows-1252?)") from error


def refuse_wide_text(path: Path, what: str) -> None:
    """Refuse a file that starts as UTF-16 or UTF-32 do, or with bytes that are no text, before a reader of lines takes it.

    Raises
    ------
    InputError
        If it does, or cannot be unpacked.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(_START)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{what} must be readable", f"{path}: {error}", "check or fetch it again") from error
    _refuse_wide(start, path, what)


def _refuse_wide(data: bytes, path: Path, what: str) -> None:
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            raise _not_utf8(what, f"{name} in {path}")
    if b"\x00" in data:
        share = data.count(b"\x00") / len(data)
        wide = "UTF-32" if share > 0.6 else "UTF-16" if share > 0.2 else "bytes that are no text"
        raise _not_utf8(what, f"{wide} in {path}")


def text_lines(text: str) -> list[str]:
    """Lines of the text that :func:`read_text` gave.

    ``str.splitlines`` would also break at U+2028, NEL, vertical tabs and form feeds, which are characters of names here.
    """
    return text.removesuffix("\n").split("\n")


_LINES = frozenset({".gmt", ".obo", ".gaf", ".gpad", ".gpa", ".gpi", ".csv", ".tsv", ".txt"})
"""Files of one record or field a line, as programs write them: with an end to every line."""


def cut_notes(files: Iterable[str | Path | None]) -> list[str]:
    """What is to be said of files that may have been cut, as by a download that broke off.

    A gzipped or binary file that was cut is refused by its reader; of plain text nothing tells but a last line without end.
    It is used as it stands, since editors leave out that end as well, and this is said. So are parts that a file of cells
    lacks: nothing tells whether they were never there.
    """
    given = [Path(file) for file in files if file is not None]
    notes = [
        f"{path.name} ends within a line: it may have been cut; its last line is taken as it stands"
        for path in given
        if path.suffix.lower() in _LINES and path.is_file() and not _ends(path)
    ]
    for path in given:
        if path.suffix in (".h5ad", ".h5mu", ".zarr") and path.exists() and (lost := unfinished(path)):
            notes.append(f"{path.name} lacks {', '.join(lost)}: its writing may have been stopped")
    return notes


def _ends(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) in b"\r\n"


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping from a YAML file.

    Raises
    ------
    InputError
        If it is missing, no YAML, no mapping, or gives a field twice, of which YAML would keep the last.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values only, and each key of a mapping once."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if twice := [key for key in keys if keys.count(key) > 1]:
                raise InputError("a field stands once in a YAML file", f"{twice[0]!r} twice in {path}", "keep one")
            return super().construct_mapping(node, deep)

    # As later versions of YAML have it: 1e-3 is a number, for which this one asks to be 1.0e-3.
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?\d+[eE][-+]?\d+\Z"), list("-+0123456789"))
    try:
        content = yaml.load(read_text(path, "the YAML file"), Loader)
    except yaml.YAMLError as error:
        raise InputError(
            "the YAML file must be readable", f"{path}: {error}", "check the path and its syntax"
        ) from error
    if not isinstance(content, dict):
        raise InputError(
            "the YAML file must hold a mapping", f"{path}: {type(content).__name__}", "write 'width: 512' …"
        )
    return content


def _not_utf8(what: str, met: str) -> InputError:
    return InputError(f"{what} must be UTF-8 text", met, "save it as plain text in UTF-8")
