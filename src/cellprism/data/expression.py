"""Expression: taken from a file, and brought to depth-normalised log1p."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.beyond_memory import HELD, Gathering, on_disk, row_blocks
from cellprism.data.modalities import modalities, renamed
from cellprism.data.read import describe_keys, one_of_these
from cellprism.data.sparse import as_csr
from cellprism.data.state import State, row_totals, stated, to_log1p
from cellprism.data.stored import gathered, is_stored
from cellprism.errors import InputError

__all__ = [
    "Expression",
    "Matrix",
    "as_expression",
    "gene_names",
    "genes_of",
    "measured_expression",
    "take_matrices",
    "take_matrix",
]


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
    """(cells, genes), float32, log1p of values scaled to 10,000 a cell and modality where all genes are there."""
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
    adata: ad.AnnData,
    *,
    layer: str | None = None,
    raw: bool = False,
    gene_symbols: str | None = None,
    state: str | Mapping[str, str] | None = None,
    modality: str = "rna",
    memory_limit: float = HELD,
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
    state
        What the values are, for all modalities or by modality; None = decided by evidence.
    modality
        The name of this one.
    memory_limit
        Bytes of a matrix in a file that are held; a larger one is brought to temporary files.

    Raises
    ------
    InputError
        If the layer, ``.raw`` or column is missing, or the values are scaled, negative, not finite, all zero, or of a
        state that is neither told nor plain.
    """
    if raw and layer is not None:
        raise InputError("expression comes from one place", f"`raw=True` and `layer={layer!r}`", "give one of them")
    var, names = adata.var, adata.var_names
    if raw:
        if adata.raw is None:
            raise InputError(
                "`raw=True` needs an AnnData with .raw", "none in this file", f"leave it out: {_others(adata, '')}"
            )
        stored, where, var, names = adata.raw.X, ".raw", adata.raw.var, adata.raw.var_names
    elif layer is not None:
        if layer not in adata.layers:
            raise InputError(
                "the layer must exist",
                f"{layer!r}; there are {describe_keys(_layers(adata))}",
                one_of_these(layer, _layers(adata)),
            )
        stored, where = adata.layers[layer], f"layers[{layer!r}]"
    else:
        stored, where = adata.X, "X"
    others = _others(adata, where)
    if stored is None:
        raise InputError("expression must be stored in the file", f"no {where}", others)
    values = gathered(stored, where, memory_limit) if is_stored(stored) else as_csr(stored)
    symbols = _symbols(adata, var, names, gene_symbols)
    unique = tuple(map(str, ad.utils.make_index_unique(pd.Index(names.astype(str)))))
    return Matrix(values, unique, symbols, stated(state, modality, values, where, others), where)


