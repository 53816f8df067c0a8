"""Columns of cells: categories or numbers, what a column is asked for, and which names are taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.data.missing import Groups, groups
from cellprism.data.read import describe_keys, one_of_these
from cellprism.errors import InputError

__all__ = [
    "MOST_CATEGORIES",
    "RESERVED",
    "ColumnKind",
    "Labels",
    "as_numbers",
    "categories",
    "column_kind",
    "kept_columns",
    "label_columns",
    "refuse_reserved",
    "requested",
]

ColumnKind = Literal["category", "number"]
MOST_CATEGORIES = 200
_FEW = 30
RESERVED = ("cell", "x", "y", "depth", "mitochondrial share")
"""Columns of a run's ``cells.parquet`` that are its own: names, map, and what is known of technical quality."""


class Labels(NamedTuple):
    """The columns that features are compared with."""

    table: pd.DataFrame
    """(cells, columns): categories as such, numbers as float."""
    kinds: dict[str, ColumnKind]
    notes: tuple[str, ...]
    """Of columns that might be taken otherwise, how; and which cells have no value."""

    def taken(self) -> str:
        """How each column was taken, in a line."""
        levels = {
            c: f"{len(self.table[c].cat.categories)} categories" for c, k in self.kinds.items() if k == "category"
        }
        return ", ".join(f"{name} ({levels.get(name, 'numbers')})" for name in self.kinds)


