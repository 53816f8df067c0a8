"""Features that differ between two conditions: over cells, or over donors where there are donors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy import stats

from cellprism.data.choice import mask
from cellprism.data.missing import Groups, groups
from cellprism.data.order import refuse_other_order
from cellprism.errors import CellsLeftOut, InputError, warn
from cellprism.numeric import numbers_checked
from cellprism.stats.contrast import check_codes
from cellprism.stats.donors import weighted_moderated_t
from cellprism.stats.fdr import benjamini_hochberg, two_sided_log_p
from cellprism.stats.moderate import skewed_tail, t_to_z
from cellprism.stats.units import FEWEST_A_SIDE, refuse_numbers

__all__ = ["Differential", "differential"]

_POWER = 0.8
_FEWEST_DONORS = 2
_MIN_ACTIVE = 10
"""Fewest active cells of a feature that is compared, as for annotation."""
_COLUMNS = (
    "feature", "fraction_a", "fraction_b", "mean_a", "mean_b", "difference", "log2_ratio", "effect", "statistic",
    "pval", "qval", "statistic_fraction", "pval_fraction", "qval_fraction", "detectable",
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Differential:
    """Differences of every feature between two conditions.

    Attributes
    ----------
    table
        A row a feature that could be compared, by number. All columns of one row are of the same quantity: the mean
        activation of cells, or over donors the mean of donors' means, weighted by their precision. ``fraction_a``,
        ``fraction_b`` (share of active cells), ``mean_a``, ``mean_b`` (activation, zeros included); ``difference`` of
        means (b less a), ``log2_ratio`` of means, ``effect`` (difference in standard deviations over cells or donors, see
        ``info["effect"]``), ``statistic`` (signed z), ``pval``, ``qval``; ``statistic_fraction``, ``pval_fraction``,
        ``qval_fraction`` of the active share; ``detectable``, the smallest difference of means found with 80 % power at
        p = 0.05. Both q values are over all features in the table and both questions.
    untestable
        ``feature`` and ``reason``: live features with too few active cells among those compared. They are in no family
        of q values.
    info
        Conditions ``a`` and ``b``, unit, design, numbers of cells and donors, ``effect`` and ``power`` in words,
        ``notes``: who was left out; over donors also ``donor_cells`` (cells of each donor in both conditions) and
        ``correlation`` of the cells of a donor.
    """

    table: pd.DataFrame
    untestable: pd.DataFrame
    info: dict[str, Any]

    def __repr__(self) -> str:
        clear = int((self.table["qval"] < 0.05).sum())
        return (
            f"Differential: {self.info['b']} against {self.info['a']}, over {self.info['unit']}s ({self.info['design']})\n"
            f"    {clear} of {len(self.table)} features at q < 0.05, {len(self.untestable)} untestable; .table, .info"
        )


class _Tests(NamedTuple):
    """Of the chosen cells, (features,) each."""

    fraction: tuple[np.ndarray, np.ndarray]
    mean: tuple[np.ndarray, np.ndarray]
    effect: np.ndarray
    z: np.ndarray
    z_fraction: np.ndarray
    detectable: np.ndarray


@numbers_checked
def differential(
    codes: sp.sparray | np.ndarray,
    condition: Any,
    donor: Any = None,
    *,
    within: Any = None,
    conditions: tuple[str, str] | None = None,
) -> Differential:
    """Compare features between two conditions.

    Parameters
    ----------
    codes
        (cells, features) non-negative activations.
    condition
        (cells,) condition of each cell; missing values leave a cell out.
    donor
        (cells,) the independent unit. With it the test is over donors: paired where donors have cells in both
        conditions, else of two groups; weighted by the precision of donors' means and moderated over features. Cells
        without a donor, and donors of fewer than 3 cells in a condition, are left out there and told in ``info["notes"]``.
        Without it cells count as independent and q values hold for these cells only, not for new donors.
    within
        (cells,) True for the cells to compare (one cell type, say), in any type of :func:`cellprism.data.choice.mask`.
    conditions
        The two values of ``condition`` to compare, the reference first; needed when there are more than two.

    Notes
    -----
    Over cells the difference of mean activations is held against its distribution under permuted cells (normal, with
    Pearson's type III tail where that is skewed and heavier), the active share against its normal test with pooled
    variance. Over donors see :mod:`cellprism.stats.donors`; the active share is compared on the scale of the arcsine of
    its root, and ``fraction_a`` and ``fraction_b`` are means on that scale, taken back.

    Warns
    -----
    CellsLeftOut
        For each of ``info["notes"]``.

    Raises
    ------
    InputError
        When there are not two conditions, or fewer than two donors in one of them.

    Examples
    --------
    >>> found = prism.differential(codes, conditions, donors)
    >>> found.info["unit"], bool((found.table["pval"] <= 1).all())
    ('donor', True)
    """
    refuse_other_order(codes=codes, condition=condition, donor=donor, within=within)
    columns = check_codes(codes)
    names, side, notes = _sides(condition, within, conditions, columns.shape[0])
    chosen = side >= 0
    units = None
    if donor is not None:
        refuse_numbers(donor, "donor")
        units = groups(donor)
        if units.number.size != chosen.size:
            raise _length("donor", units.number.size, chosen.size)
        chosen = _with_donor(chosen, side, units, notes)
    live = np.flatnonzero(np.diff(columns.indptr) > 0)
    part = columns[np.flatnonzero(chosen)].tocsc()
    n_active = np.diff(part.indptr)
    enough = n_active[live] >= _MIN_ACTIVE
    short, tested = live[~enough], live[enough]
    reason = [f"{n_active[f]} active cells among those compared, fewer than {_MIN_ACTIVE}" for f in short]
    untestable = pd.DataFrame({"feature": short.astype(np.int32), "reason": pd.Series(reason, dtype=object)})
    part, second = sp.csc_array(part[:, tested]).astype(np.float64), side[chosen] == 1
    info: dict[str, Any] = {"a": names[0], "b": names[1], "cells_a": int((~second).sum()), "cells_b": int(second.sum())}
    if units is None:
        tests, more = _over_cells(part, second, names)
    else:
        tests, more = _over_donors(part, second, names, units.names, units.number[chosen], notes)
    for note in notes:
        warn(note, CellsLeftOut)
    return Differential(_table(tested, tests, _floor(part, second)), untestable, info | more | {"notes": notes})


def _with_donor(chosen: np.ndarray, side: np.ndarray, units: Groups, notes: list[str]) -> np.ndarray:
    """The chosen cells of donors that have cells enough in the cell's condition."""
    without = int((chosen & (units.number < 0)).sum())
    if without == chosen.sum():
        raise InputError("every compared cell needs a donor", f"{without} without", "give their donors")
    if without:
        notes.append(f"{without:,} of {int(chosen.sum()):,} cells have no donor and are left out")
    known = chosen & (units.number >= 0)
    group = 2 * units.number + side
    counts = np.bincount(group[known], minlength=2 * units.names.size)
    stray = known & (counts[np.where(known, group, 0)] < FEWEST_A_SIDE)
    if stray.any():
        who = ", ".join(repr(str(name)) for name in units.names[np.unique(units.number[stray])[:5]])
        notes.append(
            f"{int(stray.sum())} cells of donors with fewer than {FEWEST_A_SIDE} in a condition are left out ({who})"
        )
    return known & ~stray


def _length(name: str, met: int, n_cells: int) -> InputError:
    return InputError(f"{name} must have one value a cell", f"{met} values for {n_cells} cells", "give all")


def _sides(
    condition: Any, within: Any, conditions: tuple[str, str] | None, n_cells: int
) -> tuple[tuple[str, str], np.ndarray, list[str]]:
    """The two conditions, (cells,) 0 and 1 for theirs and -1 for other cells, and what is to be said of the latter."""
    found = groups(condition)
    if found.number.size != n_cells:
        raise _length("condition", found.number.size, n_cells)
    chosen = np.ones(n_cells, dtype=bool)
    if within is not None:
        chosen = mask(within, n_cells, "`within`")
    number = np.where(chosen, found.number, -1)
    present = [str(name) for name in found.names[np.unique(number[number >= 0])]]
    names = present if conditions is None else [str(name) for name in conditions]
    if len(names) != 2 or len(set(names)) != 2 or not set(names) <= set(present):
        met = ", ".join(map(repr, names[:5]))
        there = "" if conditions is None else f"; there are {', '.join(map(repr, present[:5]))}"
        raise InputError(
            "two conditions are compared",
            f"{len(names)} ({met}) among {int(chosen.sum()):,} cells{there}",
            "name the two that are to be compared, each with cells",
        )
    side = np.full(n_cells, -1)
    for i, name in enumerate(names):
        side[number == list(found.names).index(name)] = i
    missing = int((chosen & (found.number < 0)).sum())
    notes = [f"{missing:,} of {int(chosen.sum()):,} cells have no condition and are left out"] if missing else []
    return (names[0], names[1]), side, notes


def _floor(columns: sp.csc_array, second: np.ndarray) -> np.ndarray:
    """One typical activation in the smaller condition: keeps the ratio of rare features finite."""
    typical = columns.sum(axis=0) / np.maximum(np.diff(columns.indptr), 1)
    return np.asarray(typical / min(second.sum(), (~second).sum()))


def _table(features: np.ndarray, tests: _Tests, floor: np.ndarray) -> pd.DataFrame:
    mean_a, mean_b = tests.mean
    table = pd.DataFrame({"feature": features.astype(np.int32)})
    table["fraction_a"], table["fraction_b"] = tests.fraction
    table["mean_a"], table["mean_b"], table["difference"] = mean_a, mean_b, mean_b - mean_a
    table["log2_ratio"] = np.log2((mean_b + floor) / (mean_a + floor))
    table["effect"], table["statistic"], table["statistic_fraction"] = tests.effect, tests.z, tests.z_fraction
    table["detectable"] = tests.detectable
    table["pval"] = np.exp(two_sided_log_p(tests.z))
    table["pval_fraction"] = np.exp(two_sided_log_p(tests.z_fraction))
    table["qval"], table["qval_fraction"] = benjamini_hochberg(np.stack([table["pval"], table["pval_fraction"]]))
    return table[list(_COLUMNS)]


def _active(columns: sp.csc_array) -> sp.csc_array:
    out = columns.copy()
    out.data = np.ones(out.nnz)
    return out


def _power_of(column: sp.csc_array, exponent: int) -> np.ndarray:
    out = column.copy()
    out.data = out.data**exponent
    return np.asarray(out.mean(axis=0))


def _over_cells(columns: sp.csc_array, second: np.ndarray, names: tuple[str, str]) -> tuple[_Tests, dict[str, Any]]:
    n1, n2 = int((~second).sum()), int(second.sum())
    if min(n1, n2) < 2:
        raise InputError("each condition needs two cells", f"{n1} and {n2}", "compare larger groups")
    n = n1 + n2
    mean, share = (
        tuple((m.T @ cells) / cells.sum() for cells in (~second, second)) for m in (columns, _active(columns))
    )
    step = 1.0 / n1 + 1.0 / n2
    first, square, cube = (_power_of(columns, k) for k in (1, 2, 3))
    variance = np.maximum(square - first**2, 0.0) * n / (n - 1.0)
    third = cube - 3.0 * first * square + 2.0 * first**3
    error = np.sqrt(variance * step)
    # Moments of the difference of means of two random parts of these cells.
    skewness = (1.0 / n2**2 - 1.0 / n1**2) * third * n**2 / ((n - 1.0) * max(n - 2.0, 1.0))
    safe = np.where(error > 0, error, 1.0)
    z = np.where(error > 0, (mean[1] - mean[0]) / safe, 0.0)
    z = skewed_tail(z, np.where(error > 0, skewness / safe**3, 0.0))
    sd = np.sqrt(np.maximum(square - (n1 * mean[0] ** 2 + n2 * mean[1] ** 2) / n, 0.0) * n / (n - 2.0))
    effect = np.divide(mean[1] - mean[0], sd, out=np.zeros_like(sd), where=sd > 0)
    pooled = (share[0] * n1 + share[1] * n2) / n
    se = np.sqrt(pooled * (1.0 - pooled) * step)
    z_fraction = np.divide(share[1] - share[0], se, out=np.zeros_like(se), where=se > 0)
    width = stats.norm.ppf(0.975) + stats.norm.ppf(_POWER)
    power = (
        f"With {n1:,} cells of {names[0]} and {n2:,} of {names[1]} taken as independent, differences of {width * np.sqrt(step):.2f} standard "
        "deviations over cells are found with 80 % power at p = 0.05. Nothing is said about donors: give them where there "
        "are any."
    )
    about = {"unit": "cell", "design": "two groups", "effect": "in standard deviations over cells", "power": power}
    return _Tests(share, mean, effect, z, z_fraction, width * np.sqrt(variance * step)), about


def _over_donors(
    columns: sp.csc_array,
    second: np.ndarray,
    conditions: tuple[str, str],
    names: np.ndarray,
    number: np.ndarray,
    notes: list[str],
) -> tuple[_Tests, dict[str, Any]]:
    sides = (~second, second)
    counts = np.stack([np.bincount(number[side], minlength=names.size) for side in sides])
    chosen, design = _design(counts, notes)
    means, shares, within = _of_donors(columns, sides, number, counts)
    cells = [np.maximum(c, 1).astype(np.float64) for c in counts]
    mean = weighted_moderated_t(means, cells, chosen, within)
    # the sampling variance of the arcsine of the root of a share is a quarter over the number of cells
    share = weighted_moderated_t(shares, cells, chosen, np.full(within.shape, 0.25))
    width = float(stats.t.ppf(0.975, mean.df) + stats.t.ppf(_POWER, mean.df))
    used = counts[:, np.logical_or.reduce(chosen)]
    sizes = [int(g.sum()) for g in chosen]
    least, most = used[used > 0].min(), used.max()
    relative = np.divide(mean.error, mean.sd, out=np.full_like(mean.sd, np.nan), where=mean.sd > 0)
    who = f"{sizes[0]} donors"
    if len(sizes) == 2:
        who = f"{sizes[0]} donors of {conditions[0]} and {sizes[1]} of {conditions[1]}"
    power = (
        f"With {who} ({design}) of {least:,} to {most:,} cells in a condition, weighted by "
        f"precision, differences of {width * float(np.nanmedian(relative)) if relative.size else np.nan:.2f} standard "
        "deviations over donors are found with 80 % power at p = 0.05; smaller ones are likely to be missed."
    )
    about = {
        "unit": "donor", "design": design, "donors": sizes, "prior_df": round(mean.df, 2),
        "correlation": round(mean.correlation, 4), "effect": "in standard deviations over donors", "power": power,
        "donor_cells": {str(n): [int(a), int(b)] for n, a, b in zip(names, *counts, strict=True) if a or b},
    }  # fmt: skip
    tests = _Tests(
        (np.sin(share.mean_a) ** 2, np.sin(share.mean_b) ** 2),
        (mean.mean_a, mean.mean_b),
        np.divide(mean.mean_b - mean.mean_a, mean.sd, out=np.zeros_like(mean.sd), where=mean.sd > 0),
        t_to_z(mean.t, mean.df),
        t_to_z(share.t, share.df),
        width * mean.error,
    )
    return tests, about


def _design(counts: np.ndarray, notes: list[str]) -> tuple[list[np.ndarray], str]:
    """Masks of the donors compared: one for pairs, or one a condition."""
    there = counts > 0
    paired: np.ndarray = np.asarray(there.all(axis=0))
    if paired.sum() >= _FEWEST_DONORS and paired.sum() >= 0.5 * there.any(axis=0).sum():
        alone = int((there.any(axis=0) & ~paired).sum())
        if alone:
            notes.append(f"{alone} donors with cells in one condition only are left out of the paired test")
        return [paired], "paired"
    chosen = [there[0] & ~paired, there[1] & ~paired]
    if min(g.sum() for g in chosen) < _FEWEST_DONORS:
        raise InputError(
            "a test over donors needs two donors in each condition, or two with cells in both",
            f"{int(chosen[0].sum())} and {int(chosen[1].sum())} donors of {FEWEST_A_SIDE} cells or more, "
            f"{int(paired.sum())} in both",
            "leave the donors out and read the result as about these cells only",
        )
    if paired.any():
        notes.append(f"{int(paired.sum())} donors with cells in both conditions are left out of the test of two groups")
    return chosen, "two groups"


def _of_donors(
    columns: sp.csc_array, sides: tuple[np.ndarray, np.ndarray], number: np.ndarray, counts: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
    """Mean activations and arcsines of the root of active shares, (donors, features) a condition; variance within."""
    active, square = _active(columns), columns.copy()
    square.data = square.data**2
    means, shares = [], []
    within, df = np.zeros(columns.shape[1]), 0
    for side, n in zip(sides, counts, strict=True):
        rows = np.flatnonzero(side & (n[number] > 0))
        member = sp.csr_array((1.0 / n[number[rows]], (number[rows], rows)), (n.size, side.size))
        mean = (member @ columns).toarray()
        means.append(mean)
        shares.append(np.arcsin(np.sqrt(np.clip((member @ active).toarray(), 0.0, 1.0))))
        within += (n[:, None] * np.maximum((member @ square).toarray() - mean**2, 0.0)).sum(axis=0)
        df += int(n.sum() - (n > 0).sum())
    return means, shares, within / max(df, 1)
