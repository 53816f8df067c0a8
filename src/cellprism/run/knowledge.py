"""What is known of cells and genes and read beside them: labels, strata, names, ancestors of sets, networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism import genesets
from cellprism.data.expression import Expression
from cellprism.data.read import describe_keys
from cellprism.errors import InputError

__all__ = ["label_columns", "map_names", "nuisance_columns", "read_networks", "set_ancestors"]

_MOST_CATEGORIES = 200


def label_columns(
    cells: ad.AnnData | mudata.MuData, labels: Sequence[str], strata: str | None = None, donor: str | None = None
) -> pd.DataFrame:
    """The ``obs`` columns that features are compared with, those of strata and donors included; text as categories.

    Raises
    ------
    InputError
        Where cell names repeat, a column is missing, or a column has one category or about as many as cells.
    """
    if not cells.obs_names.is_unique:
        raise InputError(
            "cell names must be unique",
            f"{cells.obs_names[cells.obs_names.duplicated()][0]!r} twice",
            "adata.obs_names_make_unique()",
        )
    wanted = dict.fromkeys([*labels, *(c for c in (strata, donor) if c)])
    for column in wanted:
        if column not in cells.obs:
            raise InputError(
                "the column must exist in obs",
                f"{column!r}; there are {describe_keys(cells.obs.columns)}",
                "give one of these",
            )
    obs: pd.DataFrame = cells.obs[list(wanted)].copy()
    for column in wanted:
        series = obs[column]
        if series.dtype == bool or series.dtype.kind not in "fiu":
            obs[column] = series.astype(object).where(series.notna(), None).astype("category")
            n = len(obs[column].cat.categories)
            if n < 2 or n > min(_MOST_CATEGORIES, max(2, len(obs) // 2)):
                raise InputError(
                    f"a label column needs 2 to {_MOST_CATEGORIES} categories, with two cells each on average",
                    f"{n} in {column!r} for {len(obs)} cells",
                    "leave it out, or group its values",
                )
    return obs


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
