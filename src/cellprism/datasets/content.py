"""What must lie inside a file, looked up without loading it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from cellprism.datasets.registry import File, Format
from cellprism.errors import InputError

__all__ = ["check_content"]


def check_content(file: File, path: Path) -> None:
    """Refuse a file that is not of its format or not of its size.

    Raises
    ------
    InputError
        With the path, so that a page of an error in place of the data is found out.
    """
    try:
        shape = _SHAPES[file.format](path)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"{file.name} must be a file of the format {file.format}",
            f"{path}: {type(error).__name__}",
            f"delete it and fetch it again, or get it from {file.address}",
        ) from error
    if file.shape is not None and shape != file.shape:
        raise InputError(
            f"{file.name} must hold {file.shape[0]:,} cells x {file.shape[1]:,} features",
            f"{shape} in {path}",
            f"delete it and fetch it again, or get it from {file.address}",
        )


def _h5ad(path: Path) -> tuple[int, int]:
    with h5py.File(path) as f:
        return _rows(f["obs"]), _rows(f["var"])


def _h5mu(path: Path) -> tuple[int, int]:
    with h5py.File(path) as f:
        parts = list(f["mod"].values())
        return _rows(f["obs"]), sum(_rows(p["var"]) for p in parts)


def _rows(table: Any) -> int:
    """Rows of a data frame in AnnData's layout; the oldest one is a single table."""
    if isinstance(table, h5py.Dataset):
        return int(table.shape[0])
    index = table.attrs.get("_index", "_index")
    return int(table[index].shape[0])


def _10x(path: Path) -> tuple[int, int]:
    with h5py.File(path) as f:
        features, cells = (int(n) for n in f["matrix/shape"][()])
        return cells, features


def _paul15(path: Path) -> tuple[int, int]:
    with h5py.File(path) as f:
        genes, cells = f["data.debatched"].shape
        return int(cells), int(genes)


def _weights(path: Path) -> None:
    """PyTorch writes a zip with a ``data.pkl``, which is not opened here."""
    if not zipfile.is_zipfile(path):
        raise ValueError("not a zip")
    with zipfile.ZipFile(path) as archive:
        if not any(name.endswith("data.pkl") for name in archive.namelist()):
            raise ValueError("no data.pkl")


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


_SHAPES: dict[Format, Callable[[Path], tuple[int, int] | None]] = {
    "h5ad": _h5ad,
    "h5mu": _h5mu,
    "10x": _10x,
    "paul15": _paul15,
    "weights": _weights,
    "json": _json,
}
