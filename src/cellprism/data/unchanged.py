"""Digests of the files that were read: taken before, and good only if nobody wrote to the file meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cellprism.data.read import sha256
from cellprism.errors import InputError

__all__ = ["Hashed", "check_unchanged", "hash_files"]


@dataclass(frozen=True)
class Hashed:
    """One file or folder as it was."""

    path: Path
    sha256: str
    stamp: tuple[tuple[str, int, int], ...]
    """Name, size and time of change of each file."""

    def record(self) -> dict[str, str]:
        """What a run says of it."""
        return {"path": str(self.path), "sha256": self.sha256}


def hash_files(files: Mapping[str, Path]) -> dict[str, Hashed]:
    """Digests of files that exist; to be taken before they are read. What does not exist is left to its reader."""
    found = {}
    for name, path in files.items():
        if path.exists():
            stamp = _stamp(path)  # before the digest: a change during it counts as one
            found[name] = Hashed(path, sha256(path), stamp)
    return found


def check_unchanged(hashed: Mapping[str, Hashed]) -> None:
    """Refuse files that were changed or removed since :func:`hash_files`.

    Raises
    ------
    InputError
        Names the first that was.
    """
    for one in hashed.values():
        if not one.path.exists() or _stamp(one.path) != one.stamp:
            raise InputError(
                "input files must stay as they are while they are read",
                f"{one.path} changed" if one.path.exists() else f"{one.path} was removed",
                "run again when it is written",
            )


def _stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)