def gene_names(adata: ad.AnnData, gene_symbols: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Unique names of the genes of X, and the symbols that gene sets use."""
    unique = ad.utils.make_index_unique(pd.Index(adata.var_names.astype(str)))
    return tuple(map(str, unique)), _symbols(adata, adata.var, adata.var_names, gene_symbols)


def _symbols(adata: ad.AnnData, var: pd.DataFrame, names: pd.Index, column: str | None) -> tuple[str, ...]:
    if column is None:
        return tuple(names.astype(str))
    if column in var:
        found = var[column]
    elif column in adata.var and set(names) <= set(adata.var_names):
        found = adata.var[column].reindex(names)
    else:
        where = "var" if var is adata.var else ".raw.var"
        elsewhere = column in adata.var
        raise InputError(
            f"the column of gene symbols must exist in {where}",
            f"{column!r}; there are {describe_keys(var.columns)}"
            + (
                f"; var has it, but .raw holds {len(set(names) - set(adata.var_names)):,} other genes"
                if elsewhere
                else ""
            ),
            "leave `raw=True` out, or give the symbols as a table of names (`id_table=`)"
            if elsewhere
            else f"{one_of_these(column, var.columns)} with `gene_symbols=`, or leave it out to use the gene names"
            if len(var.columns)
            else "leave it out to use the gene names, or give the symbols as a table of names (`id_table=`)",
        )
    return tuple("" if pd.isna(s) else str(s) for s in found.astype(object))


def _layers(adata: ad.AnnData) -> list[str]:
    return [name for name in adata.layers if name is not None]  # newer AnnData list X among the layers, as None


def _others(adata: ad.AnnData, where: str) -> str:
    """What else the file offers, for the remedy of a refusal."""
    options = ["`raw=True`"] if adata.raw is not None and where != ".raw" else []
    options += [f"`layer={name!r}`" for name in _layers(adata) if f"layers[{name!r}]" != where]
    return f"try {' or '.join(options[:4])}" if options else "store counts or log1p values in X or a layer"


def take_matrices(
    cells: ad.AnnData | mudata.MuData,
    *,
    layer: str | None = None,
    raw: bool = False,
    gene_symbols: str | None = None,
    state: str | Mapping[str, str] | None = None,
    memory_limit: float = HELD,
) -> dict[str, Matrix]:
    """:func:`take_matrix` of every modality, cells in one order; modalities without the layer, ``.raw`` or column do without.

    Raises
    ------
    InputError
        If no modality has them, or a state is given for a modality that is not there.
    """
    parts = modalities(cells)
    if isinstance(state, Mapping) and not set(state) <= set(parts):
        state = {renamed([name])[name]: value for name, value in state.items()}
    if isinstance(state, Mapping) and not set(state) <= set(parts):
        raise InputError(
            "states are given for modalities that there are",
            f"{sorted(set(state) - set(parts))[0]!r}; there are {describe_keys(parts)}",
            "name one of these",
        )
    several = len(parts) > 1
    use_layer = {n: layer if not several or layer in _layers(a) else None for n, a in parts.items()}
    use_raw = {n: raw and (not several or a.raw is not None) for n, a in parts.items()}
    use_symbols = {n: gene_symbols if not several or gene_symbols in a.var else None for n, a in parts.items()}
    for asked, used, what in (
        (layer is not None, use_layer, f"`layer={layer!r}`"),
        (raw, use_raw, "`raw=True`"),
        (gene_symbols is not None, use_symbols, f"`gene_symbols={gene_symbols!r}`"),
    ):
        if asked and not any(used.values()):
            raise InputError(
                f"{what} must exist in a modality", f"none in {', '.join(parts)}", "leave it out, or mend it"
            )
    return {
        name: take_matrix(
            adata,
            layer=use_layer[name],
            raw=use_raw[name],
            gene_symbols=use_symbols[name],
            state=state,
            modality=name,
            memory_limit=memory_limit,
        )
        for name, adata in parts.items()
    }


def measured_expression(
    cells: ad.AnnData | mudata.MuData,
    *,
    layer: str | None = None,
    raw: bool = False,
    gene_symbols: str | None = None,
    state: str | Mapping[str, str] | None = None,
    memory_limit: float = HELD,
) -> Expression:
    """Expression of all modalities, ready for testing.

    Parameters
    ----------
    cells
        AnnData, or MuData whose modalities hold the same cells, in whatever order.
    layer, raw, gene_symbols, state, memory_limit
        See :func:`take_matrix`; applied to every modality that has them.
    """
    parts = take_matrices(
        cells, layer=layer, raw=raw, gene_symbols=gene_symbols, state=state, memory_limit=memory_limit
    )
    return as_expression(parts)


def as_expression(parts: Mapping[str, Matrix], counts: Mapping[str, sp.csr_array] | None = None) -> Expression:
    """Expression of matrices by modality, ready for testing.

    Parameters
    ----------
    parts
        Of :func:`take_matrices`.
    counts
        By modality, counts to be used in place of those in the file: the part that a count split left for testing.
    """
    parts = {
        name: replace(matrix, values=counts[name], state="counts") if counts and name in counts else matrix
        for name, matrix in parts.items()
    }
    counted = [m.values for m in parts.values() if m.state == "counts"]
    depth = np.sum([row_totals(c) for c in counted], axis=0) if counted else None
    return Expression(
        values=_side_by_side([to_log1p(m.values, m.state) for m in parts.values()]),
        genes=genes_of(parts),
        symbols=tuple(s for m in parts.values() for s in m.symbols),
        modality=tuple(name for name, m in parts.items() for _ in m.genes),
        depth=depth,
        states={name: m.state for name, m in parts.items()},
    )


def genes_of(parts: Mapping[str, Matrix]) -> tuple[str, ...]:
    """Names of the genes of all modalities, made unique."""
    names = [g for m in parts.values() for g in m.genes]
    return tuple(map(str, ad.utils.make_index_unique(pd.Index(names))))


def _side_by_side(parts: list[sp.csr_array]) -> sp.csr_array:
    """Matrices of the same cells beside each other; in files where one of them lies in files."""
    if len(parts) == 1:
        return parts[0]
    if not any(on_disk(part) for part in parts):
        return sp.csr_array(sp.hstack(parts, format="csr"), dtype=np.float32)
    start = 0
    with Gathering(sum(part.shape[1] for part in parts), 0) as out:
        for block in row_blocks(max(parts, key=lambda part: part.nnz)):
            stop = start + block.shape[0]
            out.add(sp.csr_array(sp.hstack([part[start:stop] for part in parts], format="csr"), dtype=np.float32))
            start = stop
        return out.matrix()
