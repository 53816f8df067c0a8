"""Fetched files for which nobody publishes a checksum: trusted as they first came, and held to that from then on."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

from cellprism.errors import InputError

__all__ = ["forget", "held_to_first"]


def held_to_first(path: Path, *, fresh: bool = False) -> None:
    """Refuse a kept file that is another than when it was first read; its digest then was written beside it.

    Parameters
    ----------
    path
        The file.
    fresh
        Whether it was fetched just now: for the first time, or as the user removed what was there.

    Raises
    ------
    InputError
        If the two differ.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    beside = _beside(path)
    if fresh or not beside.is_file():
        with suppress(OSError):  # a cache that cannot be written is held to nothing, nor can it be changed here
            beside.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    elif beside.read_text(encoding="utf-8").split()[:1] != [digest]:
        raise InputError(
            "a fetched file is what it was when it first came",
            f"other content in {path}",
            f"remove it to fetch it again, or {beside.name} beside it if the change is meant",
        )


def forget(path: Path) -> None:
    """Remove a kept file and its digest."""
    path.unlink()
    _beside(path).unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
