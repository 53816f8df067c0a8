"""Expression: recognised as counts, normalised or log1p, and brought to depth-normalised log1p."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.arrays import check_sparse
from cellprism.data.read import describe_keys, modalities
from cellprism.errors import InputError

__all__ = ["Expression", "Matrix", "State", "measured_expression", "recognise", "take_matrix", "to_log1p"]

State = Literal["counts", "normalised", "log1p"]
TARGET_SUM = 1e4
# log1p values beyond this would be e^25 counts: the matrix cannot be on a log scale.
_LARGEST_LOG1P = 25.0


@dataclass(frozen=True)
class Matrix:
    """One modality's values as they lie in the file."""

    values: sp.csr_array
    """(cells, genes), float32."""
    genes: tuple[str, ...]
    """Unique names; a name met again carries a suffix, as AnnData makes them unique."""
    symbols: tuple[str, ...]
    """Names to match against gene sets; may be empty, repeated or "nan"."""
    state: State
    where: str
    """Where it was taken from: X, raw, or a layer."""


@dataclass(frozen=True)
class Expression:
    """What is tested: depth-normalised log1p values of all modalities, side by side."""

    values: sp.csr_array
    """(cells, genes), float32, log1p of values scaled to 10,000 a cell and modality."""
    genes: tuple[str, ...]
    symbols: tuple[str, ...]
    modality: tuple[str, ...]
    """Modality of each gene."""
    depth: NDArray[np.float64] | None
    """(cells,) total counts, where counts were given."""
    states: dict[str, State]
    """What came in, by modality."""

    def describe(self) -> str:
        """One clause for the report."""
        parts = [f"{m}: {s}" for m, s in self.states.items()] if len(self.states) > 1 else list(self.states.values())
        return ", ".join(parts)


def take_matrix(
    adata: ad.AnnData, *, layer: str | None = None, raw: bool = False, gene_symbols: str | None = None
) -> Matrix:
    """Values, names and symbols of one AnnData, in memory or backed.

    Parameters
    ----------
    adata
        Cells x genes.
    layer, raw
        Take ``layers[layer]`` or ``.raw`` in place of ``X``.
    gene_symbols
        Column of ``var`` with the symbols that gene sets use; None = the gene names.

    Raises
    ------
    InputError
        If the layer, ``.raw`` or column is missing, or the values are scaled, negative, not finite or all zero.
    """
    if raw and layer is not None:
        raise InputError("expression comes from one place", f"--raw and --layer {layer}", "give one of them")
    var, names = adata.var, adata.var_names
    if raw:
        if adata.raw is None:
            raise InputError("--raw needs an AnnData with .raw", "none in this file", "leave --raw out, or use --layer")
        stored, where, var, names = adata.raw.X, ".raw", adata.raw.var, adata.raw.var_names
    elif layer is not None:
        if layer not in adata.layers:
            raise InputError(
                "the layer must exist", f"{layer!r}; there are {describe_keys(adata.layers)}", "give one of these"
            )
        stored, where = adata.layers[layer], f"layers[{layer!r}]"
    else:
        stored, where = adata.X, "X"
    if stored is None:
        raise InputError("expression must be stored in the file", f"no {where}", "give --layer or --raw")
    values = _as_csr(stored)
    symbols = _symbols(adata, var, names, gene_symbols)
    unique = tuple(map(str, ad.utils.make_index_unique(pd.Index(names.astype(str)))))
    return Matrix(values, unique, symbols, recognise(values, where, _alternatives(adata, where)), where)


def _as_csr(stored: Any) -> sp.csr_array:
    if hasattr(stored, "to_memory"):  # a backed sparse matrix
        stored = stored.to_memory()
    if not sp.issparse(stored):
        stored = np.asarray(stored[:] if hasattr(stored, "file") else stored)
        if stored.dtype.kind not in "fiub":
            raise InputError("expression holds numbers", f"dtype {stored.dtype}", "store counts or log1p values")
    values = sp.csr_array(check_sparse(stored, "the expression"), dtype=np.float32)
    values.sum_duplicates()
    values.eliminate_zeros()
    return values


