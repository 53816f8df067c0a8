"""Which strata and donors can carry a test: one rule for every test within strata or over donors.

A level of a grouping column is a unit of a test only where it has cells enough. Cells without a value, and those of levels
that are too small, are left out of the tests that use the column, and are counted in a note; so a stray cell changes
nothing else, and never what the unit of a test is.

A *stratum* needs two cells: below that no cell has one to be compared with. A *donor* needs :data:`MIN_SIDE` cells on each
side of a comparison, the least that pseudobulk pipelines ask of a sample (muscat, Crowell et al. 2020; decoupler), so
twice as many where each of its cells falls on one of two sides that differ from feature to feature. In one comparison a
donor counts with :data:`FEWEST_A_SIDE` cells on each side: fewer are stray cells, and of more, weights by precision
(:mod:`cellprism.stats.donors`) say what they count.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from cellprism.data.columns import column_kind
from cellprism.data.missing import groups
from cellprism.errors import InputError

__all__ = [
    "FEWEST_A_SIDE", "MIN_DONORS", "MIN_DONOR_CELLS", "MIN_SIDE", "MIN_STRATUM_CELLS", "Units", "refuse_numbers",
    "usable_replicates", "usable_units",
]  # fmt: skip

MIN_DONORS = 3
"""Fewest donors for a test over donors of which each is on both sides."""
MIN_SIDE = 10
"""Fewest cells of a donor on each side of a comparison."""
FEWEST_A_SIDE = 3
"""Fewest cells of a donor on a side with which it counts in one comparison."""
MIN_DONOR_CELLS = 2 * MIN_SIDE
MIN_STRATUM_CELLS = 2
_SHOWN = 3


class Units(NamedTuple):
    """The usable levels of a grouping column."""

    names: np.ndarray
    """(units,) text of each usable level, sorted."""
    number: np.ndarray
    """(cells,) unit of each cell, -1 where the cell is left out."""
    notes: tuple[str, ...]
    """Who is left out, in words; empty where nobody is."""

    @property
    def kept(self) -> np.ndarray:
        """(cells,) True for cells of a usable level."""
        return np.asarray(self.number >= 0)

    def text(self) -> np.ndarray:
        """(cells,) name of each cell's unit, "" where it is left out."""
        return np.asarray(np.append(self.names.astype(object), "")[self.number])


def usable_units(values: Any, role: str, least: int, n_cells: int | None = None) -> Units:
    """Levels of a grouping column with at least ``least`` cells.

    Parameters
    ----------
    values
        (cells,) of any type; what counts as missing is told by :func:`cellprism.data.missing.groups`.
    role
        What a level is ("stratum", "donor"), for the notes.
    least
        Fewest cells of a usable level.
    n_cells
        How many cells there must be.

    Raises
    ------
    InputError
        If there is not one value a cell, or they are numbers with fractions.

    Examples
    --------
    >>> from cellprism.stats.units import usable_units
    >>> usable_units(["a"] * 20 + ["b"] * 3, "donor", least=10).names.tolist()
    ['a']
    """
    refuse_numbers(values, role)
    found = groups(values)
    if n_cells is not None and found.number.size != n_cells:
        raise InputError(
            f"each cell needs one {role}", f"{found.number.size} values for {n_cells} cells", "give one value a cell"
        )
    sizes = found.sizes
    large = sizes >= least
    new = np.append(np.where(large, np.cumsum(large) - 1, -1), -1)
    notes = []
    if found.n_missing:
        notes.append(f"{_cells(found.n_missing, found.number.size)} without a {role}")
    if not large.all():
        small = found.names[~large]
        shown = ", ".join(repr(str(name)) for name in small[:_SHOWN]) + (", …" if small.size > _SHOWN else "")
        what = f"the {role} {shown}" if small.size == 1 else f"{small.size:,} {_plural(role)} ({shown})"
        have = "has" if small.size == 1 else "have"
        notes.append(
            f"{_cells(int(sizes[~large].sum()), found.number.size)} of {what}, which {have} fewer than {least} cells"
        )
    return Units(found.names[large], new[found.number], tuple(notes))


def refuse_numbers(values: Any, role: str) -> None:
    """Refuse numbers with fractions, such as an age: each would be a unit of its own."""
    if column_kind(values) == ("number", ""):
        raise InputError(
            f"{_plural(role)} are categories",
            "numbers with fractions",
            f"give what names the {_plural(role)}, or keep these numbers as text where they do",
        )


def usable_replicates(values: Any) -> Units:
    """Replicates that features are chosen in or scored in as wholes: of a donor's cells, or of half as many as the others have.

    Many small ones carry an evaluation together, so what is too small is told by their mean where that is below a donor's.

    Examples
    --------
    >>> from cellprism.stats.units import usable_replicates
    >>> usable_replicates(["a"] * 30 + ["b"] * 30 + ["c"]).names.tolist()
    ['a', 'b']
    >>> usable_replicates([i // 2 for i in range(100)]).names.size
    50
    """
    sizes = groups(values).sizes
    mean = float(sizes.mean()) if sizes.size else 0.0
    return usable_units(values, "replicate", max(1, min(MIN_DONOR_CELLS, math.ceil(mean / 2))))


def _cells(n: int, total: int) -> str:
    return f"{n:,} of {total:,} cells"


def _plural(role: str) -> str:
    return {"stratum": "strata"}.get(role, f"{role}s")
