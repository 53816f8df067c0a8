"""Arrays from files, checked before anything indexes with them."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors import SafetensorError

from cellprism.errors import InputError

__all__ = ["READ_ERRORS", "check_sparse", "read_dense", "read_sparse", "readable"]

READ_ERRORS: Final = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, ArithmeticError, RecursionError,
    MemoryError, NotImplementedError, SyntaxError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile,
    tokenize.TokenError, SafetensorError,
)  # fmt: skip
"""What parsers raise on a damaged file; none of it is a defect of the caller."""


@contextmanager
def readable(path: Path, rule: str, remedy: str = "copy it again, or make it again") -> Iterator[None]:
    """Turn whatever a parser makes of a damaged file into an :class:`InputError`; the errors of checks pass."""
    try:
        yield
    except InputError:
        raise
    except READ_ERRORS as error:
        reason = str(error).strip().splitlines()
        told = f"{path}: {reason[0] if reason else type(error).__name__}"
        raise InputError(rule, told, remedy) from error


def read_sparse(path: str | Path, rule: str = "the sparse matrix must be readable") -> sp.csr_array:
    """A matrix that ``scipy.sparse.save_npz`` wrote, as CSR with sorted, unique indices.

    Raises
    ------
    InputError
        If the file is missing, damaged or another kind, or its indices lead outside the matrix: SciPy does not look, and
        its compiled code would read and write wherever they point.
    """
    path = Path(path)
    with readable(path, rule), path.open("rb") as file:  # opened here: of a cut archive NumPy leaves the file open
        _check_positions(file, path)
        matrix = check_sparse(sp.load_npz(file), str(path))
        if matrix.ndim != 2:
            raise ValueError(f"{matrix.ndim} dimensions")
        return sp.csr_array(matrix)


def _check_positions(file: IO[bytes], path: Path) -> None:
    """Refuse positions that are no whole numbers, which SciPy would cut to some; of the archive only headers are read."""
    with zipfile.ZipFile(file) as archive:
        for name in ("indices", "indptr", "row", "col", "offsets"):
            if f"{name}.npy" in archive.namelist():
                with archive.open(f"{name}.npy") as member:
                    version = np.lib.format.read_magic(member)
                    read = (
                        np.lib.format.read_array_header_1_0
                        if version == (1, 0)
                        else np.lib.format.read_array_header_2_0
                    )
                    kind = read(member)[2]
                if kind.kind not in "iu":
                    raise InputError(
                        "positions in a sparse matrix are whole numbers",
                        f"{name} of {kind} in {path}",
                        "write it again",
                    )
    file.seek(0)


def check_sparse(matrix: Any, where: str) -> Any:
    """The same sparse matrix, after its indices were found to lie inside it; for CSR and CSC, sorted and unique.

    Raises
    ------
    InputError
        Where they do not, or the values are no real numbers.
    """
    remedy = "the file is damaged: write it again"
    if matrix.dtype.kind not in "biuf":
        raise InputError("a sparse matrix holds real numbers", f"{matrix.dtype} in {where}", "convert it to float32")
    if matrix.format in ("csr", "csc", "bsr"):
        try:
            matrix.check_format(full_check=True)
        except (ValueError, TypeError, IndexError) as error:
            raise InputError("the indices of a sparse matrix lie inside it", f"{where}: {error}", remedy) from error
        if matrix.format != "bsr" and not matrix.has_canonical_format:
            matrix = matrix.copy()  # what a caller holds stays as it is
            matrix.sum_duplicates()  # sorts them too
    elif matrix.format == "coo":
        for axis, n in zip(matrix.coords, matrix.shape, strict=True):
            if axis.size and not 0 <= axis.min() <= axis.max() < n:
                raise InputError("the indices of a sparse matrix lie inside it", f"others in {where}", remedy)
    return matrix


def read_dense(path: str | Path, rule: str = "the array must be readable") -> NDArray[Any]:
    """A ``.npy`` file, mapped into memory; nothing is unpickled.

    Raises
    ------
    InputError
        If the file is missing, damaged or holds objects.
    """
    path = Path(path)
    with readable(path, rule):
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(values, np.ndarray):
            raise TypeError("an archive of several arrays")
        return values
