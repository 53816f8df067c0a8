"""Reading AnnData and MuData files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import zarr

from cellprism.data.hdf5 import refuse_outside, refuse_unfinished
from cellprism.data.kind_of_file import what_it_is
from cellprism.data.lazily import lazily, lazily_mudata
from cellprism.data.lost_chunks import refuse_lost_chunks
from cellprism.data.opened import opened
from cellprism.errors import InputError

__all__ = ["describe_keys", "one_of_these", "read_cells", "sha256"]

_SUFFIXES = (".h5ad", ".h5mu", ".zarr")


def read_cells(path: str | Path, *, whole: bool = True) -> ad.AnnData | mudata.MuData:
    """Cells from a ``.h5ad``, ``.h5mu`` or ``.zarr`` (AnnData on Zarr) file.

    Columns that an ``.h5mu`` keeps in the ``obs`` of its modalities are put beside its own: under their name where the
    modalities agree in the cells that they share, as ``modality:name`` elsewhere.

    Parameters
    ----------
    path
        The file.
    whole
        Whether all of it is read. Else matrices stay in the file, see :func:`cellprism.data.lazily.lazily`, which
        :func:`cellprism.data.opened.closes_what_it_opens` around all that reads them closes.

    Raises
    ------
    InputError
        If the path does not exist, has another suffix, or cannot be read.

    Examples
    --------
    >>> from cellprism.data.read import read_cells
    >>> read_cells("cells.h5ad").shape
    (200, 765)
    """
    path = Path(path)
    if path.suffix not in _SUFFIXES:
        raise InputError(
            f"cells are read from {', '.join(_SUFFIXES)}",
            f"{path.name!r}",
            "save the AnnData with adata.write_h5ad(...); give an array of embeddings with `embedding=`",
        )
    if not path.exists():
        raise InputError("the file of cells must exist", f"no {path}", "check the path")
    try:
        if path.suffix != ".zarr":
            refuse_outside(path)
        refuse_unfinished(path)
        if path.suffix == ".h5mu":
            with mudata.set_options(pull_on_update=False):
                left = None if whole else lazily_mudata(opened(path))
                return _with_shared_columns(mudata.read_h5mu(path) if left is None else left)
        if path.suffix == ".zarr":
            group = zarr.open_group(path, mode="r")
            refuse_lost_chunks(group.get("X"), f"X of {path}")
            found = None if whole else lazily(group)
            return ad.read_zarr(path) if found is None else found
        found = None if whole else lazily(opened(path))
        return ad.read_h5ad(path) if found is None else found
    except InputError:
        raise
    # A damaged file shows itself as nearly any exception of h5py, zarr or anndata.
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    """Why a file could not be read, and what mends that."""
    rule = "the file of cells must be readable"
    told = what_it_is(path)
    if told is not None:
        return InputError(rule, f"{path}, {told[0]}", told[1])
    reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".rstrip(".")
    if "encoding_type" in str(error) or "update your installation" in str(error):
        return InputError(
            rule, f"{path}, which a newer AnnData wrote: {reason}", "upgrade it (pip install -U anndata mudata)"
        )
    nested, half = _odd_parts(path)
    if nested:
        shown = ", ".join(repr(key) for key in nested[:3])
        return InputError(
            rule,
            f"{path}: the key {shown} holds a slash, which HDF5 reads as a folder",
            f"rename it where the file was made, such as {nested[0].replace('/', '_')!r}, and save again",
        )
    if half:
        return InputError(rule, f"{path}: float16 in {half[0]}", "store it as float32 where the file was made")
    return InputError(
        rule, f"{path}: {reason}", "copy or save the file again; it may be truncated or of another format"
    )


def _odd_parts(path: Path) -> tuple[list[str], list[str]]:
    """Keys that were torn apart at a slash, and arrays of float16, of an HDF5 file that can be opened."""
    nested: list[str] = []
    half: list[str] = []
    try:
        with h5py.File(path) as file:
            file.visititems(lambda name, part: _look(name, part, nested, half))
    except (OSError, RuntimeError, KeyError):
        return [], []
    return nested, half


def _look(name: str, part: Any, nested: list[str], half: list[str]) -> None:
    above, _, key = name.rpartition("/")
    if isinstance(part, h5py.Group):
        place = above.rpartition("/")[2]
        if place in _KEYED and "encoding-type" not in part.attrs:
            nested += [f"{key}/{inner}" for inner in part]
    elif part.dtype == np.float16:
        half.append(name)


_KEYED = ("obsm", "varm", "obsp", "varp", "layers")


def _with_shared_columns(cells: mudata.MuData) -> mudata.MuData:
    obs = cells.obs.copy()
    parts = {name: part for name, part in cells.mod.items() if part.obs_names.is_unique}
    for column in dict.fromkeys(c for part in parts.values() for c in part.obs):
        found = {
            name: part.obs[column].astype(object).reindex(cells.obs_names)
            for name, part in parts.items()
            if column in part.obs
        }
        together = next(iter(found.values()))
        agree = True
        for values in found.values():
            agree &= bool(((together == values) | together.isna() | values.isna()).all())
            together = together.where(together.notna(), values)
        named = {column: together} if agree else {f"{name}:{column}": values for name, values in found.items()}
        for name, values in named.items():
            if name not in obs:
                obs[name] = values.infer_objects()
    cells.obs = obs
    return cells


def describe_keys(mapping: Any) -> str:
    """The keys that exist, for a message."""
    keys = [str(k) for k in mapping]
    return ", ".join(repr(k) for k in keys[:20]) + (", …" if len(keys) > 20 else "") if keys else "none"


def one_of_these(name: str, there: Iterable[Any]) -> str:
    """The remedy for a name that does not exist: several names in one are to be given apart, a slip is pointed out."""
    keys = [str(k) for k in there]
    if not keys:
        return "leave it out, or give data that have it"
    parts = [part.strip() for part in str(name).split(",")]
    if len(parts) > 1 and all(part in keys for part in parts):
        return f"give each by itself, {' and '.join(map(repr, parts))}"
    near = get_close_matches(str(name).casefold(), [k.casefold() for k in keys], 1, 0.75)
    meant = next((k for k in keys if near and k.casefold() == near[0]), None)
    return "give one of these" if meant is None else f"give one of these; {meant!r} is near"


def sha256(path: str | Path) -> str:
    """Digest of a file, or of all files of a folder with their names, in order."""
    digest = hashlib.sha256()
    root = Path(path)
    if not root.exists():
        raise InputError("a file must exist to be hashed", f"no {root}", "check the path")
    files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
    for file in files:
        if file != root:
            digest.update(str(file.relative_to(root)).encode())
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()
