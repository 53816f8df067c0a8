"""What a user gives to `annotate`, checked and brought into one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellprism.data.columns import as_numbers, column_kind
from cellprism.data.missing import groups, missing
from cellprism.errors import InputError
from cellprism.stats.depth import depth_strata
from cellprism.stats.setindex import usable_symbols
from cellprism.stats.units import (
    MIN_DONOR_CELLS,
    MIN_DONORS,
    MIN_STRATUM_CELLS,
    Units,
    refuse_numbers,
    usable_units,
)

__all__ = ["Design", "blocks_and_donors", "gene_frame", "label_frame", "split_columns"]


def gene_frame(
    genes: Sequence[str], symbols: Sequence[str] | None, modality: str | Sequence[str], n_genes: int
) -> pd.DataFrame:
    """Gene names, symbols and modalities, one row a column of the expression."""
    nameless = np.flatnonzero(missing(pd.Series(list(genes), dtype=object)))
    if nameless.size:
        raise InputError(
            "every gene has a name", f"none for {nameless.size}, the first in place {nameless[0]}", "name or drop them"
        )
    names = np.array([str(g) for g in genes], dtype=object)
    if names.size != n_genes:
        raise InputError(
            "genes must name every column of the expression",
            f"{names.size} names and {n_genes} columns",
            "give one name a column",
        )
    unique, counts = np.unique(names.astype(str), return_counts=True)
    if (counts > 1).any():
        raise InputError(
            "gene names must be unique",
            f"{int((counts > 1).sum())} repeated ones, the first {str(unique[counts > 1][0])!r}",
            "make them unique (adata.var_names_make_unique()) and give the shared names as `symbols`",
        )
    symbol = usable_symbols(names.tolist() if symbols is None else symbols)
    if symbol.size != n_genes:
        raise InputError("symbols must have one entry a gene", f"{symbol.size} for {n_genes} genes", 'use "" for none')
    kinds = np.full(n_genes, modality, dtype=object) if isinstance(modality, str) else np.array(modality, dtype=object)
    if kinds.size != n_genes:
        raise InputError("modality must have one entry a gene", f"{kinds.size} for {n_genes} genes", "give one each")
    return pd.DataFrame({"gene": names, "symbol": symbol, "modality": kinds})


def label_frame(labels: pd.DataFrame | Mapping[str, Any] | None, n_cells: int) -> pd.DataFrame:
    """Label columns, one row a cell."""
    if labels is None:
        return pd.DataFrame(index=np.arange(n_cells))
    names = [str(k) for k in labels]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError("names of label columns must be unique", f"{twice!r} twice", "rename one of the two")
    columns = {str(k): _column(v) for k, v in labels.items()}
    for name, values in columns.items():
        if len(values) != n_cells:
            raise InputError(
                "labels must have one value a cell",
                f"{len(values)} values of {name!r} for {n_cells} cells",
                "give labels of all cells, None where unknown",
            )
    return pd.DataFrame(columns, index=np.arange(n_cells))


class Design(NamedTuple):
    """Which cells are compared with which."""

    blocks: np.ndarray | None
    """(kept cells,) cells are only compared within these; None: all with all."""
    donors: np.ndarray | None
    """(kept cells,) number of the donor, where tests are over donors."""
    kept: np.ndarray
    """(cells,) True for the cells that enter the tests of genes and gene sets."""
    notes: tuple[str, ...]
    """Who is left out, and why cells are the unit where donors were given."""


def blocks_and_donors(
    strata: np.ndarray | pd.Series | None,
    depth: np.ndarray | None,
    donor: np.ndarray | pd.Series | str | None,
    n_cells: int,
) -> Design:
    """Blocks within which cells are compared (strata by donor by bins of depth), and the donor of each cell.

    With fewer than three usable donors there is no test over donors: they are strata then. What is usable is told in
    :mod:`cellprism.stats.units`.

    Raises
    ------
    InputError
        Where strata or donors have not one value a cell, or fewer than two usable strata remain.
    """
    if isinstance(donor, str) and donor != "strata":
        raise InputError("donor is 'strata', an array, or None", repr(donor), "give the donor of each cell")
    if strata is not None:  # by its own name, before it is taken for donors
        refuse_numbers(strata, "stratum")
    unit = strata if isinstance(donor, str) else donor
    design = Design(None, None, np.ones(n_cells, dtype=bool), ())
    if unit is not None:
        donors = usable_units(unit, "donor", MIN_DONOR_CELLS, n_cells)
        if donors.names.size >= MIN_DONORS:
            design = _within(design, donors)._replace(donors=donors.number)
        elif unit is not strata:
            design = _within(design, usable_units(unit, "donor", MIN_STRATUM_CELLS, n_cells))
            few = f"cells are the unit of the tests, compared within donors: {donors.names.size} of them"
            design = design._replace(
                notes=(*design.notes, f"{few} have {MIN_DONOR_CELLS} cells, fewer than {MIN_DONORS}")
            )
    if strata is not None and (strata is not unit or design.donors is None):
        design = _within(design, _strata(strata, n_cells))
    if not design.kept.any():
        raise InputError(
            "tests within donors need donors with two cells or more",
            "; ".join(design.notes) or "none",
            "give the column that holds the donors, or leave it out",
        )
    kept, blocks, numbers = design.kept, design.blocks, design.donors
    blocks, numbers = (None if a is None else a[kept] for a in (blocks, numbers))
    if depth is not None:
        blocks = depth_strata(_one_a_cell(depth, "depth", n_cells)[kept], blocks)
    return Design(blocks, numbers, kept, design.notes)


def _strata(strata: np.ndarray | pd.Series, n_cells: int) -> Units:
    found = usable_units(strata, "stratum", MIN_STRATUM_CELLS, n_cells)
    if found.names.size < 2:
        left = "; ".join(found.notes)
        where = f" in {strata.name!r}" if isinstance(strata, pd.Series) and strata.name else ""
        raise InputError(
            f"strata need at least two levels, each of {MIN_STRATUM_CELLS} cells or more",
            (f"one level, {str(found.names[0])!r}" if found.names.size else "none")
            + where
            + (f" ({left})" if left else ""),
            "leave the strata out, or give a column of donors or batches",
        )
    return found


def _within(design: Design, units: Units) -> Design:
    """The design with blocks divided further, and without the cells of no usable unit."""
    kept = design.kept & units.kept
    before = 0 if design.blocks is None else design.blocks
    blocks = np.where(kept, before * units.names.size + units.number, -1)
    notes = tuple(f"{note}: left out of the tests of genes and gene sets" for note in units.notes)
    return design._replace(blocks=blocks, kept=kept, notes=(*design.notes, *notes))


def _column(values: Any) -> Any:
    if isinstance(values, np.ma.MaskedArray):
        return pd.Series(values).array
    return values.array if isinstance(values, pd.Series) else values if hasattr(values, "dtype") else np.asarray(values)


def _one_a_cell(values: np.ndarray, name: str, n_cells: int) -> np.ndarray:
    out = np.asarray(values)
    if out.shape != (n_cells,):
        raise InputError(f"{name} must have one value a cell", f"shape {out.shape} for {n_cells} cells", "give all")
    return out


def split_columns(
    labels: pd.DataFrame, kinds: Mapping[str, str] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Categorical and continuous columns, as told in ``kinds`` or by :func:`cellprism.data.columns.column_kind`."""
    categorical: dict[str, np.ndarray] = {}
    continuous: dict[str, np.ndarray] = {}
    for name in labels.columns:
        stated = (kinds or {}).get(str(name))
        if stated not in (None, "category", "number"):
            raise InputError("a column is 'category' or 'number'", f"{stated!r} for {name!r}", "use one of these")
        if (stated or column_kind(labels[name])[0]) == "number":
            continuous[str(name)] = as_numbers(labels[name], str(name))
        else:
            categorical[str(name)] = groups(labels[name]).text()
    unknown = [name for name in kinds or {} if name not in labels.columns]
    if unknown:
        raise InputError("kinds are told of label columns", f"{unknown[0]!r}", "give the names of the labels")
    return categorical, continuous
