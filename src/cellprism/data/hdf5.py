"""HDF5 files that keep to themselves: content that lies in other files of the machine is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cellprism.errors import InputError

__all__ = ["refuse_outside"]


def refuse_outside(path: str | Path) -> None:
    """Refuse an HDF5 file with external links, external storage or virtual data sets.

    They make a file read any other file that its reader may read, so that a file from elsewhere could carry the content
    of private files into a page that is then passed on.

    Raises
    ------
    InputError
        Names the first such object.
    """
    import h5py

    with h5py.File(path, "r") as file:
        seen: set[Any] = set()
        pending: list[Any] = [file]
        while pending:
            group = pending.pop()
            if group.id in seen:
                continue
            seen.add(group.id)
            for name in group:
                link = group.get(name, getlink=True)
                where = f"{group.name.rstrip('/')}/{name}"
                if isinstance(link, h5py.ExternalLink):
                    raise _outside(path, where, f"a link to {link.filename!r}")
                if isinstance(link, h5py.SoftLink) and name not in group:  # leads nowhere; readers say so themselves
                    continue
                item = group[name]
                if isinstance(item, h5py.Group):
                    pending.append(item)
                elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                    raise _outside(path, where, "values that lie in another file")


def _outside(path: str | Path, where: str, what: str) -> InputError:
    return InputError(
        "a file of cells holds all of its content itself",
        f"{what} at {where} of {path}",
        "write it again with adata.write_h5ad(...), if you trust it",
    )
