"""Change what a feature says about chosen cells and get the embedding that says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.choice import chosen_cells
from cellprism.data.order import mask_of, refuse_other_order
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["Dictionary", "Edit", "edited_values", "make_edit", "steer"]

_FARTHEST = 1e15  # squares of moves, and sums of them, are taken in float32

Kind = Literal["value", "quantile", "scale", "add", "off"]


class Dictionary(Protocol):
    """What steering needs of a sparse autoencoder."""

    def encode(self, X: Any) -> sparse.csr_array:
        """Codes, (cells, width)."""
        ...

    def decode(self, codes: Any) -> NDArray[Any]:
        """Reconstruction, (cells, d)."""
        ...


@numbers_checked
@dataclass(frozen=True)
class Edit:
    """One change of an activation.

    Parameters
    ----------
    kind
        ``value``: set to ``amount``. ``quantile``: set to this quantile of the *active* cells (zeros do not count).
        ``scale``: multiply. ``add``: add, never below zero. ``off``: set to zero.
    amount
        In units of the activation; a fraction for ``quantile``; a factor for ``scale``.
    """

    kind: Kind
    amount: float = 0.0

    def __post_init__(self) -> None:
        rules = {
            "value": (self.amount >= 0, "an activation must be set to zero or more", "use off=True to switch it off"),
            "quantile": (0 <= self.amount <= 1, "a quantile must lie between 0 and 1", "0.95 is a strong activation"),
            "scale": (self.amount >= 0, "a factor must be zero or more", "activations are never negative"),
            "add": (True, "", ""),
            "off": (True, "", ""),
        }
        if self.kind not in rules:
            raise InputError(f"an edit must be one of {', '.join(rules)}", repr(self.kind), "correct the name")
        held, rule, remedy = rules[self.kind]
        if not (np.isfinite(self.amount) and held):
            raise InputError(rule or "the amount must be finite", f"{self.amount}", remedy or "give a number")


def make_edit(
    *,
    to: float | Edit | None = None,
    to_quantile: float | None = None,
    scale: float | None = None,
    add: float | None = None,
    off: bool = False,
) -> Edit:
    """The one edit that the keywords of :func:`steer` name."""
    if isinstance(to, Edit):
        named: list[tuple[Kind, float]] = [(to.kind, to.amount)]
    else:
        named = [("value", float(to))] if to is not None else []
    pairs: list[tuple[Kind, float | None]] = [("quantile", to_quantile), ("scale", scale), ("add", add)]
    named += [(kind, float(v)) for kind, v in pairs if v is not None]
    named += [("off", 0.0)] if off else []
    if len(named) != 1:
        raise InputError(
            "exactly one of to, to_quantile, scale, add, off must be given", f"{len(named)}", "say what to do, once"
        )
    return Edit(*named[0])


@numbers_checked
def steer(
    sae: Dictionary,
    Z: NDArray[Any],
    feature: int | Sequence[int],
    *,
    to: float | Edit | None = None,
    to_quantile: float | None = None,
    scale: float | None = None,
    add: float | None = None,
    off: bool = False,
    cells: Any = None,
    codes: sparse.csr_array | None = None,
) -> NDArray[np.float32]:
    """Embedding of the cells after an edit of one or several features.

    Only the change of the reconstruction is added to ``Z``: what the SAE does not explain (the residual) stays.

    Parameters
    ----------
    sae
        The sparse autoencoder.
    Z
        (cells, d) embedding; give all cells, since quantiles and the check for dead features need them.
    feature
        Index of a feature, or several, which all get the same edit.
    to, to_quantile, scale, add, off
        The edit, exactly one of them; see :class:`Edit`, which ``to`` also takes.
    cells
        Which rows to change: a boolean mask or indices; None = all.
    codes
        ``sae.encode(Z)`` if it is at hand.

    Returns
    -------
    ndarray
        (cells, d) float32; rows that were not chosen are ``Z`` unchanged.

    Raises
    ------
    InputError
        For a feature that no cell of ``Z`` has: its direction was not learned from these cells.

    Examples
    --------
    >>> moved = prism.steer(sae, X, 1, to_quantile=0.9, cells=types == "B")
    >>> bool(np.array_equal(moved[types != "B"], X[types != "B"]))
    True
    """
    edit = make_edit(to=to, to_quantile=to_quantile, scale=scale, add=add, off=off)
    refuse_other_order(Z=Z, cells=mask_of(cells))
    Z = np.asarray(Z, dtype=np.float32)
    rows = chosen_cells(cells, Z.shape[0])
    codes = sae.encode(Z) if codes is None else codes
    features, before, after = edited_values(codes, feature, edit, rows)
    out = Z.copy()
    out[rows] += moved(sae, codes.shape[1], features, before, after)
    return cast("NDArray[np.float32]", out)


def moved(
    sae: Dictionary, width: int, features: NDArray[np.intp], before: NDArray[Any], after: NDArray[Any]
) -> NDArray[np.float32]:
    """Change of the reconstruction, (cells, d), when features go from ``before`` to ``after`` (cells, features).

    Every decoder here is affine, so the codes of the other features cancel and need not be decoded.
    """
    n = before.shape[0]

    def coded(values: NDArray[Any]) -> sparse.csr_array:
        # A copy, since the array is compacted in place while the caller goes on with its values.
        out: Any = sparse.csr_array(
            (values.flatten(), np.tile(features, n), np.arange(n + 1) * features.size),
            shape=(n, width),
            dtype=np.float32,
        )
        out.eliminate_zeros()
        return cast("sparse.csr_array", out)

    with np.errstate(over="ignore", invalid="ignore"):  # told below
        change = np.asarray(sae.decode(coded(after)) - sae.decode(coded(before)), dtype=np.float32)
    largest = float(np.abs(change).max(initial=0))
    if not largest <= _FARTHEST:
        raise InputError(
            "an edit leaves cells where squares of the embedding are numbers", f"a move of {largest:g}", "give less"
        )
    return change


def edited_values(
    codes: sparse.csr_array, feature: int | Sequence[int], edit: Edit, rows: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32], NDArray[np.float32]]:
    """Features, and their activations in ``rows`` before and after the edit, (rows, features)."""
    width = codes.shape[1]
    features = np.atleast_1d(np.asarray(feature, dtype=np.intp))
    if features.size == 0 or np.unique(features).size != features.size:
        raise InputError("features must be named once each", f"{features.tolist()}", "drop the double ones")
    if features.min() < 0 or features.max() >= width:
        raise InputError(f"a feature must be a number from 0 to {width - 1}", f"{features.tolist()}", "correct it")
    columns = codes[:, features].toarray()
    for at, f in enumerate(features):
        if not columns[:, at].any():
            raise InputError(
                "a steered feature must be active in some cell",
                f"feature {f} is active in none of {codes.shape[0]} cells",
                "choose a live feature, or give all cells and choose among them with cells=",
            )
    before = columns[rows]
    if edit.kind == "value":
        after = np.full_like(before, edit.amount)
    elif edit.kind == "quantile":
        levels = [np.quantile(c[c > 0], edit.amount) for c in columns.T]
        after = np.broadcast_to(np.asarray(levels, before.dtype), before.shape).copy()
    elif edit.kind == "scale":
        after = before * edit.amount
    elif edit.kind == "add":
        after = np.maximum(before + edit.amount, 0)
    else:
        after = np.zeros_like(before)
    return features, before.astype(np.float32), after.astype(np.float32)
