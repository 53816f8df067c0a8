"""``manifest.json``: which files of a folder cellprism wrote, with their sizes and checksums."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from cellprism.errors import InputError
from cellprism.files import PREFIX, replacing

__all__ = ["MANIFEST", "changed", "digest", "note_again", "owned", "read_manifest", "verify", "write_manifest"]

MANIFEST: Final = "manifest.json"
_FORMAT: Final = "cellprism-manifest"
_VERSION: Final = 1
_REMADE: Final = "report.html"
"""Made again at any time from the other files, so it has no checksum."""

# What `run` wrote before folders had a manifest.
_TABLES = [
    "features",
    "genes",
    "sets",
    "labels",
    "cells",
    "gene_sets",
    "training",
    "matches",
    "regulators",
    "consensus",
]
_OF_A_RUN: Final = (
    "run.json", "codes.npz", "embedding.npy", "expression.npz", "expression_genes.json", "expression.json", "sae", "model",
    "figures", *(f"{name}.parquet" for name in _TABLES),
)  # fmt: skip


def write_manifest(folder: Path) -> None:
    """Write the manifest of all files in a folder."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST and path != folder / _REMADE
    }
    content = {"format": _FORMAT, "format_version": _VERSION, "files": files}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def note_again(folder: Path, names: Collection[str]) -> None:
    """Note files that were written into a finished folder; the others keep the checksums they had."""
    files = read_manifest(folder)
    if files is None:  # of a version before manifests
        return
    files |= {name: {"bytes": (folder / name).stat().st_size, "sha256": digest(folder / name)} for name in names}
    content = {"format": _FORMAT, "format_version": _VERSION, "files": dict(sorted(files.items()))}
    with replacing(folder / MANIFEST) as beside:
        beside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> dict[str, dict[str, Any]] | None:
    """Size and checksum a file; None where there is no manifest.

    Raises
    ------
    InputError
        If it is damaged, or of a newer version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, files = content["format_version"], content["files"]
        good = content["format"] == _FORMAT and isinstance(version, int) and all(map(_is_entry, files.items()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            "manifest.json must be one that cellprism wrote", f"{path}: {error}", "copy it again"
        ) from error
    if not good:
        raise InputError("manifest.json must be one that cellprism wrote", str(path), "copy the folder again")
    if version > _VERSION:
        raise InputError(f"this version reads manifests of version {_VERSION}", str(version), "upgrade cellprism")
    return dict(files)


def _is_entry(item: tuple[Any, Any]) -> bool:
    name, about = item
    inside = not os.path.isabs(name) and ".." not in Path(name).parts
    return (
        inside
        and isinstance(about, dict)
        and isinstance(about.get("bytes"), int)
        and isinstance(about.get("sha256"), str)
    )


def changed(folder: Path, name: str, about: dict[str, Any]) -> str:
    """What is wrong with a file of a manifest; empty where nothing is."""
    path = folder / name
    if not path.is_file():
        return f"{name} is missing"
    size = path.stat().st_size
    if size != about["bytes"]:
        return f"{name} has {size:,} bytes, not {about['bytes']:,}"
    return "" if digest(path) == about["sha256"] else f"{name} has another content than was written"


def verify(folder: str | Path) -> tuple[int, list[str]]:
    """Hold a folder against its manifest, folders within it against theirs.

    Returns
    -------
    n_files
        Files that were checked.
    problems
        A line for each that is missing or changed.

    Raises
    ------
    InputError
        Where there is no manifest, or it is damaged.
    """
    folder = Path(folder)
    files = read_manifest(folder)
    if files is None:
        raise InputError(
            "a folder is verified against its manifest",
            f"no {MANIFEST} in {folder}",
            "give a folder that this version of cellprism wrote",
        )
    problems = [told for name, about in files.items() if (told := changed(folder, name, about))]
    n_files = len(files)
    for inner in _within(folder):
        n, within = verify(inner)
        n_files += n
        problems += [f"{inner.relative_to(folder).as_posix()}/{line}" for line in within]
    return n_files, problems


def owned(folder: Path) -> list[Path] | None:
    """Files and folders in a folder that cellprism wrote; None where it does not say that it is ours."""
    try:
        files = read_manifest(folder)
    except InputError:
        return None
    if files is None:
        about = _read_json(folder / "run.json")
        if not str(about.get("format", "")).startswith("cellprism-"):
            return None
        found = [folder / name for name in _OF_A_RUN]
    else:
        found = [folder / name for name in files]
        for inner in _within(folder):
            found += owned(inner) or ()
    return [p for p in (*found, folder / MANIFEST, folder / _REMADE) if os.path.lexists(p)]


def _within(folder: Path) -> list[Path]:
    """Results inside a result, such as steering experiments, at the next level that has any."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith(PREFIX):
            found += [path] if (path / MANIFEST).is_file() else _within(path)
    return found


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
