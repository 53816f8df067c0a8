"""One order for what has names: tables and columns of pandas that are given beside each other are of the same cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from cellprism.data.choice import is_mask
from cellprism.errors import InputError

__all__ = ["mask_of", "refuse_other_genes", "refuse_other_order"]


def refuse_other_order(**given: Any) -> None:
    """Refuse arguments whose rows carry names in different orders, as rows are taken in the order in which they come.

    Arrays have no names and go with all others; so does an index that merely counts, beside one of text.

    Parameters
    ----------
    given
        Arguments by name: arrays, tables or columns of pandas, AnnData, or mappings of them.

    Raises
    ------
    InputError
        If two of them name their rows differently.
    """
    named = [one for what, value in given.items() for one in _indices(what, value)]
    first = next((one for one in named if not _counts(one[1])), None)
    if first is None:
        return
    what, reference, attribute = first
    for other, index, _ in named:
        if _counts(index) and not pd.api.types.is_integer_dtype(reference):
            continue
        if not index.equals(reference) and [*map(str, index)] != [*map(str, reference)]:
            same = len(index) == len(reference) and set(index) == set(reference)
            raise InputError(
                "what is given for the cells names them in one order",
                f"the {'same' if same else 'rows of other'} cells in `{other}`{' in another order than' if same else ' than'} in `{what}`",
                f"bring it into that order: {other}.loc[{what}.{attribute}]"
                if same
                else "give both for the same cells",
            )


def mask_of(cells: Any) -> pd.Series | None:
    """A choice of cells that is a column of true and false, one a cell; None where it lists cells, in whatever order."""
    return cells if isinstance(cells, pd.Series) and is_mask(cells) else None


def refuse_other_genes(expression: Any, genes: Sequence[str], **columns: Any) -> None:
    """Refuse what names genes otherwise than the genes given beside it, as entries are taken in the order in which they come.

    Parameters
    ----------
    expression
        Matrix (cells, genes), or a table whose columns are named.
    genes
        Names of the genes.
    columns
        Arguments by name with an entry a gene. A column of pandas carries names where any of them is a gene's.

    Raises
    ------
    InputError
        If names are others, or the same in another order.
    """
    names = [*map(str, genes)]
    if isinstance(expression, pd.DataFrame) and not _counts(expression.columns):
        header = [*map(str, expression.columns)]
        if header != names and len(header) == len(names):
            at = next(i for i, (a, b) in enumerate(zip(header, names, strict=True)) if a != b)
            raise InputError(
                "the genes are the names of the columns of the expression, in their order",
                f"{names[at]!r} for the column {header[at]!r}",
                "give genes=expression.columns",
            )
    for what, column in columns.items():
        if not isinstance(column, pd.Series) or _counts(column.index) or len(column) != len(names):
            continue
        index = [*map(str, column.index)]
        if index != names and not set(names).isdisjoint(index):
            raise InputError(
                "what is given for the genes names them in one order",
                f"the {'same' if set(index) == set(names) else 'rows of other'} genes in `{what}`"
                f"{' in another order than' if set(index) == set(names) else ' than'} in `genes`",
                f"bring it into that order: {what}.loc[genes]",
            )


def _indices(what: str, value: Any) -> Iterator[tuple[str, pd.Index, str]]:
    """Each table or column by what a user calls it, its names, and the attribute that holds them."""
    if isinstance(value, (pd.Series, pd.DataFrame)):
        yield what, value.index, "index"
    elif hasattr(value, "obs_names"):
        yield what, value.obs_names, "obs_names"
    elif isinstance(value, Mapping):
        for key, one in value.items():
            if isinstance(one, (pd.Series, pd.DataFrame)):
                yield f"{what}[{key!r}]", one.index, "index"


def _counts(index: pd.Index) -> bool:
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
