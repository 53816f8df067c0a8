"""What is missing in a column or array, and the groups that its other values make: one rule for every role.

Labels, strata, donors, batches and conditions all come through here, whatever type they are kept in. None, NaN, NA, NaT
and blank text are missing; the texts "None", "nan" and "<NA>" are values like any other, as nobody can know that they
are not (a treatment called "None", say).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.errors import InputError

__all__ = ["Groups", "groups", "missing"]


class Groups(NamedTuple):
    """Values as the groups that they make."""

    names: NDArray[np.object_]
    """(groups,) text of each value, sorted."""
    number: NDArray[np.int64]
    """(n,) group of each entry, -1 where it is missing."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(groups,) entries in each group."""
        return np.bincount(self.number[self.number >= 0], minlength=self.names.size).astype(np.int64)

    @property
    def n_missing(self) -> int:
        """Entries without a value."""
        return int((self.number < 0).sum())

    def text(self) -> NDArray[np.object_]:
        """(n,) name of each entry's group, None where it is missing."""
        return np.append(self.names, np.array([None], dtype=object))[self.number]


def missing(values: Any) -> NDArray[np.bool_]:
    """(n,) True where there is no value: None, NaN, NA, NaT, a masked entry or blank text.

    Parameters
    ----------
    values
        A column or array of any type: object, text, categorical, nullable, masked, numbers, dates.

    Examples
    --------
    >>> from cellprism.data.missing import missing
    >>> missing(["T", "", None, "nan"]).tolist()
    [False, True, True, False]
    """
    return np.asarray(groups(values).number < 0)


def groups(values: Any) -> Groups:
    """Number the distinct values of a column or array, missing ones apart.

    Values are the same where their text is: ``1``, ``1.0`` and ``"1"`` are one group, as whole numbers lose their type
    in files and beside gaps.

    Raises
    ------
    InputError
        If the values are not one a row, or cannot be compared (lists, tables).

    Examples
    --------
    >>> from cellprism.data.missing import groups
    >>> groups(["b", None, "a", "b"]).number.tolist()
    [1, -1, 0, 1]
    """
    array = _one_dimensional(values)
    try:
        number, distinct = pd.factorize(array, use_na_sentinel=True)
    except TypeError as error:
        raise InputError(
            "labels are text, numbers, dates or categories", f"values that cannot be compared ({error})", "store text"
        ) from error
    text = np.array([_text(value) for value in distinct], dtype=object)
    names, same = np.unique(text.astype(str), return_inverse=True)
    blank = np.array([not name.strip() for name in names], dtype=bool)
    new = np.where(blank, -1, np.cumsum(~blank) - 1)
    of_distinct = np.append(new[same] if names.size else [], -1).astype(np.int64)
    used = names[~blank].astype(object)
    return Groups(used, of_distinct[np.asarray(number)])


def _one_dimensional(values: Any) -> Any:
    array = values.array if isinstance(values, (pd.Series, pd.Index)) else values
    if isinstance(array, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(array)
        array = np.asarray(array.data).astype(object)
        array[hidden] = None
    if isinstance(array, pd.Categorical):
        array = array.remove_unused_categories()
    if isinstance(array, pd.arrays.NumpyExtensionArray) or not isinstance(array, pd.api.extensions.ExtensionArray):
        array = np.asarray(array)
        if array.dtype.kind in "USV":
            array = array.astype(object)
        elif array.dtype == np.float16:
            array = array.astype(np.float32)
    if array.ndim != 1:
        raise InputError("labels have one value a cell", f"shape {array.shape}", "give one column")
    return array


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)
