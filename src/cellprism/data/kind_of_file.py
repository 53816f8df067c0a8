"""What a file that is no file of cells is instead, by its first bytes and its parts, and what mends that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

__all__ = ["what_it_is"]

_BYTES = (
    (b"\x1f\x8b", "which is gzipped", "unpack it: gunzip"),
    (b"PK\x03\x04", "which is a zip archive", "unpack it"),
    (b"BZh", "which is packed by bzip2", "unpack it: bunzip2"),
    (b"version https://git-lfs", "which is a pointer of Git LFS", "fetch the file itself: git lfs pull"),
    (b"CDF", "which is a NetCDF file", "save the AnnData with adata.write_h5ad(...)"),
    (b"RDX", "which is an R data file", "convert it to .h5ad in R"),
    (b"PAR1", "which is a Parquet table", "give it as the embedding, beside a file of cells"),
    (b"%%MatrixMarket", "which is a Matrix Market file", "read it with scanpy.read_10x_mtx(...) and write an .h5ad"),
)
_PARTS = (
    ({"matrix"}, "which is a matrix of 10x Genomics", "scanpy.read_10x_h5(...).write_h5ad(...)"),
    ({"matrix", "row_attrs", "col_attrs"}, "which is a loom file", "scanpy.read_loom(...).write_h5ad(...)"),
    ({"assays", "cell.names"}, "which is a file of Seurat", "convert it to .h5ad in R"),
)


def what_it_is(path: Path) -> tuple[str, str] | None:
    """What a file or folder with the name of a file of cells is, and a remedy; None where that cannot be told."""
    if path.is_dir():
        return None if path.suffix == ".zarr" else _of_folder(path)
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError:
        return None
    if not start:
        return "which is empty", "copy or save the file again: it may have been truncated"
    if h5py.is_hdf5(path):
        return _of_hdf5(path)
    if start.lstrip()[:1] == b"<":
        return "which is a web page or XML", "fetch the file itself: the page may say why it did not come"
    return next(((what, remedy) for mark, what, remedy in _BYTES if start.startswith(mark)), None)


def _of_folder(path: Path) -> tuple[str, str]:
    if any((path / name).exists() for name in (".zgroup", "zarr.json")):
        return "which is a Zarr folder", f"rename it to {path.stem}.zarr"
    return "which is a folder", "give the file"


def _of_hdf5(path: Path) -> tuple[str, str] | None:
    try:
        with h5py.File(path, "r") as file:
            kind, parts = file.attrs.get("encoding-type"), set(file)
    except (OSError, RuntimeError):
        return None
    own = _SUFFIX.get(kind if isinstance(kind, str) else "")
    if own is not None and own != path.suffix:
        return f"which holds {_HOLDS[own]}", f"rename it to {path.stem}{own}"
    if parts & {"obs", "var", "X"}:
        return None
    if not parts:
        return "which holds nothing: its writing may have been stopped", "write it again with adata.write_h5ad(...)"
    fitting: list[tuple[set[str], Any, Any]] = [one for one in _PARTS if one[0] <= parts]
    return max(fitting, key=lambda one: len(one[0]))[1:] if fitting else None


_SUFFIX = {"anndata": ".h5ad", "MuData": ".h5mu"}
_HOLDS = {".h5ad": "one AnnData", ".h5mu": "a MuData"}
