"""Tables of embeddings: which columns are dimensions, and which hold the names or the row numbers of cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.data.text import cut_notes, refuse_wide_text
from cellprism.errors import InputError

__all__ = ["Named", "dimensions", "names_and_values", "read_table"]

_UNNAMED = re.compile(r"(Unnamed: \d+(\.\d+)*|level_\d+|__index_level_\d+__)?")


def read_table(path: Path, suffix: str) -> pd.DataFrame:
    """A ``.parquet``, ``.csv`` or ``.tsv`` file; text is UTF-8, the first line holds the names of columns.

    Raises
    ------
    InputError
        If the first line holds numbers in place of names.
    """
    if suffix == ".parquet":
        return pd.read_parquet(path)
    refuse_wide_text(path, "a table of embeddings")
    table = pd.read_csv(path, sep="," if ".csv" in suffix else "\t", encoding="utf-8")
    if len(table) > 1 and cut_notes([path]):
        ends = pd.to_numeric(table.iloc[:, -1], errors="coerce").isna()
        if ends.iloc[-1] and not ends.iloc[:-1].any():
            raise InputError(
                "each line of a table holds all its columns",
                f"a last line of {path.name} that breaks off",
                "copy or fetch the file again: it was cut",
            )
    if isinstance(table.index, pd.MultiIndex):
        raise _separators(path.name)
    names = [str(c) for c in table.columns]
    # pandas tells repeated names apart by a suffix: 0.5 and 0.5.1
    numbers = [c for c in names if _number(c) or _number(c.rpartition(".")[0])]
    counting = [str(i) for i in range(len(names) + 1)]
    if len(names) > 1 and len(numbers) >= len(names) - 1 and names[-1] not in counting:
        raise InputError(
            "the first line of a table of embeddings names its columns",
            f"numbers in {path.name}: {', '.join(names[:3])}, …",
            "add a line of names, or save the array as .npy",
        )
    return table


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Named(NamedTuple):
    """What a table of an embedding holds."""

    values: NDArray[Any]
    """(cells, d)."""
    cells: tuple[str, ...] | None
    """Names of the cells, where the table has them."""
    rows: tuple[str, ...] | None
    """Numbers of rows that were saved with it: names only of cells that are named so."""


def names_and_values(table: pd.DataFrame, where: str) -> Named:
    """Dimensions of a table, and the names of its cells where it has them.

    Names are the index, or a first column of text, or of whole numbers without a name of its own (what ``to_csv`` makes
    of an index). A column without a name that counts the rows is neither.

    Raises
    ------
    InputError
        For other text, and for a named first column of distinct whole numbers beside fractions: nobody can tell whether
        these are names or a dimension.
    """
    cells: tuple[str, ...] | None = None
    rows: tuple[str, ...] | None = None
    if not isinstance(table.index, pd.RangeIndex):
        cells = tuple(table.index.astype(str))
    while len(table.columns) and _UNNAMED.fullmatch(str(table.columns[0])):
        index = table.iloc[:, 0]
        if _counts_up(index):
            rows = tuple(map(_name, index))
        else:
            if _is_number(index) and not _distinct_whole(index):
                raise InputError(
                    "a first column without a name holds the names of cells",
                    f"numbers that repeat or are no whole ones in {where}",
                    "name the column if it is a dimension",
                )
            cells = tuple(map(_name, index))
        table = table.iloc[:, 1:]
    text = [c for c in table.columns if not _is_number(table[c])]
    if text:
        if len(text) > 1 or text[0] != table.columns[0] or cells is not None:
            extra = text[1:] if text[0] == table.columns[0] and cells is None else text
            raise InputError(
                "a table of embeddings holds numbers, beside one first column of cell names",
                f"{where}: text in {', '.join(map(repr, extra[:5]))}",
                "drop the other columns of text",
            )
        cells = tuple(table[text[0]].astype(str))
        table = table.drop(columns=text)
    elif cells is None and len(table.columns) > 1 and _looks_like_ids(table):
        first = table.columns[0]
        raise InputError(
            "the columns of a table of embeddings are dimensions",
            f"distinct whole numbers in the first one, {first!r}, of {where}, as an index has",
            f"drop it, or store it as text if it names the cells: table[{first!r}].astype(str)",
        )
    if not len(table.columns):
        raise _separators(where)
    return Named(table.to_numpy(), cells, rows)


def dimensions(values: Any) -> Any:
    """A table that is given as an embedding without a saved index of its rows; anything else as it is.

    Raises
    ------
    InputError
        As :func:`names_and_values`, and where a column names the cells: only an index is held against other tables.
    """
    if not isinstance(values, pd.DataFrame):
        return values
    found = names_and_values(values.reset_index(drop=True), "the table")
    if found.cells is not None:
        name = str(values.columns[0])
        raise InputError(
            "a table of an embedding names its cells in its index",
            f"names in the column {name!r}",
            f"set it as the index: table.set_index({name!r})",
        )
    return found.values


def _separators(where: str) -> InputError:
    return InputError(
        "a table of embeddings holds columns of numbers",
        f"none in {where}",
        "save it with ',' (.csv) or a tab (.tsv) between columns and '.' in numbers",
    )


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "fiubc"


def _counts_up(column: pd.Series) -> bool:
    """0, 1, 2, … or 1, 2, 3, …: the numbers of rows."""
    if not _is_number(column) or not len(column):
        return False
    values = column.to_numpy()
    return bool(values[0] in (0, 1) and (values == np.arange(len(values)) + values[0]).all())


def _distinct_whole(column: pd.Series) -> bool:
    values = column.to_numpy()
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        return False
    return bool((values == np.rint(values)).all() and column.is_unique)


def _looks_like_ids(table: pd.DataFrame) -> bool:
    others = table.iloc[:, 1:]
    return _distinct_whole(table.iloc[:, 0]) and not all(_distinct_whole(others[c]) for c in others)


def _name(value: object) -> str:
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)
