"""Arrays on disk for what would not fit into memory: in files without a name, gone when the process is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import DTypeLike

from cellprism.errors import InputError

__all__ = ["Growing", "mapped", "room_for"]

_BYTES = 2**24
_HELD = 2**28


def room_for(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros: in memory up to 256 MiB, as :func:`mapped` beyond."""
    small = np.prod(shape, dtype=np.float64) * np.dtype(dtype).itemsize <= _HELD
    return np.zeros(shape, dtype) if small else mapped(shape, dtype)


def mapped(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """An array of zeros in a file that nobody else sees; its room is taken before anything is written.

    Raises
    ------
    InputError
        Where the disk has no room for it. Without the room taken first, the first write beyond it would kill the process.
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if not size:
        return np.zeros(shape, dtype)
    with _room(size), tempfile.TemporaryFile() as file:  # the map holds it open
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:  # pragma: no cover - not on Linux
            for start in range(0, size, _BYTES):
                file.write(bytes(min(_BYTES, size - start)))
            file.flush()
        return _map(file, dtype).reshape(shape)


class Growing:
    """A one-dimensional array on disk that is written piece by piece within a ``with``, then mapped."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype, self.size = np.dtype(dtype), 0
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving; the map outlives it

    def __enter__(self) -> Growing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, values: np.ndarray) -> None:
        """Write more of it."""
        with _room(values.size * self.dtype.itemsize):
            self._file.write(np.ascontiguousarray(values, dtype=self.dtype).data)
        self.size += values.size

    def array(self) -> np.ndarray:
        """What was written."""
        with _room(0):
            self._file.flush()
        return _map(self._file, self.dtype) if self.size else np.empty(0, self.dtype)


def _map(file: IO[bytes], dtype: DTypeLike) -> np.ndarray:
    array: np.ndarray[Any, Any] = np.memmap(file, dtype, mode="r+").view(np.ndarray)
    return array


@contextmanager
def _room(size: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            "what is larger than the memory it may take needs room in the folder of temporary files",
            f"{error.strerror or error} for {size / 2**20:,.0f} MiB in {tempfile.gettempdir()}",
            "make room there, or name another folder in TMPDIR",
        ) from error
