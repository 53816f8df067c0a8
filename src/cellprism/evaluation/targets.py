"""What features are asked to detect: categories that the embedding was not told, and proteins split where they are two."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.columns import as_numbers, column_kind
from cellprism.data.missing import groups
from cellprism.errors import InputError

__all__ = ["Column", "Split", "read_truth", "split_in_two"]

MIN_CELLS = 10
"""Half of the cells that a category and its rest need to be a target."""

_MOST_CATEGORIES = 200
_SEPARATION = 2.0  # Ashman's D from which two normal components count as apart
_MIN_SHARE = 0.02
HIGH, LOW = "high", "low"


@dataclass(frozen=True)
class Column:
    """One column of truth: categories that exclude each other."""

    name: str
    categories: tuple[str, ...]
    number: NDArray[np.int64]
    """(cells,) category of each cell; -1 where it is not known."""
    asked: tuple[int, ...]
    """Categories that are targets: of a protein only ``high``."""

    @classmethod
    def of(cls, name: str, labels: Any, asked: tuple[str, ...] | None = None) -> Column:
        """Column of categories; None, NaN and "" are not known."""
        found = groups(labels)
        chosen = range(found.names.size) if asked is None else [i for i, c in enumerate(found.names) if c in asked]
        return cls(name, tuple(found.names), found.number, tuple(chosen))

    def target(self, category: int) -> str:
        """Name of a target."""
        return f"{self.name}: {self.categories[category]}"

    def members(self, category: int) -> NDArray[np.bool_]:
        """(cells,) whether a cell is of the category."""
        return np.asarray(self.number == category)

    def labels(self, rows: NDArray[np.intp]) -> NDArray[np.object_]:
        """Category names of some cells, None where not known."""
        names = np.array([*self.categories, None], dtype=object)
        return np.asarray(names[self.number[rows]])

    @property
    def known(self) -> NDArray[np.bool_]:
        """(cells,) whether a cell's category is known."""
        return np.asarray(self.number >= 0)


@dataclass(frozen=True)
class Split:
    """A quantity split into cells that have it and cells that have not, or the reason why it cannot be."""

    high: NDArray[np.bool_] | None
    """(cells,) False also where there is no value; None where there are not two groups."""
    reason: str = ""


