"""What a user gives to `annotate`, checked and brought into one shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.stats.depth import depth_strata
from cellprism.stats.pseudobulk import MIN_DONORS
from cellprism.stats.setindex import usable_symbols

__all__ = ["blocks_and_donors", "check_options", "gene_frame", "label_frame", "split_columns"]

NULLS = ("random", "permuted", "random_sets")


def gene_frame(
    genes: Sequence[str], symbols: Sequence[str] | None, modality: str | Sequence[str], n_genes: int
) -> pd.DataFrame:
    """Gene names, symbols and modalities, one row a column of the expression."""
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
            f"{int((counts > 1).sum())} repeated ones, the first {unique[counts > 1][0]!r}",
            "make them unique (adata.var_names_make_unique()) and give the shared names as `symbols`",
        )
    symbol = usable_symbols(names.tolist() if symbols is None else symbols)
    if symbol.size != n_genes:
        raise InputError("symbols must have one entry a gene", f"{symbol.size} for {n_genes} genes", 'use "" for none')
    kinds = np.full(n_genes, modality, dtype=object) if isinstance(modality, str) else np.array(modality, dtype=object)
    if kinds.size != n_genes:
        raise InputError("modality must have one entry a gene", f"{kinds.size} for {n_genes} genes", "give one each")
    return pd.DataFrame({"gene": names, "symbol": symbol, "modality": kinds})


def check_options(nulls: Sequence[str], keep: str, method: str) -> None:
    """Refuse options that do not exist."""
    for option, value, allowed in (
        ("keep", [keep], ("significant", "all")),
        ("method", [method], ("ranksum", "welch", "paper")),
        ("nulls", list(nulls), NULLS),
    ):
        wrong = [v for v in value if v not in allowed]
        if wrong:
            raise InputError(f"{option} must be of {', '.join(allowed)}", repr(wrong[0]), "use one of these")


def label_frame(labels: pd.DataFrame | Mapping[str, Any] | None, n_cells: int) -> pd.DataFrame:
    """Label columns, one row a cell."""
    if labels is None:
        return pd.DataFrame(index=np.arange(n_cells))
    columns = {str(k): np.asarray(v) if not isinstance(v, pd.Series) else v.array for k, v in labels.items()}
    for name, values in columns.items():
        if len(values) != n_cells:
            raise InputError(
                "labels must have one value a cell",
                f"{len(values)} values of {name!r} for {n_cells} cells",
                "give labels of all cells, None where unknown",
            )
    return pd.DataFrame(columns, index=np.arange(n_cells))


def blocks_and_donors(
    strata: np.ndarray | None, depth: np.ndarray | None, donor: np.ndarray | str | None, n_cells: int
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Blocks within which cells are compared (strata by donor by bins of depth), and the donor of each cell.

    The donor is None where there are fewer than three: then there is no test over donors.
    """
    if strata is not None:
        strata = _one_a_cell(strata, "strata", n_cells).astype(str)
        if np.unique(strata).size < 2:
            raise InputError(
                "strata need at least two levels", f"one level, {strata[0]!r}", "leave `strata` out: it changes nothing"
            )
    unit = strata if isinstance(donor, str) else donor
    blocks = strata
    number = None
    if unit is not None:
        unit = _one_a_cell(unit, "donor", n_cells).astype(str)
        blocks = unit if strata is None or strata is unit else np.char.add(np.char.add(unit, "\x1f"), strata)
        names, number = np.unique(unit, return_inverse=True)
        if names.size < MIN_DONORS:
            number = None
    if depth is not None:
        blocks = depth_strata(_one_a_cell(depth, "depth", n_cells), blocks)
    return blocks, number


def _one_a_cell(values: np.ndarray, name: str, n_cells: int) -> np.ndarray:
    out = np.asarray(values)
    if out.shape != (n_cells,):
        raise InputError(f"{name} must have one value a cell", f"shape {out.shape} for {n_cells} cells", "give all")
    return out


def split_columns(labels: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Categorical and continuous columns; numbers with more than 30 distinct values are continuous."""
    categorical: dict[str, np.ndarray] = {}
    continuous: dict[str, np.ndarray] = {}
    for name in labels.columns:
        column = labels[name]
        number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if number and (pd.api.types.is_float_dtype(column) or column.nunique() > 30):
            continuous[str(name)] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            categorical[str(name)] = column.to_numpy(dtype=object)
    return categorical, continuous
