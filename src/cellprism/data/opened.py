"""Files of cells that stay open while their matrices are read piece by piece, and when they are closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py

__all__ = ["closes_what_it_opens", "opened"]

_AT_THE_END: ContextVar[ExitStack | None] = ContextVar("files to close at the end", default=None)


def opened(path: Path) -> h5py.File:
    """An HDF5 file to read from; closed where the :func:`closes_what_it_opens` around it ends."""
    import h5py  # the command line, which uses what is below, starts without it

    file = h5py.File(path)
    if (stack := _AT_THE_END.get()) is not None:
        stack.callback(file.close)
    return file


@contextmanager
def closes_what_it_opens() -> Iterator[None]:
    """Within, files of cells stay open for matrices that are read piece by piece; afterwards none is.

    HDF5 refuses to write a file that is open, and matrices of a finished job may live on in a cycle of references or in
    the traceback of an error until the garbage collector comes by.
    """
    with ExitStack() as stack:
        before = _AT_THE_END.set(stack)
        try:
            yield
        finally:
            _AT_THE_END.reset(before)
