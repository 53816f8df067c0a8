"""What kind of values an expression matrix holds: told by the user, or decided by evidence.

Two things tell the scales apart. The totals of cells are constant on the scale on which they were normalised, so of
x, expm1(x) and 2^x - 1 the one whose row sums hardly vary says what x is. And counts that were only multiplied by a
factor a cell are multiples of one unit in each cell, on that scale alone, which still holds where genes were left out.
Where that unit is the same in all cells nobody scaled them to depth: they are counts, or counts times a number.
Values that show neither (counts corrected for ambient molecules, imputed ones) are refused until the user says what they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, cast, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.beyond_memory import changed, pieces, row_blocks
from cellprism.errors import InputError

__all__ = [
    "STATES",
    "State",
    "Totals",
    "check_sign",
    "recognise",
    "row_totals",
    "stated",
    "to_log1p",
    "totals_of",
    "totals_vary",
    "whole",
]

State = Literal["counts", "normalised", "log1p", "log2", "fractions"]
TARGET_SUM = 1e4
STATES: tuple[str, ...] = get_args(State)
_CONSTANT = 0.02
"""Largest coefficient of variation of totals that count as constant: values were rounded when they were stored."""
_EVIDENCE = 2_000
_CELLS, _UNITS, _SLACK = 500, 30.0, 0.02
_LARGEST: dict[str, float] = {"log1p": 30.0, "log2": 43.0}
"""e^30 and 2^43 are beyond any count."""

_BACK: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "normalised": lambda x: x,
    "log1p": np.expm1,
    "log2": lambda x: np.exp2(x) - 1.0,
    "log10": lambda x: 10.0**x - 1.0,
}


def whole(values: sp.csr_array) -> bool:
    """Whether all values are whole numbers."""
    return not any(np.mod(values.data[part], 1).any() for part in pieces(values.data.size))


def row_totals(values: sp.csr_array) -> NDArray[np.float64]:
    """(cells,) sums of rows."""
    totals = [np.zeros(0)]
    for block in row_blocks(values):
        owner = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        totals.append(np.bincount(owner, weights=block.data, minlength=block.shape[0]).astype(np.float64))
    return np.concatenate(totals)


def _variation(values: sp.csr_array, back: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """Coefficient of variation of the back-transformed totals over cells that hold anything."""
    natural = sp.csr_array((back(values.data.astype(np.float64)), values.indices, values.indptr), values.shape)
    totals = row_totals(natural)
    totals = totals[totals > 0]
    return float(totals.std() / totals.mean()) if totals.size > 1 else np.inf


def _some_cells(values: sp.csr_array) -> sp.csr_array:
    """Up to 2,000 cells that hold anything, spread over all."""
    rows = np.flatnonzero(np.diff(values.indptr) > 0)
    return values if rows.size <= _EVIDENCE else values[rows[np.linspace(0, rows.size - 1, _EVIDENCE).astype(np.int64)]]


def totals_vary(values: sp.csr_array) -> bool:
    """Whether the row sums differ between cells by more than rounding."""
    return _variation(_some_cells(values), _BACK["normalised"]) > _CONSTANT


def _in_units(values: sp.csr_array, back: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """Share of small values that are whole multiples of the smallest value of their cell, over up to 500 cells."""
    met = known = 0
    rows = np.flatnonzero(np.diff(values.indptr) > 1)
    for row in rows[:_CELLS]:
        natural = back(values.data[values.indptr[row] : values.indptr[row + 1]].astype(np.float64))
        ratio = natural / natural.min()
        ratio = ratio[(ratio > 1.0 + _SLACK) & (ratio < _UNITS)]
        known += ratio.size
        met += int((np.abs(ratio - np.rint(ratio)) < _SLACK).sum())
    return met / known if known >= 20 else 0.0


def recognise(values: sp.csr_array, where: str = "X", remedy: str = "store counts or log1p values") -> State:
    """What kind of values an expression matrix holds, by its evidence.

    Parameters
    ----------
    values
        (cells, genes), no explicit zeros.
    where, remedy
        Where the values lie and what else there is, for the messages.

    Returns
    -------
    "counts" for whole numbers, or these times one number; "normalised" (natural scale; "fractions" where totals are 1 or less), "log1p" or "log2"
    for the scale on which the totals of cells are constant, or on which each cell's values are multiples of one unit.

    Raises
    ------
    InputError
        If values are NaN, infinite or negative, all zero, or show none of this.

    Examples
    --------
    >>> from cellprism.data.state import recognise
    >>> from scipy.sparse import csr_array
    >>> recognise(csr_array(cells.X)), recognise(csr_array(expression))
    ('counts', 'log1p')
    """
    check_values(values, where, remedy)
    if whole(values):
        return "counts"
    largest = float(values.data.max())
    values = _some_cells(values)
    allowed = {n: f for n, f in _BACK.items() if largest <= {**_LARGEST, "log10": 13.0}.get(n, np.inf)}
    variation = {name: _variation(values, back) for name, back in allowed.items()}
    found = min(variation, key=lambda name: variation[name])
    if variation[found] > _CONSTANT:
        units = {name: _in_units(values, back) for name, back in allowed.items()}
        found = max(units, key=lambda name: units[name])
        if units[found] < 0.95:
            shown = ", ".join(f"{v:.2f} as {n}" for n, v in variation.items())
            raise InputError(
                f"the state of the expression must be plain from its values, and {where} holds fractions",
                f"totals of cells that vary on every scale (coefficient of variation {shown}), as those of counts corrected "
                "for ambient molecules, of imputed values or of a few genes do",
                "say what they are (--expression-state log1p on the command line, expression_state='log1p' in Python; or "
                "counts, normalised, log2, fractions), round corrected counts, or " + remedy,
            )
    if found == "log10":
        raise InputError(
            "expression on a log scale is log1p or log2(1 + x)",
            f"log10(1 + x) in {where}",
            "store log1p: x * np.log(10)",
        )
    if found == "normalised" and variation[found] > _CONSTANT and _one_unit(values):
        return "counts"
    if found == "normalised" and float(row_totals(values).max()) <= 1.0 + _CONSTANT:
        return "fractions"
    return cast(State, found)


def check_values(values: sp.csr_array, where: str, remedy: str) -> None:
    """Refuse values that are no expression in any state."""
    check_sign(values, where, remedy)
    if not len(values.data) or values.data.max() == 0:
        raise InputError("expression must not be zero everywhere", f"no positive value in {where}", remedy)


def check_sign(values: sp.csr_array, where: str, remedy: str) -> None:
    """Refuse NaN, infinite and negative values."""
    data = values.data
    if not all(np.isfinite(data[part]).all() for part in pieces(data.size)):
        raise InputError(
            "expression must be finite", f"{_count(~np.isfinite(data), 'NaN or infinite value')} in {where}", remedy
        )
    if len(data) and data.min() < 0:
        met = f"{_count(data < 0, 'negative value')} in {where}, the least {data.min():.3g}"
        if -data.min() < 1e-3 * data.max() and (data < 0).mean() < 0.01:
            raise InputError(
                "expression must not be negative", met, "set what rounding left below zero to zero: X[X < 0] = 0"
            )
        raise InputError(
            "expression must not be negative: scaled or centred values cannot be tested as expression", met, remedy
        )


def stated(
    wanted: str | Mapping[str, str] | None, modality: str, values: sp.csr_array, where: str, remedy: str
) -> State:
    """The state that the user gave for a modality, checked against what is impossible; else :func:`recognise`.

    Raises
    ------
    InputError
        If the state does not exist, or the values cannot be in it.
    """
    state = wanted if wanted is None or isinstance(wanted, str) else wanted.get(modality)
    if state is None:
        return recognise(values, where, remedy)
    if state not in STATES:
        raise InputError(f"the state of expression is one of {', '.join(STATES)}", repr(state), "give one of these")
    check_values(values, where, remedy)
    largest = float(values.data.max())
    if largest > _LARGEST.get(state, np.inf):
        raise InputError(
            f"{state} values lie below {_LARGEST[state]:g}", f"{largest:.6g} in {where}", "state what the values are"
        )
    total = float(row_totals(values).max())
    if state == "fractions" and total > 1.0 + _CONSTANT:
        raise InputError(
            "fractions of a cell add up to 1 at most", f"a total of {total:.6g} in {where}", "state 'normalised'"
        )
    return cast(State, state)


class Totals(NamedTuple):
    """What the cells looked at say of all: how their totals are to be brought to one."""

    scaled: bool
    """Whether each cell is scaled to 10,000."""
    ready: bool
    """Whether values are depth-normalised log1p already."""
    whole: bool
    """Whether they are whole numbers."""


def totals_of(values: sp.csr_array, state: State) -> Totals:
    """What a matrix, or some of its cells, says of the totals; see :func:`to_log1p`."""
    part = _natural(_some_cells(values), state)
    scaled = state == "counts" or not totals_vary(part) or (state in ("log1p", "log2") and _one_unit(part))
    ready = state == "log1p" and (not scaled or np.allclose(row_totals(part), TARGET_SUM, rtol=1e-3))
    return Totals(scaled, ready, whole(values))


def to_log1p(values: sp.csr_array, state: State, totals: Totals | None = None) -> sp.csr_array:
    """Depth-normalised log1p values; cells without any stay zero.

    Counts are scaled to 10,000 a cell, and so is what is constant over cells in total on its own scale, whatever that
    total is. Values of some of the genes of normalised cells keep their scale, as their totals are biology; fractions
    count in ten-thousandths. ``totals`` tells that of all cells where these are some of them.

    Examples
    --------
    >>> from cellprism.data.state import to_log1p
    >>> from scipy.sparse import csr_array
    >>> np.expm1(to_log1p(csr_array(cells.X), "counts").toarray()).sum(axis=1).round(-1)[:2].tolist()
    [10000.0, 10000.0]
    """
    totals = totals_of(values, state) if totals is None else totals
    if totals.ready:
        return values
    return changed(values, lambda block: _log1p(block, state, totals))


def _log1p(values: sp.csr_array, state: State, totals: Totals) -> sp.csr_array:
    natural = _natural(values, state)
    if totals.scaled:
        total = row_totals(natural)
        factor = np.divide(TARGET_SUM, total, out=np.zeros_like(total), where=total > 0)
        natural.data *= np.repeat(factor, np.diff(natural.indptr)).astype(np.float32)
    elif state == "fractions":
        natural.data *= np.float32(TARGET_SUM)
    natural.data = np.log1p(natural.data)
    return natural


def _natural(values: sp.csr_array, state: State) -> sp.csr_array:
    """A copy on the natural scale, float32."""
    out = sp.csr_array(values, dtype=np.float32, copy=True)
    if state in ("log1p", "log2"):
        out.data = _BACK[state](out.data).astype(np.float32)
    return out


def _one_unit(natural: sp.csr_array) -> bool:
    """Whether values are multiples of the same unit in all cells, so that nobody has scaled the cells to depth."""
    ratio = natural.data / natural.data.min()
    ratio = ratio[ratio < _UNITS]
    return bool(ratio.size >= 20 and (np.abs(ratio - np.rint(ratio)) < _SLACK).mean() > 0.99)


def _count(bad: NDArray[np.bool_], what: str) -> str:
    n = int(bad.sum())
    return f"{n:,} {what}{'' if n == 1 else 's'}"
