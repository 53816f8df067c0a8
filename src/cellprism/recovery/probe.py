"""The superposition probe: what a linear readout with the truth at hand finds, the ceiling of a linear dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.recovery.correlate import MIN_CELLS
from cellprism.recovery.truth import Level, Truth

__all__ = ["Probe", "probe"]

ALPHAS = tuple(np.logspace(-6, 2, 9))
"""Ridge penalties tried, relative to the mean variance of the embedding's dimensions."""


@dataclass(frozen=True)
class Probe:
    """Linear readouts of known variables from an embedding."""

    variables: pd.DataFrame
    """A row a variable: ``level``, ``variable``, ``r2`` (held out; below 0 where worse than the mean), ``abs_r`` (of
    the readout, held out), ``alpha``, and ``r2_visible``, ``abs_r_visible`` of a readout fitted and tested among the
    cells where the variable is visible. NaN where it is constant there or too few cells remain."""
    directions: dict[str, NDArray[np.float32]]
    """Level -> readout directions (variables, d), in units of the variable per unit of the embedding."""


class _Fold(NamedTuple):
    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    squares: NDArray[np.float64]
    n: int


@numbers_checked
def probe(
    embedding: ArrayLike,
    truth: Any,
    *,
    held_out: ArrayLike | None = None,
    alphas: Sequence[float] = ALPHAS,
    folds: int = 5,
    seed: int = 0,
) -> Probe:
    """Read every variable of a truth linearly from an embedding.

    Parameters
    ----------
    embedding
        (cells, d).
    truth
        Anything :meth:`~cellprism.recovery.Truth.of` reads.
    held_out
        Mask or indices of the cells that test the readouts; None: a random tenth.
    alphas
        Ridge penalties, relative to the mean variance of the embedding's dimensions; chosen for each variable by
        cross-validation within the training cells.
    folds
        Folds of that cross-validation.
    seed
        Seed of the folds and of the random tenth.

    Returns
    -------
    Held-out R squared, correlation and direction of each readout.

    Raises
    ------
    InputError
        If cells do not agree or the split leaves too few on a side.

    Examples
    --------
    >>> world = prism.simulate.small(600, held_out=100, seed=0)
    >>> found = prism.recovery.probe(world.X, {"T": world.obsm["T_truth"]})
    >>> type(found).__name__
    'Probe'
    """
    X, known = np.asarray(embedding, dtype=np.float64), Truth.of(truth)
    if X.ndim != 2 or len(X) != known.n_cells or not np.isfinite(X).all():
        raise InputError(
            "the embedding must be finite with a row a cell of the truth",
            f"shape {X.shape} for {known.n_cells} cells" if np.isfinite(X).all() else "values that are not finite",
            "align cells and drop those without an embedding",
        )
    rng = np.random.default_rng(seed)
    test = np.zeros(len(X), dtype=bool)
    test[rng.permutation(len(X))[: len(X) // 10] if held_out is None else np.asarray(held_out)] = True
    if test.sum() < 3 or (~test).sum() < max(folds, 3) or folds < 2:
        raise InputError(
            "the probe needs three cells held out, and a training cell a fold, with two folds or more",
            f"{int(test.sum())} held out, {int((~test).sum())} to train on, {folds} folds",
            "give more cells",
        )
    fold = rng.integers(folds, size=len(X))
    tables, directions = [], {}
    for name, level in known.levels.items():
        table, directions[name] = _probe_level(X, level, test, fold, np.asarray(alphas, dtype=np.float64))
        tables.append(table.assign(level=name)[["level", *table.columns]])
    return Probe(
        pd.DataFrame({c: np.concatenate([t[c].to_numpy() for t in tables]) for c in tables[0].columns}), directions
    )


def _probe_level(
    X: NDArray[np.float64], level: Level, test: NDArray[np.bool_], fold: NDArray[Any], alphas: NDArray[np.float64]
) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    W, r2, r, alpha = _readout(X, level.values.astype(np.float64), test, fold, alphas)
    visible = np.full((2, len(level.names)), np.nan)
    if level.visible is not None:
        for v in range(len(level.names)):  # each variable has its own cells, so its own moments
            rows = level.visible[:, v]
            if rows[test].sum() >= MIN_CELLS and rows[~test].sum() >= max(MIN_CELLS, X.shape[1]):
                y = level.values[rows, v : v + 1].astype(np.float64)
                _, r2_seen, r_seen, _ = _readout(X[rows], y, test[rows], fold[rows], alphas)
                visible[:, v] = r2_seen[0], r_seen[0]
    table = pd.DataFrame({"variable": level.names, "r2": r2, "abs_r": r, "alpha": alpha})
    return table.assign(r2_visible=visible[0], abs_r_visible=visible[1]), W.astype(np.float32)


def _readout(
    X: NDArray[np.float64], Y: NDArray[np.float64], test: NDArray[np.bool_], fold: NDArray[Any], alphas: NDArray[Any]
) -> tuple[NDArray[np.float64], ...]:
    """Fit on the training cells; give directions (variables, d), held-out R squared, |r| and the chosen alphas."""
    mean_x, mean_y = X[~test].mean(axis=0), Y[~test].mean(axis=0)
    Xc, Yc = X - mean_x, Y - mean_y
    parts = [_moments(Xc[rows], Yc[rows]) for f in np.unique(fold) if (rows := (~test) & (fold == f)).any()]
    whole = _Fold(*(sum(field) for field in zip(*parts, strict=True)))
    penalty = alphas * max(np.trace(whole.gram) / X.shape[1], 1e-12)
    # Held-out squared errors follow from the moments of each fold alone: no prediction is made cell by cell.
    errors = np.zeros((len(alphas), Y.shape[1]))
    for part in parts:
        basis, spread = _eigen(whole.gram - part.gram)
        projected = basis.T @ (whole.cross - part.cross)
        for i, value in enumerate(penalty):
            W = basis @ (projected / (spread + value)[:, None])
            errors[i] += part.squares - 2 * (W * part.cross).sum(axis=0) + (W * (part.gram @ W)).sum(axis=0)
    chosen = errors.argmin(axis=0)
    basis, spread = _eigen(whole.gram)
    W = basis @ ((basis.T @ whole.cross) / (spread[:, None] + penalty[chosen]))
    held, predicted = Yc[test], Xc[test] @ W
    centred = held - held.mean(axis=0)
    total = (centred**2).sum(axis=0)
    varies = (total > 1e-12 * len(held)) & (whole.squares > 1e-12 * whole.n)
    around = predicted - predicted.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = np.where(varies, 1 - ((held - predicted) ** 2).sum(axis=0) / total, np.nan)
        r = np.abs((around * centred).sum(axis=0)) / np.sqrt((around**2).sum(axis=0) * total)
    return W.T, r2, np.where(varies, np.nan_to_num(r), np.nan), alphas[chosen]


def _moments(X: NDArray[np.float64], Y: NDArray[np.float64]) -> _Fold:
    return _Fold(X.T @ X, X.T @ Y, (Y**2).sum(axis=0), len(X))


def _eigen(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    spread, basis = np.linalg.eigh(gram)
    return basis, np.maximum(spread, 0)
