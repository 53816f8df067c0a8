"""A file that is no file of cells is told by what it is, with what mends that."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import mudata
import pytest
from helpers import counts_adata, multimodal

from cellprism.data.read import read_cells
from cellprism.errors import InputError


def _zip() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("cells.h5ad", "x")
    return packed.getvalue()


@pytest.mark.parametrize("suffix", [".h5ad", ".h5mu"])
@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (b"", "empty", "again"),
        (gzip.compress(b"x"), "gzipped", "gunzip"),
        (_zip(), "zip archive", "unpack"),
        (b"BZh91AY", "bzip2", "bunzip2"),
        (b"<!DOCTYPE html><html>404</html>", "web page", "fetch"),
        (b'\n<?xml version="1.0"?>', "XML", "fetch"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", "git lfs pull"),
        (b"RDX3\n", "R data", "convert"),
        (b"PAR1", "Parquet", "embedding"),
        (b"%%MatrixMarket matrix", "Matrix Market", "read_10x_mtx"),
        (b"CDF\x01", "NetCDF", "write_h5ad"),
    ],
)
def test_bytes_of_other_formats_are_told(suffix: str, content: bytes, what: str, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_cells(path)
    assert what in error.value.met
    assert remedy in error.value.remedy


def _groups(*names: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name in names:
                file.create_group(name)

    return write


def _modalities(path: Path) -> None:
    made = path.with_suffix(".h5mu")
    with mudata.set_options(pull_on_update=False):
        multimodal(rna=counts_adata()).write(made)
    made.rename(path)


@pytest.mark.parametrize(
    ("name", "write", "what", "remedy"),
    [
        ("a.h5ad", _groups("matrix"), "10x Genomics", "read_10x_h5"),
        ("a.h5ad", _groups("matrix", "row_attrs", "col_attrs", "layers"), "loom", "read_loom"),
        ("a.h5ad", _groups("assays", "cell.names", "meta.data"), "Seurat", "convert"),
        ("a.h5ad", _groups(), "holds nothing", "again"),
        ("a.h5ad", _modalities, "holds a MuData", "a.h5mu"),
        ("a.h5mu", lambda path: counts_adata().write_h5ad(path), "holds one AnnData", "a.h5ad"),
        ("a.h5ad", lambda path: path.mkdir(), "a folder", "give the file"),
        ("a.h5ad", lambda path: (path / ".zgroup").mkdir(parents=True), "Zarr", "a.zarr"),
    ],
)
def test_files_of_other_programs_are_told(
    name: str, write: Callable[[Path], None], what: str, remedy: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError) as error:
        read_cells(tmp_path / name)
    assert what in error.value.met
    assert remedy in error.value.remedy
