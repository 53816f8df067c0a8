"""Principal components of log-normalised expression, as an embedding model with a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.beyond_memory import changed, pieces, row_blocks
from cellprism.embed.base import (
    DEFAULT_LIBRARY,
    aligned,
    as_csr,
    check_width,
    is_counts,
    library_size,
    split_modalities,
)
from cellprism.embed.files import read_model, write_model
from cellprism.embed.principal_axes import principal_axes
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["PCAModel", "log_normalise"]

Scale = Literal["counts", "log1p"]


def log_normalise(X: Any, total: float = DEFAULT_LIBRARY) -> sparse.csr_array:
    """``log(1 + total * counts / library)``, (cells, genes) float32; cells without counts stay zero."""
    X = as_csr(X, copy=True)
    size = library_size(X)
    factor = np.divide(total, size, out=np.zeros_like(size), where=size > 0)
    X.data *= np.repeat(factor, np.diff(X.indptr)).astype(np.float32)
    np.log1p(X.data, out=X.data)
    return cast("sparse.csr_array", X)


@dataclass(frozen=True, eq=False, repr=False)
class PCAModel:
    """PCA of ``log1p(counts per 10,000)``; decoding is linear in that space and then mapped back to counts.

    The components are those of the selected genes; every gene, selected or not, has a loading (its least-squares
    regression on the scores, which for a selected gene is its own component), so that decoding speaks of all genes.
    """

    gene_names: list[str]
    centre: NDArray[np.float32]
    """(genes,) mean of the log-normalised expression."""
    components: NDArray[np.float32]
    """(d, genes), zero outside the selected genes: cell -> score."""
    loadings: NDArray[np.float32]
    """(d, genes): score -> cell."""
    explained: NDArray[np.float32]
    """(d,) share of the selected genes' variance."""
    scale: Scale
    """Whether the model takes raw counts or expression that was log-normalised before."""
    layer: str | None = None
    modality: str = "rna"

    name = "pca"

    def __repr__(self) -> str:
        return f"PCAModel({len(self.gene_names):,} genes in {len(self.components)} dimensions)"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The one modality."""
        return (self.modality,)

    @property
    def genes(self) -> dict[str, list[str]]:
        """Gene names by modality."""
        return {self.modality: self.gene_names}

    @classmethod
    @numbers_checked
    def fit(
        cls,
        adata: Any,
        genes: Sequence[str] | None = None,
        *,
        n_components: int = 30,
        n_top_genes: int | None = None,
        layer: str | None = None,
        modality: str = "rna",
        seed: int = 0,
        progress: bool = False,
    ) -> PCAModel:
        """Fit the components.

        Parameters
        ----------
        adata
            AnnData, MuData, or a (cells, genes) matrix; raw counts, or expression that is log-normalised already
            (taken as it is). Scaled or negative values are refused.
        genes
            Column names, for a matrix.
        n_components
            d; must be smaller than the number of cells and of selected genes.
        n_top_genes
            Take the components from this many highly variable genes (dispersion within bins of mean); None = all.
        layer, modality
            Where the expression lies in ``adata``.
        seed
            Of the solver's starting vector.
        progress
            Accepted for the common signature; the fit has no steps to show.
        """
        if not hasattr(adata, "var_names") and not hasattr(adata, "mod"):
            adata = _wrap(adata, genes)
        part = _modality(adata, modality)
        X = aligned(part, list(part.var_names), layer)
        scale = _scale_of(X)
        chosen = np.ones(X.shape[1], bool) if n_top_genes is None else _most_variable(X, scale, n_top_genes)
        limit = min(X.shape[0], int(chosen.sum()))
        if not 1 <= n_components < limit:
            raise InputError(
                "principal components must be at least 1 and fewer than cells and than genes used",
                f"{n_components} for {X.shape[0]} cells and {int(chosen.sum())} genes",
                f"`n_components={limit - 1}` at most" if limit > 1 else "give more cells and genes",
            )
        L = changed(X, lambda block: _logged(block, scale))
        every = bool(chosen.all())
        found = principal_axes(
            lambda: (block if every else block[:, chosen] for block in row_blocks(L)),
            (X.shape[0], int(chosen.sum())),
            n_components,
            seed,
        )
        components = np.zeros((n_components, X.shape[1]))
        components[:, chosen] = found.axes
        centre, loadings = _regressed(L, components, found.mean, chosen)
        return cls(
            gene_names=[str(g) for g in part.var_names],
            centre=centre.astype(np.float32),
            components=components.astype(np.float32),
            loadings=loadings.astype(np.float32),
            explained=found.explained.astype(np.float32),
            scale=scale,
            layer=layer,
            modality=modality,
        )

    def encode(self, adata: Any) -> NDArray[np.float32]:
        """Scores of cells, (cells, d) float32; genes are found by name."""
        part = _modality(adata, self.modality)
        X = aligned(part, self.gene_names, self.layer)
        if _scale_of(X) != self.scale:
            raise InputError(
                f"the model was fitted on {self.scale} and must be given the same",
                _scale_of(X),
                "give the expression on the scale of the training cells",
            )
        axes, middle = self.components.T, self.centre @ self.components.T
        scores = [_logged(block, self.scale) @ axes - middle for block in row_blocks(X)]
        return np.concatenate(scores).astype(np.float32, copy=False)

    def decode(self, Z: NDArray[Any], adata: Any = None) -> dict[str, NDArray[np.float32]]:
        """Expected counts at the points ``Z``, ``{modality: (cells, genes) float32}``.

        The linear reconstruction is clipped at zero and taken back through ``expm1``; counts have the library size of
        ``adata``'s cells, or 10,000. It is the mean on the log scale, so below the arithmetic mean of counts.
        """
        cells = None if adata is None else adata.n_obs
        Z = check_width(Z, self.components.shape[0], cells)
        out = np.expm1(np.clip(Z @ self.loadings + self.centre, 0.0, None))
        if adata is not None and self.scale == "counts":
            size = library_size(aligned(_modality(adata, self.modality), self.gene_names, self.layer))
            out *= (size / DEFAULT_LIBRARY).astype(np.float32)[:, None]
        return {self.modality: np.asarray(out, dtype=np.float32)}

    def save(self, path: str | Path) -> None:
        """Write ``model.json`` and ``model.safetensors`` into ``path``."""
        arrays = {k: getattr(self, k) for k in ("centre", "components", "loadings", "explained")}
        settings = {k: getattr(self, k) for k in ("gene_names", "scale", "layer", "modality")}
        write_model(path, self.name, settings, arrays)

    @classmethod
    def load(cls, path: str | Path) -> PCAModel:
        """Read a model that :meth:`save` wrote."""
        settings, arrays = read_model(path, cls.name)
        fields: dict[str, Any] = {**settings, **arrays}
        return cls(**fields)


def _wrap(X: Any, genes: Sequence[str] | None) -> Any:
    import pandas as pd
    from anndata import AnnData

    X = X if sparse.issparse(X) else np.asarray(X, dtype=np.float32)
    if X.ndim != 2:
        raise InputError("expression must be a matrix", f"shape {X.shape}", "give (cells, genes)")
    names = [str(i) for i in range(X.shape[1])] if genes is None else [str(g) for g in genes]
    if len(names) != X.shape[1]:
        raise InputError("genes must name every column", f"{len(names)} names, {X.shape[1]} columns", "give all names")
    obs = pd.DataFrame(index=[str(i) for i in range(X.shape[0])])
    return AnnData(X, obs=obs, var=pd.DataFrame(index=names))


def _modality(adata: Any, modality: str) -> Any:
    parts = split_modalities(adata)
    if not hasattr(adata, "mod"):
        return adata
    if modality not in parts:
        raise InputError("the modality must exist", f"{modality!r} among {list(parts)}", "name one of the modalities")
    return parts[modality]


def _logged(X: sparse.csr_array, scale: Scale) -> sparse.csr_array:
    return log_normalise(X) if scale == "counts" else X


def _most_variable(X: sparse.csr_array, scale: Scale, n: int) -> NDArray[np.bool_]:
    """(genes,) whether a gene is of the most variable ones; holds all cells."""
    import scanpy as sc
    from anndata import AnnData

    table = AnnData(sparse.csr_matrix(_logged(X, scale)))  # scanpy takes no sparse arrays here
    found = sc.pp.highly_variable_genes(table, n_top_genes=n, flavor="seurat", inplace=False)
    return np.asarray(found["highly_variable"])


def _regressed(
    L: sparse.csr_array, components: NDArray[np.float64], mean: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean of every gene (genes,), and its least-squares regression on the scores (d, genes): for a chosen one its components."""
    if chosen.all():
        return mean, components
    centre = np.zeros(L.shape[1])
    centre[chosen] = mean
    middle = components @ centre
    total, products, square = np.zeros(L.shape[1]), np.zeros(components.shape), np.zeros(len(components))
    for block in row_blocks(L):
        Z = block @ components.T - middle
        total += np.bincount(block.indices, block.data, L.shape[1])
        products += (block.T @ Z).T
        square += (Z**2).sum(axis=0)
    # Scores are uncorrelated and centred, so the regression of every gene on them needs no solve.
    loadings = products / np.maximum(square, np.finfo(float).tiny)[:, None]
    loadings[:, chosen] = components[:, chosen]
    return total / L.shape[0], loadings


def _scale_of(X: sparse.csr_array) -> Scale:
    if any(not np.isfinite(X.data[p]).all() or (X.data[p] < 0).any() for p in pieces(X.data.size)):
        raise InputError(
            "expression must be finite and non-negative",
            "negative or non-finite values, as after scaling",
            "give raw counts or log-normalised expression",
        )
    return "counts" if is_counts(X) else "log1p"
