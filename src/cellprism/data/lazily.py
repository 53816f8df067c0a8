"""AnnData and MuData whose matrices stay in their file until rows of them are asked for; all else is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anndata as ad
import mudata

__all__ = ["lazily", "lazily_mudata"]

_HELD = 2**26
"""Bytes from which on a dense array of ``obsm`` stays where it lies."""


def lazily(group: Any) -> ad.AnnData | None:
    """The AnnData of an open HDF5 file or Zarr group; None where an older AnnData wrote it, in another layout.

    X, layers and those of ``.raw`` are what is sliced in the file, and so are large arrays of ``obsm``. Graphs of cells
    (``obsp``) are left out.
    """
    if group.attrs.get("encoding-type") != "anndata":
        return None
    parts: dict[str, Any] = {k: ad.io.read_elem(group[k]) for k in ("obs", "var", "varm", "uns") if k in group}
    parts["layers"] = {name: _matrix(group["layers"][name]) for name in _names(group, "layers")}
    parts["obsm"] = {name: _array(group["obsm"][name]) for name in _names(group, "obsm")}
    if "X" in group:
        parts["X"] = _matrix(group["X"])
    if "raw" in group and group["raw"].attrs.get("encoding-type") != "null":
        raw = group["raw"]
        parts["raw"] = {"X": _matrix(raw["X"])} | {k: ad.io.read_elem(raw[k]) for k in ("var", "varm") if k in raw}
    return ad.AnnData(**parts)


def lazily_mudata(file: Any) -> mudata.MuData | None:
    """The MuData of an open HDF5 file, each of its modalities by :func:`lazily`; None where one is of an older layout."""
    stored = file["mod"]
    given = [str(name) for name in stored.attrs.get("mod-order", [])]
    names = given if set(given) == set(stored) else list(stored)
    parts = {name: lazily(stored[name]) for name in names}
    found = {name: part for name, part in parts.items() if part is not None}
    if len(found) < len(parts):
        return None
    kept = ("obs", "var", "obsm", "varm", "uns", "obsmap", "varmap")
    return mudata.MuData(
        found, axis=int(file.attrs.get("axis", 0)), **{k: ad.io.read_elem(file[k]) for k in kept if k in file}
    )


def _names(group: Any, part: str) -> list[str]:
    return list(group[part]) if part in group else []


def _encoding(stored: Any) -> str:
    attributes: Mapping[str, Any] = stored.attrs
    return str(attributes.get("encoding-type", ""))


def _matrix(stored: Any) -> Any:
    encoding = _encoding(stored)
    if encoding in ("csr_matrix", "csc_matrix"):
        return ad.io.sparse_dataset(stored)
    return stored if encoding == "array" and len(stored.shape) == 2 else ad.io.read_elem(stored)


def _array(stored: Any) -> Any:
    left = _encoding(stored) == "array" and stored.dtype.itemsize * stored.size > _HELD
    return stored if left else ad.io.read_elem(stored)