def _symbols(adata: ad.AnnData, var: pd.DataFrame, names: pd.Index, column: str | None) -> tuple[str, ...]:
    if column is None:
        return tuple(names.astype(str))
    if column in var:
        found = var[column]
    elif column in adata.var and set(names) <= set(adata.var_names):
        found = adata.var[column].reindex(names)
    else:
        raise InputError(
            "the column of gene symbols must exist in var",
            f"{column!r}; there are {describe_keys(var.columns)}",
            "give one of these with --gene-symbols, or leave it out to use var_names",
        )
    return tuple("" if pd.isna(s) else str(s) for s in found.astype(object))


def _alternatives(adata: ad.AnnData, where: str) -> str:
    """What else the file offers, for the remedy of a refusal."""
    options = ["--raw"] if adata.raw is not None and where != ".raw" else []
    options += [f"--layer {name}" for name in adata.layers if f"layers[{name!r}]" != where]
    return f"try {' or '.join(options[:4])}" if options else "store counts or log1p values in X or a layer"


def recognise(values: sp.csr_array, where: str = "X", remedy: str = "store counts or log1p values") -> State:
    """What kind of values an expression matrix holds.

    Whole numbers are counts; values of at most 25 are log1p (log1p of anything larger would not be met); the rest are
    normalised values on the natural scale.

    Raises
    ------
    InputError
        If values are NaN, infinite or negative (scaled), or all zero.
    """
    data = values.data
    if not np.isfinite(data).all():
        raise InputError(
            "expression must be finite", f"{int((~np.isfinite(data)).sum())} NaN or infinite values in {where}", remedy
        )
    if len(data) and data.min() < 0:
        negative = int((data < 0).sum())
        raise InputError(
            "expression must not be negative: scaled or centred values cannot be tested as expression",
            f"{negative:,} negative values in {where}, the least {data.min():.3g}",
            remedy,
        )
    if not len(data) or data.max() == 0:
        raise InputError("expression must not be zero everywhere", f"no positive value in {where}", remedy)
    if not np.mod(data, 1).any():
        return "counts"
    return "log1p" if data.max() <= _LARGEST_LOG1P else "normalised"


def to_log1p(values: sp.csr_array, state: State) -> sp.csr_array:
    """Depth-normalised log1p values: counts are scaled to 10,000 a cell first; cells without counts stay zero."""
    if state == "log1p":
        return values
    out = values.copy()
    if state == "counts":
        depth = np.asarray(values.sum(axis=1), dtype=np.float64).ravel()
        factor = np.divide(TARGET_SUM, depth, out=np.zeros_like(depth), where=depth > 0)
        out.data = out.data * np.repeat(factor, np.diff(out.indptr)).astype(np.float32)
    out.data = np.log1p(out.data)
    return out


def measured_expression(
    cells: ad.AnnData | mudata.MuData,
    *,
    layer: str | None = None,
    raw: bool = False,
    gene_symbols: str | None = None,
    counts: dict[str, sp.csr_array] | None = None,
) -> Expression:
    """Expression of all modalities, ready for testing.

    Parameters
    ----------
    cells
        AnnData, or MuData whose modalities share their cells.
    layer, raw, gene_symbols
        See :func:`take_matrix`; applied to every modality that has them.
    counts
        By modality, counts to be used in place of those in the file: the part that a count split left for testing.
    """
    parts: dict[str, Matrix] = {}
    for name, adata in modalities(cells).items():
        matrix = take_matrix(adata, layer=layer, raw=raw, gene_symbols=gene_symbols)
        if counts is not None and name in counts:
            matrix = replace(matrix, values=counts[name], state="counts")
        if isinstance(cells, mudata.MuData) and adata.n_obs != cells.n_obs:
            raise InputError(
                "all modalities must hold the same cells",
                f"{adata.n_obs} cells in {name!r}, {cells.n_obs} in all",
                "keep the shared cells: mudata.pp.intersect_obs(mdata)",
            )
        parts[name] = matrix
    counted = [m.values for m in parts.values() if m.state == "counts"]
    depth = np.sum([np.asarray(c.sum(axis=1), dtype=np.float64).ravel() for c in counted], axis=0) if counted else None
    genes = [g for m in parts.values() for g in m.genes]
    return Expression(
        values=sp.csr_array(
            sp.hstack([to_log1p(m.values, m.state) for m in parts.values()], format="csr"), dtype=np.float32
        ),
        genes=tuple(map(str, ad.utils.make_index_unique(pd.Index(genes)))),
        symbols=tuple(s for m in parts.values() for s in m.symbols),
        modality=tuple(name for name, m in parts.items() for _ in m.genes),
        depth=depth,
        states={name: m.state for name, m in parts.items()},
    )
