"""Files of cells as containers: content that lies in other files of the machine, and writing that stopped half-way."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

from cellprism.errors import InputError

__all__ = ["refuse_outside", "refuse_unfinished", "unfinished"]

_PARTS = ("obs", "var", "obsm", "varm", "obsp", "varp", "layers", "uns")
"""What AnnData writes in every file, empty or not; the mark of its encoding comes last, when all is in it."""


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


def refuse_unfinished(path: str | Path) -> None:
    """Refuse a file whose writing stopped before the tables of cells and genes were whole.

    What AnnData then reads is cells and genes by number, without their names and columns.

    Raises
    ------
    InputError
        Names the table.
    """
    broken = [part for part in unfinished(path) if part.rpartition("/")[2] in ("obs", "var")]
    if broken:
        raise InputError(
            "a file of cells names its cells and genes",
            f"{path}, whose writing stopped before {broken[0]} was whole",
            "write it again, and look at what stopped it (adata.write_h5ad(...))",
        )


def unfinished(path: str | Path) -> list[str]:
    """Parts that are absent or not whole, of a file that AnnData or MuData began; none for files of before 0.8."""
    with _opened(Path(path)) as root:
        return _unfinished(root, "")


def _unfinished(group: Any, above: str) -> list[str]:
    kind = group.attrs.get("encoding-type")
    if kind not in ("anndata", "MuData"):
        return []
    wanted = [name for name in _PARTS if kind == "anndata" or name != "layers"]
    found = [f"{above}{name}" for name in wanted if name not in group or "encoding-type" not in group[name].attrs]
    if kind == "MuData" and "mod" in group:
        for name in group["mod"]:
            found += _unfinished(group[f"mod/{name}"], f"mod/{name}/")
    return found


def _opened(path: Path) -> AbstractContextManager[Any]:
    if path.suffix == ".zarr":
        import zarr

        return nullcontext(zarr.open_group(path, mode="r"))
    import h5py

    return cast("AbstractContextManager[Any]", h5py.File(path, "r"))


def _outside(path: str | Path, where: str, what: str) -> InputError:
    return InputError(
        "a file of cells holds all of its content itself",
        f"{what} at {where} of {path}",
        "write it again with adata.write_h5ad(...), if you trust it",
    )
