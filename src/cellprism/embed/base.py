"""What an embedding model is here, and how a cell's counts reach one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.beyond_memory import pieces
from cellprism.data.modalities import modalities
from cellprism.data.sparse import as_csr as canonical
from cellprism.errors import InputError

__all__ = [
    "EmbeddingModel",
    "aligned",
    "as_csr",
    "check_width",
    "is_counts",
    "library_size",
    "matrix",
    "split_modalities",
    "without_zeros",
]

DEFAULT_LIBRARY = 1e4
"""Total counts a cell is decoded to where no cell tells its own."""


@runtime_checkable
class EmbeddingModel(Protocol):
    """A model that places cells in a latent space and can tell what a point of that space expresses.

    ``decode`` returns non-negative expected counts. With ``adata`` (the cells the rows of ``Z`` stand for) the counts
    have each cell's own library size and batch; without, 10,000 counts a cell and the model's reference batch.
    """

    name: str
    modalities: tuple[str, ...]
    genes: dict[str, list[str]]

    def encode(self, adata: Any) -> NDArray[np.float32]:
        """Embed cells: (cells, d) float32."""
        ...

    def decode(self, Z: NDArray[Any], adata: Any = None) -> dict[str, NDArray[np.float32]]:
        """Expected counts a modality: (cells, features) float32."""
        ...

    def save(self, path: str | Path) -> None:
        """Write the model into the folder ``path`` (JSON and safetensors)."""
        ...


def is_counts(X: Any) -> bool:
    """Whether every entry of a dense or sparse matrix is a finite non-negative integer.

    Examples
    --------
    >>> prism.embed.is_counts(np.array([[0, 2], [1, 0]])), prism.embed.is_counts(np.array([[0.5]]))
    (True, False)
    """
    values = np.asarray(X.data if hasattr(X, "indptr") else X)
    values = values.reshape(-1) if values.ndim != 1 else values
    if values.size == 0:
        return True
    return all(
        bool(np.isfinite(values[p]).all() and values[p].min() >= 0 and (values[p] == np.rint(values[p])).all())
        for p in pieces(values.size)
    )


def split_modalities(data: Any) -> dict[str, Any]:
    """Modality name -> AnnData: those of a MuData as :func:`cellprism.data.modalities.modalities` gives them."""
    if hasattr(data, "mod"):
        return dict(modalities(data))
    if not (hasattr(data, "X") and hasattr(data, "var_names")):
        raise InputError(
            "cells must come as an AnnData or MuData", type(data).__name__, "wrap the matrix in an AnnData"
        )
    return {"rna": data}


def matrix(adata: Any, layer: str | None = None) -> Any:
    """``adata.X`` or a layer of it, as it is."""
    if layer is None:
        if adata.X is None:
            raise InputError("the AnnData must hold a matrix in X", "X is None", "name the layer that holds the counts")
        return adata.X
    if layer not in adata.layers:
        raise InputError(
            "the layer must exist",
            f"{layer!r} among {[name for name in adata.layers if name is not None]}",
            "name one of the layers",
        )
    return adata.layers[layer]


def aligned(adata: Any, genes: Sequence[str], layer: str | None = None) -> sparse.csr_array:
    """The columns ``genes`` of a matrix, found by name.

    Returns
    -------
    csr_array
        (cells, len(genes)) float32.

    Raises
    ------
    InputError
        When a gene is missing or ``var_names`` are not unique: matching by position would be silently wrong.
    """
    if not adata.var_names.is_unique:
        raise InputError("var_names must be unique", "duplicate names", "call adata.var_names_make_unique()")
    at = adata.var_names.get_indexer(list(genes))
    missing = np.flatnonzero(at < 0)
    if missing.size:
        shown = ", ".join(repr(genes[i]) for i in missing[:3])
        raise InputError(
            "the cells must have every gene the model was trained on",
            f"{missing.size} of {len(genes)} missing, as {shown}",
            "give cells with the model's genes, or add the missing ones as zero columns if they were not detected",
        )
    X = matrix(adata, layer)
    X = as_csr(X if sparse.issparse(X) else X[:])
    return X if at.size == adata.n_vars and bool((at == np.arange(at.size)).all()) else as_csr(X[:, at])


def as_csr(X: Any, *, copy: bool = False) -> sparse.csr_array:
    """Any dense or sparse matrix as a float32 ``csr_array``."""
    values = canonical(X)
    return values.copy() if copy else values


def without_zeros(X: sparse.csr_array) -> sparse.csr_array:
    """The matrix without stored zeros; a copy where there were any, since the cells may share its arrays."""
    if X.data.all():
        return X
    X = X.copy()
    X.eliminate_zeros()
    return X


def library_size(X: Any) -> NDArray[np.float64]:
    """Total of each row, (cells,)."""
    return np.asarray(X.sum(axis=1), dtype=np.float64).ravel()


def check_width(Z: Any, width: int, cells: int | None = None) -> NDArray[np.float32]:
    """``Z`` as a finite (cells, width) float32 array, or an :class:`InputError`."""
    Z = np.asarray(Z, dtype=np.float32)
    if Z.ndim != 2 or Z.shape[1] != width:
        raise InputError(
            f"the embedding must have the model's {width} dimensions",
            f"an array of shape {Z.shape}",
            "give an array that this model made, or load the model that made the array",
        )
    if cells is not None and Z.shape[0] != cells:
        raise InputError(
            "the embedding must have one row a cell",
            f"{Z.shape[0]} rows for {cells} cells",
            "give the same cells for both",
        )
    if not np.isfinite(Z).all():
        raise InputError("the embedding must be finite", "NaN or infinity", "drop these cells")
    return cast("NDArray[np.float32]", Z)


def option_names(options: Mapping[str, Any], allowed: Sequence[str], model: str) -> None:
    """Refuse options a model does not have, naming those it has."""
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InputError(
            f"options of {model!r} must be among {', '.join(sorted(allowed))}", ", ".join(unknown), "correct the name"
        )