def split_in_two(values: NDArray[Any], seed: int = 0) -> Split:
    """Split a quantity by a mixture of two normal distributions, where there are two.

    Refused where one normal distribution describes it better (BIC), where the two are less than two of their standard
    deviations apart (Ashman's D < 2), where their density has no dip between them, or where one has under 2 % of the cells.

    Parameters
    ----------
    values
        (cells,), on a scale on which each group is about normal; cells without a finite value are in neither group.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    x = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(x)
    known = x[finite][:, None]
    if len(known) < 4 * MIN_CELLS or known.std() < 1e-9:
        return Split(None, "too few cells, or all alike")
    known = (known - known.mean()) / known.std()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        one = GaussianMixture(1, random_state=seed).fit(known)
        two = GaussianMixture(2, n_init=3, reg_covar=1e-3, random_state=seed).fit(known)
    low, up = np.argsort(two.means_.ravel())
    mean, sd = two.means_.ravel(), np.sqrt(two.covariances_.ravel())
    if one.bic(known) <= two.bic(known):
        return Split(None, "one group describes it better than two")
    if mean[up] - mean[low] < _SEPARATION * np.sqrt((sd[up] ** 2 + sd[low] ** 2) / 2):
        return Split(None, "its two groups overlap")
    between = np.linspace(mean[low], mean[up], 200)
    density = two.score_samples(between[:, None])
    if density[1:-1].min() >= min(density[0], density[-1]) - 0.05:
        return Split(None, "there is no dip between its two groups")
    # The cut lies where both are as likely, between the means: far out, the wider of two normals wins on both sides.
    odds = two.predict_proba(between[:, None])[:, up] > 0.5
    cut = between[int(np.argmax(odds))]
    high = np.zeros(len(x), dtype=bool)
    high[finite] = known.ravel() >= cut
    share = high[finite].mean()
    if not _MIN_SHARE <= share <= 1 - _MIN_SHARE:
        return Split(None, f"one of its two groups has under {100 * _MIN_SHARE:.0f} % of the cells")
    return Split(high)


def read_truth(truth: Any, n_cells: int, *, asked: bool = True) -> tuple[list[Column], list[str]]:
    """Columns of a truth, and what of it was refused, a line each.

    Parameters
    ----------
    truth
        A mapping, or a table, name -> one of: categories (cells,), among them whole numbers that are codes; numbers (cells,), or a table of them (cells,
        proteins), which are split in two. Counts of proteins are first compared with the cell's other proteins (centred
        log ratio).
    n_cells
        Cells of the embedding.
    asked
        False for batches and donors, which features are not asked for: they may be one, or as many as cells.

    Raises
    ------
    InputError
        If a column has another number of cells, or as many categories as cells, or two share a name.
    """
    items = truth.items() if isinstance(truth, Mapping | pd.DataFrame) else [("truth", truth)]
    columns: list[Column] = []
    refused: dict[str, list[str]] = {}
    for name, raw in items:
        values = raw if isinstance(raw, pd.DataFrame | pd.Series) else _array(raw)
        if len(values) != n_cells:
            raise InputError(
                "truth has a row a cell", f"{len(values)} in {name!r} for {n_cells} cells", "align the cells first"
            )
        if values.ndim == 2:
            table = values if isinstance(values, pd.DataFrame) else pd.DataFrame(values)
            for protein, scaled in zip(
                table.columns, _scaled(table.to_numpy(dtype=np.float64, na_value=np.nan)).T, strict=True
            ):
                _split_column(str(protein), scaled, columns, refused)
        elif column_kind(values)[0] == "number":
            numbers = as_numbers(values, str(name))
            _split_column(str(name), _scaled(numbers[:, None])[:, 0], columns, refused)
        else:
            columns.append(_categories(str(name), values, n_cells) if asked else Column.of(str(name), values))
    names = pd.Index([column.name for column in columns])
    if names.has_duplicates:
        raise InputError(
            "truth names every column once",
            f"{names[names.duplicated()][0]!r} twice, as a column or in tables of proteins",
            "leave one out, or rename it",
        )
    without: dict[int, list[str]] = {}
    for column in columns:
        without.setdefault(int((~column.known).sum()), []).append(column.name)
    gaps = [
        f"{n:,} of {n_cells:,} cells have no {', '.join(names)}: neither chosen on nor scored there."
        for n, names in without.items()
        if n
    ]
    return columns, [*gaps, *(f"Not asked for, {reason}: {', '.join(names)}." for reason, names in refused.items())]


def _categories(name: str, values: Any, n_cells: int) -> Column:
    column = Column.of(name, values)
    n = len(column.categories)
    if n < 2 or n > min(_MOST_CATEGORIES, max(2, n_cells // 2)):
        raise InputError(
            f"truth has 2 to {_MOST_CATEGORIES} categories, with two cells each on average",
            f"{n} in {name!r} for {n_cells} cells",
            "leave it out" + (", or group its values" if n > 1 else ""),
        )
    return column


def _split_column(name: str, values: NDArray[np.float64], columns: list[Column], refused: dict[str, list[str]]) -> None:
    found = split_in_two(values)
    if found.high is None:
        refused.setdefault(found.reason, []).append(name)
    else:
        known = np.where(np.isfinite(values), np.where(found.high, HIGH, LOW), "")
        columns.append(Column.of(name, known, (HIGH,)))


def _array(raw: Any) -> NDArray[Any]:
    array: NDArray[Any] = raw.toarray() if sparse.issparse(raw) else np.asarray(raw)
    return array


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logs of counts, against the mean log of the cell's proteins where there are several; other numbers as they are."""
    finite = values[np.isfinite(values)]
    if not finite.size or finite.min() < 0 or np.mod(finite, 1).any():
        return values
    log = np.log1p(values)
    if values.shape[1] < 5:
        return log
    there = np.isfinite(log)
    mean = np.where(there, log, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.asarray(log - mean[:, None])
