"""A choice of cells: a mask of any type, or row numbers; one rule for every argument that takes one.

A mask says true or false of each cell. It may be kept as booleans of numpy, pandas or pyarrow, as 0 and 1, or as the texts
True and False (what files make of booleans with gaps); a cell without a value is not chosen. Anything else is refused, as
numpy would take each text and each NaN for true.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.data.missing import groups
from cellprism.errors import InputError

__all__ = ["chosen_cells", "is_mask", "mask"]

_TRUE = ({"True", "False"}, "True"), ({"1", "0"}, "1")


def mask(values: Any, n: int, what: str) -> NDArray[np.bool_]:
    """(n,) True for the cells that a mask chooses.

    Parameters
    ----------
    values
        (n,) true or false of each cell, of any type.
    n
        Number of cells.
    what
        The argument, for messages.

    Raises
    ------
    InputError
        If there is not one value a cell, or values are neither true nor false.
    """
    found = groups(values)
    if found.number.size != n:
        raise InputError(
            f"{what} must have one value a cell, true or false",
            f"{found.number.size} values for {n} cells",
            "give all",
        )
    names = set(found.names)
    true = next((yes for known, yes in _TRUE if names <= known), None)
    if true is None:
        raise InputError(
            f"{what} says true or false of each cell",
            ", ".join(repr(str(name)) for name in found.names[:3]) + (", …" if found.names.size > 3 else ""),
            "compare the values with the one that is wanted, as in adata.obs['cell_type'] == 'B'",
        )
    return np.asarray(found.text() == true, dtype=bool)


def is_mask(cells: Any) -> bool:
    """Whether a choice is a mask, and not row numbers or names."""
    return np.asarray(cells).dtype.kind not in "iu" and set(groups(cells).names) <= _TRUE[0][0]


def chosen_cells(cells: Any, n: int, what: str = "`cells`") -> NDArray[np.intp]:
    """Sorted row numbers from a mask, row numbers or None (all).

    Raises
    ------
    InputError
        If nothing is chosen, or row numbers are out of range or name a cell twice, as 0 and 1 of a mask would.
    """
    if cells is None:
        return np.arange(n)
    given = np.asarray(cells)
    if given.size == 0:
        rows = np.zeros(0, dtype=np.intp)
    elif given.dtype.kind in "iu":
        rows = np.unique(given)
        if rows[0] < 0 or rows[-1] >= n:
            raise InputError(f"rows of cells are numbers from 0 to {n - 1}", f"{rows[0]} to {rows[-1]}", "correct them")
        if rows.size != given.size:
            raise InputError(
                "row numbers name each cell once",
                f"{given.size} numbers, {rows.size} of them different",
                f"give a mask as booleans: {what.strip('`')}.astype(bool)"
                if set(rows.tolist()) <= {0, 1}
                else "drop the double ones",
            )
        rows = rows.astype(np.intp)
    else:
        rows = np.flatnonzero(mask(cells if isinstance(cells, pd.Series) else _column(cells), n, what))
    if rows.size == 0:
        raise InputError("at least one cell must be chosen", "none", "loosen the choice of cells")
    return rows


def _column(cells: Any) -> Any:
    return np.asarray(cells) if isinstance(cells, (list, tuple)) else cells
