"""Stored cells that refuse to be read as a whole: what goes through them in pieces never notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

HARMLESS = {np.may_share_memory, np.shape, np.ndim}


class Guarded(np.memmap):  # type: ignore[type-arg]
    """A memory map of which no more than ``most`` rows can be had at once, and of which nothing is computed as a whole."""

    most: int

    def __getitem__(self, key: Any) -> Any:
        got = np.ndarray.__getitem__(self.view(np.ndarray), key)
        rows = len(got) if got.ndim == self.ndim else 1
        if rows > self.most:
            raise AssertionError(f"{rows:,} of {len(self):,} rows at once, more than {self.most:,}")
        return got

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"{ufunc.__name__} of all rows")

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in HARMLESS:
            return super().__array_function__(function, types, args, kwargs)
        raise AssertionError(f"{function.__name__} of all rows")


def guarded(values: np.ndarray, folder: Path, most: int) -> Guarded:
    """The values in a file of ``folder``, guarded."""
    np.save(folder / "guarded.npy", values)
    mapped = np.load(folder / "guarded.npy", mmap_mode="r").view(Guarded)
    mapped.most = most
    return mapped
