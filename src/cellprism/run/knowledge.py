"""What is known of cells and genes and read beside them: labels, strata, names, ancestors of sets, networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism import genesets
from cellprism.data.beyond_memory import on_disk, row_blocks
from cellprism.data.columns import Labels, column_kind, label_columns, refuse_reserved, requested
from cellprism.data.expression import Expression, Matrix, take_matrices
from cellprism.data.missing import groups
from cellprism.errors import CellsLeftOut, InputError
from cellprism.features.inputs import blocks_and_donors
from cellprism.run.options import states
from cellprism.run.sources import SourceOptions

__all__ = [
    "Columns",
    "already_said",
    "cell_columns",
    "map_names",
    "nuisance_columns",
    "read_networks",
    "set_ancestors",
    "taken_matrices",
]


class Columns(NamedTuple):
    """Columns of the cells by their role."""

    labels: Labels
    strata: pd.Series | None
    """(cells,) donor or batch within which cells are compared, as text, None where missing; named as its column."""
    donor: pd.Series | None
    notes: tuple[str, ...]
    """How columns were taken and which cells they leave out."""


def cell_columns(
    cells: ad.AnnData | mudata.MuData, labels: Sequence[str], strata: str | None = None, donor: str | None = None
) -> Columns:
    """The ``obs`` columns that a run asks for, checked for the role that each has.

    Raises
    ------
    InputError
        Where cell names repeat, a column is missing or cannot have its role.
    """
    if not cells.obs_names.is_unique:
        raise InputError(
            "cell names must be unique",
            f"{cells.obs_names[cells.obs_names.duplicated()][0]!r} twice",
            "make them unique (adata.obs_names_make_unique()) and save the file again",
        )
    if not cells.obs.columns.is_unique:
        twice = cells.obs.columns[cells.obs.columns.duplicated()][0]
        raise InputError("names of obs columns must be unique", f"{twice!r} twice", "rename one of the two")
    found = label_columns(cells.obs, labels)
    within, unit = _grouping(cells.obs, strata, "strata"), _grouping(cells.obs, donor, "donors")
    design = blocks_and_donors(within, None, "strata" if unit is None else unit, cells.n_obs)
    return Columns(found, within, unit, (*found.notes, *design.notes))


@contextmanager
def already_said() -> Iterator[None]:
    """Keep the warnings of cells that are left out to oneself, where :attr:`Columns.notes` were shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CellsLeftOut)
        yield


def _grouping(obs: pd.DataFrame, column: str | None, role: str) -> pd.Series | None:
    """A column of strata or donors as text; any number of levels will do, as long as they are levels."""
    if column is None:
        return None
    name, stated = next(iter(requested([column], [str(c) for c in obs.columns]).items()))
    refuse_reserved([name])
    if stated == "number" or (stated is None and column_kind(obs[name]) == ("number", "")):
        raise InputError(
            f"{role} are categories",
            f"numbers {'asked for' if stated else 'with fractions'} in {name!r}",
            "give the column that names donors or batches",
        )
    return pd.Series(groups(obs[name]).text(), index=obs.index, name=name, dtype=object)


def nuisance_columns(expression: Expression) -> pd.DataFrame:
    """Depth (of the tested counts) and mitochondrial share, as far as they can be known: (cells, columns)."""
    found: dict[str, NDArray[np.float64]] = {}
    if expression.depth is not None:
        found["depth"] = expression.depth
    mito = np.array([s.upper().startswith("MT-") for s in expression.symbols])
    if mito.any():
        found["mitochondrial share"] = np.concatenate([_share(block, mito) for block in row_blocks(expression.values)])
    return pd.DataFrame(found, index=pd.RangeIndex(expression.values.shape[0]))


def _share(log: sp.csr_array, genes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(cells,) share of some genes in the natural values of all."""
    natural = log.copy()
    natural.data = np.expm1(natural.data)
    total = np.asarray(natural.sum(axis=1), dtype=np.float64).ravel()
    part = np.asarray(natural[:, genes].sum(axis=1), dtype=np.float64).ravel()
    return np.divide(part, total, out=np.zeros_like(total), where=total > 0)


def taken_matrices(
    cells: ad.AnnData | mudata.MuData, options: SourceOptions, say: Callable[[str], None]
) -> dict[str, Matrix]:
    """The matrices of what is tested, by modality; told where one is too large to be held."""
    taken = take_matrices(
        cells,
        layer=options.layer,
        raw=options.raw,
        gene_symbols=options.gene_symbols,
        state=states(options.expression_state),
        memory_limit=options.memory_limit,
    )
    for name, matrix in taken.items():
        if on_disk(matrix.values):
            say(
                f"{matrix.values.nnz:,} values of {name} ({matrix.where}) are more than --memory-limit "
                f"({options.memory_limit / 2**20:,.0f} MiB): they stay on disk, in the folder of temporary files"
            )
    return taken


def map_names(
    symbols: tuple[str, ...], table: Path | None, columns: tuple[str, str] | None, say: Callable[[str], None]
) -> tuple[str, ...]:
    """Symbols of genes as the gene sets name them, by two columns of a table."""
    if table is None or columns is None:
        return symbols
    mapped = genesets.map_ids(symbols, genesets.read_id_table(table, *columns))
    say(f"names by {table.name}: {mapped.summary()}")
    return tuple(map(str, mapped.names))


def set_ancestors(collections: Sequence[str], ontology: Path | None, sets: dict[str, list[str]]) -> dict[str, str]:
    """Set name -> level-1 ancestor, by the ontology given or those among the gene sets (``ontology+annotations``)."""
    files = [ontology] if ontology is not None else []
    files += [Path(one.partition("+")[0]) for one in collections if "+" in one and not Path(one).exists()]
    found: dict[str, str] = {}
    for file in files:
        found |= genesets.level1_ancestors(sets, genesets.read_ontology(file))
    return found


def read_networks(names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Signed networks (known by name, or tables) by the name they are shown with."""
    return {
        genesets.NETWORKS.get(one, Path(one).stem): (
            genesets.fetch_network(one) if one in genesets.NETWORKS else genesets.read_network(one)
        )
        for one in names
    }
