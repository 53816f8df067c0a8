"""Values and columns that a user names on the command line, matched against those there are.

Names may hold the signs that separate them (a condition called "T, act", a column called "a=b"): a text is read in every
way that gives names which exist, and refused where there is none or more than one.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellprism.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["cells_with", "column", "listed", "two_names"]


def column(cells: pd.DataFrame, name: str) -> pd.Series[Any]:
    """A column of the user's that the run kept."""
    from cellprism.data.columns import RESERVED
    from cellprism.data.read import describe_keys

    if name in RESERVED:
        theirs = [c for c in cells.columns if c not in RESERVED]
        raise InputError(
            f"the columns {', '.join(RESERVED)} are the run's own: names, map and technical quality",
            f"{name!r}; of obs there are {describe_keys(theirs)}",
            f"give 'obs:{name}', the one of obs" if f"obs:{name}" in theirs else "give one of obs",
        )
    if name not in cells:
        raise InputError(
            "the column must be among those that the run kept",
            f"{name!r}; there are {describe_keys(cells.columns)}",
            f"run again with --labels {name!r}" if " " in name else f"run again with --labels {name}",
        )
    return cells[name]


def listed(given: Sequence[str]) -> tuple[str, ...]:
    """The names of ``A,B,C``, those with a comma of their own in quotes, or of an option given several times."""
    if len(given) != 1:
        return tuple(given)
    return tuple(name.strip() for name in next(csv.reader(given, skipinitialspace=True), []))


def two_names(given: Sequence[str], there: Sequence[str], option: str) -> tuple[str, str]:
    """The two names of ``A,B``, or of an option given twice."""
    from cellprism.data.read import describe_keys

    known = {name.strip(): name for name in there} | {name: name for name in there}
    if len(given) == 2:
        ways = [tuple(given)]
    elif len(given) == 1:
        text = given[0]
        ways = [(text[:i], text[i + 1 :]) for i, sign in enumerate(text) if sign == ","]
        quoted = next(csv.reader([text], skipinitialspace=True), [])
        ways += [tuple(quoted)] if '"' in text and len(quoted) == 2 else []
    else:
        ways = []
    found = {(known[a.strip()], known[b.strip()]) for a, b in ways if {a.strip(), b.strip()} <= set(known)}
    found = {pair for pair in found if pair[0] != pair[1]}
    if len(found) != 1:
        met = f"{', '.join(given)}" + (f", which can be read in {len(found)} ways" if found else "")
        raise InputError(
            f"{option} names two of the values there are, the reference first",
            f"{met!r}; there are {describe_keys(there)}",
            f"name two, as in {option} A,B, or give the option twice, one name each",
        )
    return found.pop()


def cells_with(cells: pd.DataFrame, within: str, option: str) -> np.ndarray:
    """(cells,) True where a column holds a value, given as VALUE or COLUMN=VALUE."""
    from cellprism.data.missing import groups
    from cellprism.data.read import describe_keys

    own = ("cell", "x", "y")
    found = {}
    for name in cells:
        values = groups(cells[name])
        start = f"{name}="
        wanted = {within[len(start) :]} if within.startswith(start) else set()
        wanted |= {within} if name not in own else set()
        for value in wanted & set(values.names):
            found[f"{name}={value}"] = np.asarray(values.text() == value, dtype=bool)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InputError(
            f"{option} must name cells in one way",
            f"{within!r}, which may be {' or '.join(found)}",
            f"give {next(iter(found))!r}",
        )
    named = next((n for n in map(str, cells) if within.startswith(f"{n}=")), None)
    there = f"; {named!r} has {describe_keys(groups(cells[named]).names)}" if named else ""
    raise InputError(
        f"{option} must name cells", f"no cell with {within!r}{there}",
        f"give VALUE or COLUMN=VALUE of a kept column: {describe_keys([c for c in cells if c not in own])}",
    )  # fmt: skip
