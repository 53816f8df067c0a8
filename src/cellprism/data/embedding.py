"""Embeddings: where they come from, what must hold for them, and how they meet the cells of an expression file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.data.arrays import READ_ERRORS, read_sparse
from cellprism.data.read import describe_keys
from cellprism.data.sparse import as_dense
from cellprism.data.table import names_and_values, read_table
from cellprism.errors import InputError

__all__ = ["Embedding", "align", "embedding_from_obsm", "given_embedding", "read_embedding"]

_SUFFIXES = (".npy", ".npz", ".parquet", ".csv", ".tsv", ".csv.gz", ".tsv.gz", ".pt")


@dataclass(frozen=True, repr=False)
class Embedding:
    """Cells in the space that a model has learned."""

    values: NDArray[Any]
    """(cells, d)."""
    cells: tuple[str, ...] | None
    """Cell names, where the source has them."""
    source: str
    """Where it came from, for messages and the report."""
    rows: tuple[str, ...] | None = None
    """Numbers of rows that a table was saved with."""

    def __repr__(self) -> str:
        return f"Embedding({' x '.join(map(str, np.shape(self.values)))}, from {self.source})"


def embedding_from_obsm(cells: ad.AnnData | mudata.MuData, key: str) -> Embedding:
    """Embedding under an ``obsm`` key of the cells, or of one of their modalities.

    Raises
    ------
    InputError
        If no such key exists; names the keys that do.
    """
    holders = [cells, *(cells.mod.values() if isinstance(cells, mudata.MuData) else ())]
    for holder in holders:
        # MuData keeps a boolean array named after each modality among its obsm keys.
        if key in holder.obsm and getattr(holder.obsm[key], "dtype", None) != np.dtype(bool):
            stored = holder.obsm[key]
            where, names = f"obsm[{key!r}]", tuple(map(str, holder.obs_names))
            if isinstance(stored, pd.DataFrame):
                return Embedding(names_and_values(stored.reset_index(drop=True), where).values, names, where)
            return Embedding(as_dense(stored), names, where)
    existing = [k for h in holders for k in h.obsm if not (isinstance(cells, mudata.MuData) and k in cells.mod)]
    raise InputError(
        "the embedding's key must exist in obsm",
        f"{key!r}; there are {describe_keys(dict.fromkeys(existing))}",
        "give one of these with `rep=`, a file with `embedding=`, or make one with `embed='pca'`",
    )


def read_embedding(path: str | Path) -> Embedding:
    """Embedding from ``.npy``, ``.npz``, ``.parquet``, ``.csv``, ``.tsv`` (plain or ``.gz``) or ``.pt``.

    Tables may carry cell names in their index or in their first column of text. ``.npz`` files hold one array, or one
    named ``embedding`` (or ``X``), and may name the cells in ``cells``, or in the one array of text with an entry a row. ``.pt`` files hold a tensor, or a dict with one
    under these names; they are read weights-only, nothing is unpickled. Pickled ``.npy`` objects are refused.

    Raises
    ------
    InputError
        If the file is missing, unreadable or of another kind.

    Examples
    --------
    >>> from cellprism.data.embedding import read_embedding
    >>> read_embedding("geneformer.npy").values.shape
    (200, 12)
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    if suffix not in _SUFFIXES:
        raise InputError(
            f"embeddings are read from {', '.join(_SUFFIXES)}", f"{path.name!r}", "save it as .npy or .parquet"
        )
    if not path.is_file():
        raise InputError("the embedding file must exist", f"no {path}", "check the path")
    rows = None
    try:
        if suffix == ".npy":
            values, cells = np.load(path, mmap_mode="r", allow_pickle=False), None
        elif suffix == ".npz":
            values, cells = _from_npz(path)
        elif suffix == ".pt":
            values, cells = _from_pt(path)
        else:
            values, cells, rows = names_and_values(read_table(path, suffix), path.name)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError("text files are UTF-8", f"{path}: {error}", "save it as plain text in UTF-8") from error
    except (*READ_ERRORS, ImportError) as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        raise InputError(
            "the embedding file must be readable", f"{path}: {type(error).__name__}: {reason}", "save it again"
        ) from error
    return Embedding(values, cells, path.name, rows)


def _pick(names: list[str], path: Path) -> str:
    candidates: list[str] = ["embedding", "X", *(names if len(names) == 1 else [])]
    for name in candidates:
        if name in names:
            return name
    raise InputError("the file must hold one array or one named 'embedding'", f"{path}: {names}", "name it 'embedding'")


def _from_npz(path: Path) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        if "indptr" in file or {"format", "shape", "data"} <= set(file.files):
            values = read_sparse(path, "a sparse embedding must be readable").toarray()
            beside = {n: file[n] for n in file.files if n not in _SPARSE}
        else:
            texts = [n for n in file.files if n == "cells" or file[n].dtype.kind in "US"]
            values = file[_pick([n for n in file.files if n not in texts], path)]
            beside = {n: file[n] for n in texts}
        return values, _cell_names(beside, len(values), path) if values.ndim else None


_SPARSE = frozenset({"indices", "indptr", "data", "shape", "format", "row", "col", "offsets", "_is_array"})
"""What scipy.sparse.save_npz writes."""


