"""What is known of cells and genes and read beside them: labels, strata, names, ancestors of sets, networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import anndata as ad
import mudata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism import genesets
from cellprism.data.columns import Labels, column_kind, label_columns, refuse_reserved, requested
from cellprism.data.expression import Expression
from cellprism.data.missing import groups
from cellprism.errors import CellsLeftOut, InputError
from cellprism.features.inputs import blocks_and_donors

__all__ = [
    "Columns",
    "already_said",
    "cell_columns",
    "map_names",
    "nuisance_columns",
    "read_networks",
    "set_ancestors",
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
    name = next(iter(requested([column], [str(c) for c in obs.columns])))
    refuse_reserved([name])
    numbers = pd.api.types.is_float_dtype(obs[name]) and column_kind(obs[name]) == ("number", "")
    if numbers:
        raise InputError(
            f"{role} are categories",
            f"numbers with fractions in {name!r}",
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
        natural = expression.values.copy()
        natural.data = np.expm1(natural.data)
        total = np.asarray(natural.sum(axis=1), dtype=np.float64).ravel()
        part = np.asarray(natural[:, mito].sum(axis=1), dtype=np.float64).ravel()
        found["mitochondrial share"] = np.divide(part, total, out=np.zeros_like(total), where=total > 0)
    return pd.DataFrame(found, index=pd.RangeIndex(expression.values.shape[0]))


def map_names(
    expression: Expression, table: Path | None, columns: tuple[str, str] | None, say: Callable[[str], None]
) -> Expression:
    """Expression whose genes are named as the gene sets name them, by two columns of a table."""
    if table is None or columns is None:
        return expression
    mapped = genesets.map_ids(expression.symbols, genesets.read_id_table(table, *columns))
    say(f"names by {table.name}: {mapped.summary()}")
    return replace(expression, symbols=tuple(map(str, mapped.names)))


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