def column_kind(values: Any) -> tuple[ColumnKind, str]:
    """Whether a column holds categories or numbers, and why, in a few words.

    Text, booleans, dates and categoricals are categories. Numbers with fractions are numbers. Whole numbers, in whatever
    type, are codes (of clusters, batches, a condition) where they are few, or count from 0 or 1 without a gap; with two
    cells a value on average. All others are numbers.
    """
    series = values if isinstance(values, pd.Series) else pd.Series(np.asarray(values) if _is_plain(values) else values)
    if isinstance(series.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(series):
        return "category", ""
    if series.dtype == object:
        inferred = pd.api.types.infer_dtype(series, skipna=True)
        if inferred not in ("integer", "floating", "mixed-integer-float", "decimal"):
            return "category", ""
    elif not pd.api.types.is_numeric_dtype(series):
        return "category", ""
    known = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    known = known[np.isfinite(known)]
    if (known != np.rint(known)).any():
        return "number", ""
    distinct = np.unique(known)
    counts_up = distinct.size and distinct[0] in (0.0, 1.0) and distinct[-1] - distinct[0] == distinct.size - 1
    if 2 * distinct.size <= known.size and (distinct.size <= _FEW or (counts_up and distinct.size <= MOST_CATEGORIES)):
        return "category", "whole numbers, taken as codes"
    return "number", "whole numbers"


def _is_plain(values: Any) -> bool:
    return not isinstance(values, (pd.api.extensions.ExtensionArray, pd.Index))


def as_numbers(values: Any, name: str) -> NDArray[np.float64]:
    """A column as float64, NaN where it has no value; numbers kept as text are read.

    Raises
    ------
    InputError
        If a value is no number.
    """
    column = pd.Series(values).reset_index(drop=True)
    text = isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column)
    found = groups(column)
    if text:
        numbers = pd.to_numeric(pd.Series(found.names, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
        if np.isnan(numbers).any():
            bad = str(found.names[np.isnan(numbers)][0])
            raise InputError("a column taken as numbers holds numbers", f"{bad!r} in {name!r}", "take it as categories")
        return np.asarray(np.append(numbers, np.nan)[found.number])
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def requested(wanted: Sequence[str], columns: Sequence[str]) -> dict[str, ColumnKind | None]:
    """Columns asked for as ``COL``, ``COL:category`` or ``COL:number``; a column of the whole name comes first.

    Raises
    ------
    InputError
        If no column has the name, or one is asked for as both.
    """
    found: dict[str, ColumnKind | None] = {}
    for one in wanted:
        column, _, kind = one.rpartition(":")
        name, stated = (column, kind) if one not in columns and kind in ("category", "number") else (one, None)
        if name not in columns:
            raise InputError(
                "the column must exist in obs",
                f"{name!r}; there are {describe_keys(columns)}",
                one_of_these(name, columns),
            )
        if found.get(name, stated) not in (None, stated):
            raise InputError("a column is categories or numbers", f"{name!r} asked for as both", "choose one")
        found[name] = cast("ColumnKind | None", stated) or found.get(name)
    return found


def label_columns(obs: pd.DataFrame, wanted: Sequence[str]) -> Labels:
    """The ``obs`` columns that features are compared with.

    Parameters
    ----------
    obs
        Columns of the cells.
    wanted
        As :func:`requested` takes them.

    Raises
    ------
    InputError
        Where a column is missing or its name is taken, or holds one category or about as many as cells.
    """
    asked = requested(wanted, [str(c) for c in obs.columns])
    refuse_reserved(asked)
    table = pd.DataFrame(index=obs.index)
    kinds: dict[str, ColumnKind] = {}
    notes = []
    for name, stated in asked.items():
        column = obs[name]
        found, why = column_kind(column)
        kind = stated or found
        kinds[name] = kind
        other = "number" if kind == "category" else "category"
        able = kind == "category" or _enough(groups(column).names.size, len(obs))  # what would be refused is no way out
        how = (
            f"`labels={f'{name}:{other}'!r}` takes them as {_PLURAL[other]}" if why and stated is None and able else ""
        )
        if kind == "number":
            table[name] = as_numbers(column, name)
            absent = int(np.isnan(table[name]).sum())
        else:
            met = groups(column)
            _check_categories(name, met, column)
            table[name] = categories(column, met)
            absent = met.n_missing
        if why and stated is None:
            what = "numbers" if kind == "number" else f"{len(table[name].cat.categories)} categories"
            notes.append(f"{name!r} holds whole numbers and is taken as {what}" + (f": {how}" if how else ""))
        if absent:
            notes.append(f"{absent:,} of {len(obs):,} cells have no value in {name!r} and are left out of its tests")
    return Labels(table, kinds, tuple(notes))


def categories(column: pd.Series, met: Groups) -> pd.Categorical:
    """A column as categories of text, in their own order: that of a categorical, of numbers by size, else of the alphabet.

    Stages, ages and numbers of clusters are shown in the order that they have, wherever groups stand beside each other.
    """
    own = isinstance(column.dtype, pd.CategoricalDtype)
    if own:
        first = groups(pd.Series(column.cat.categories))
        place = {name: int(np.flatnonzero(first.number == i)[0]) for i, name in enumerate(first.names)}
        names = sorted(met.names, key=place.__getitem__)
    else:
        size = pd.to_numeric(pd.Series(met.names, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
        known = bool(size.size) and not np.isnan(size).any()
        names = [met.names[i] for i in np.argsort(size, kind="stable")] if known else list(met.names)
    return pd.Categorical(met.text(), categories=names, ordered=own and bool(column.cat.ordered))


_PLURAL = {"number": "numbers", "category": "categories"}


def _check_categories(name: str, met: Groups, column: pd.Series) -> None:
    n, cells = met.names.size, len(column)
    if _enough(n, cells):
        return
    numbers = pd.to_numeric(pd.Series(met.names, dtype=object), errors="coerce").notna().all() if n else False
    raise InputError(
        f"a label column needs 2 to {MOST_CATEGORIES} categories, with two cells each on average",
        f"{n} in {name!r} for {cells} cells"
        + (" (numbers, stored as text)" if numbers and n > 1 and not pd.api.types.is_numeric_dtype(column) else ""),
        f"take it as numbers: `labels={f'{name}:number'!r}`"
        if numbers and n > 1
        else "leave it out" + (", or group its values" if n > 1 else ""),
    )


def _enough(n: int, cells: int) -> bool:
    """Whether so many categories can be labels of so many cells."""
    return 2 <= n <= min(MOST_CATEGORIES, max(2, cells // 2))


def refuse_reserved(names: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuse columns whose names the tables use themselves."""
    taken = [name for name in names if name in RESERVED]
    if taken:
        raise InputError(
            f"the names {', '.join(RESERVED)} are columns that cellprism writes itself",
            f"{taken[0]!r} asked for",
            f"rename it: adata.obs[{taken[0] + '_'!r}] = adata.obs[{taken[0]!r}]",
        )


def kept_columns(obs: pd.DataFrame, beside: Sequence[str]) -> pd.DataFrame:
    """All further columns of categories, with two to half as many levels as cells, for later questions.

    A column with a name of ours is kept as ``obs:NAME``.
    """
    kept: dict[str, pd.Categorical] = {}
    for name in obs.columns:
        column = obs[name]
        if str(name) in beside or not isinstance(column, pd.Series) or column_kind(column)[0] != "category":
            continue
        try:
            met = groups(column)
        except InputError:  # lists and the like are no labels
            continue
        if 2 <= met.names.size <= max(2, len(obs) // 2):
            shown = f"obs:{name}" if name in RESERVED else str(name)
            kept[shown] = categories(column, met)
    return pd.DataFrame(kept, index=obs.index)