_NAMES = frozenset(
    {"cell", "cell_names", "cell_ids", "cellid", "obs_names", "barcode", "barcodes", "names", "index", "ids"}
)
"""What names of cells are called where they are not `cells`."""


def _cell_names(beside: dict[str, Any], n: int, path: Path) -> tuple[str, ...] | None:
    """Names of the rows out of what lies beside the values: ``cells``, or the one list of text with an entry a row.

    One that repeats entries is of labels, and names nothing.
    """
    if "cells" in beside:
        return tuple(_decoded(v) for v in beside["cells"])
    texts = {
        name: found
        for name, values in beside.items()
        if len(found := np.atleast_1d(np.asarray(values))) == n and found.dtype.kind in "US" and found.ndim == 1
    }
    if len(texts) > 1:
        raise InputError(
            "one list beside an embedding names its cells",
            f"{len(texts)} in {path}: {', '.join(map(repr, texts))}",
            "call the names 'cells'",
        )
    for called, values in texts.items():
        names = tuple(_decoded(v) for v in values)
        # Entries that repeat are labels of the cells, unless they are called names: then they cannot be joined by.
        return names if len(set(names)) == n or called.lower() in _NAMES else None
    return None


def _decoded(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _from_pt(path: Path) -> tuple[NDArray[Any], tuple[str, ...] | None]:
    import pickle

    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, KeyError, EOFError, AttributeError, ValueError) as error:
        raise InputError(
            "a .pt embedding must be a tensor or a dict of tensors that loads without running code",
            f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "save it with torch.save(tensor, path), or as .npy",
        ) from error
    cells = None
    if isinstance(content, dict):
        name = _pick([str(k) for k, v in content.items() if isinstance(v, torch.Tensor)], path)
        beside = {str(k): v for k, v in content.items() if isinstance(v, (list, tuple))}
        content = content[name]
        cells = _cell_names(beside, len(content), path) if content.ndim else None
    if not isinstance(content, torch.Tensor):
        raise InputError(
            "a .pt embedding must hold a tensor", f"{path}: {type(content).__name__}", "save the tensor alone"
        )
    if content.is_complex() or content.is_quantized:
        raise InputError("an embedding holds real numbers", f"{content.dtype} in {path}", "save it as float32")
    dense = content.detach().to_dense() if content.layout != torch.strided else content.detach()
    return (dense.double() if dense.dtype == torch.float64 else dense.float()).numpy(), cells


def given_embedding(cells: ad.AnnData | mudata.MuData, rep: str | None, path: Path | None) -> Embedding:
    """Embedding of a file or, without one, of an ``obsm`` key, in the order of the cells.

    ``cells`` of the result are None where the file names none, so that it was joined by position.

    Raises
    ------
    InputError
        Where neither is given, or the one given cannot be read or has other cells.
    """
    if path is not None:
        embedding = read_embedding(path)
    elif rep is not None:
        embedding = embedding_from_obsm(cells, rep)
    else:
        raise InputError(
            "a run needs an embedding",
            f"none; obsm holds {describe_keys(cells.obsm)}",
            "give its obsm key with `rep=`, a file with `embedding=`, or make one with `embed='pca'`",
        )
    if (
        embedding.cells is None
        and embedding.rows is not None
        and set(cells.obs_names.astype(str)) <= set(embedding.rows)
    ):
        embedding = replace(embedding, cells=embedding.rows)  # the cells are named by numbers
    names = None if embedding.cells is None else tuple(map(str, cells.obs_names))
    return Embedding(align(embedding, cells.obs_names), names, embedding.source)


def align(embedding: Embedding, names: pd.Index) -> NDArray[Any]:
    """Rows of an embedding in the order of an expression file's cells.

    Joined on cell names where the embedding has them, by position where it has none and the numbers agree.

    Raises
    ------
    InputError
        If cells are missing, named twice, or the numbers differ.

    Examples
    --------
    >>> from cellprism.data.embedding import align, read_embedding
    >>> pd.DataFrame(X, index=cells.obs_names).iloc[::-1].to_parquet("reversed.parquet")
    >>> bool((align(read_embedding("reversed.parquet"), cells.obs_names) == X).all())
    True
    """
    n = len(embedding.values)
    if embedding.cells is None:
        if n != len(names):
            raise InputError(
                "an embedding without cell names must have a row for each cell of the expression",
                f"{n} rows in {embedding.source}, {len(names)} cells",
                "give the embedding of the same cells, or a table with cell names",
            )
        return embedding.values
    index = pd.Index(embedding.cells)
    for what, idx in (("embedding", index), ("expression", pd.Index(names.astype(str)))):
        if not idx.is_unique:
            raise InputError(
                f"cell names of the {what} must be unique", f"{idx[idx.duplicated()][0]!r} twice", "make them unique"
            )
    position = index.get_indexer(pd.Index(names.astype(str)))
    missing = np.flatnonzero(position < 0)
    if len(missing):
        raise InputError(
            "every cell of the expression needs a row in the embedding",
            f"{len(missing)} of {len(names)} without one, e.g. {str(names[missing[0]])!r}; the embedding names its cells like "
            f"{embedding.cells[0]!r}",
            "subset the AnnData to the embedded cells, or use the same cell names",
        )
    if n == len(names) and (position == np.arange(n)).all():
        return embedding.values
    return np.asarray(embedding.values[position])
