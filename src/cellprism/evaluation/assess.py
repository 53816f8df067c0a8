"""From calls and scores of cells that had no part in choosing them: F1, AUROC, their intervals, paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

__all__ = [
    "DRAWS",
    "MANY_TARGETS",
    "MEASURES",
    "Calls",
    "Judged",
    "auroc_parts",
    "difference",
    "in_turn",
    "interval",
    "judge",
    "mean_draws",
    "no_better",
    "pooled",
]

MEASURES = ("f1", "precision", "recall", "auroc")
DRAWS = 1_000
MANY_TARGETS = 6
"""Targets from which on a mean is taken over targets that might have been others; of fewer, it is about these."""

_MANY_UNITS = 3


class Calls(NamedTuple):
    """What a dictionary says of each target in each cell, chosen on other cells."""

    called: NDArray[np.bool_]
    """(targets, cells)."""
    scores: NDArray[np.float32]
    """(targets, cells): what the AUROC ranks; within a fold only, since each fold may have another feature."""
    features: NDArray[np.intp]
    """(targets, folds) feature of the calls; -1 where there are several."""
    thresholds: NDArray[np.float64]
    """(targets, folds) its threshold."""


@dataclass(frozen=True)
class Judged:
    """A measure a target, and draws of what other cells might have given."""

    value: dict[str, NDArray[np.float64]]
    """Measure -> (targets,)."""
    draws: dict[str, NDArray[np.float64]]
    """Measure -> (draws, targets)."""
    auroc: list[AurocParts]
    """A target."""


class AurocParts(NamedTuple):
    """AUROC in its folds, and each cell's part in it (DeLong et al. 1988, Biometrics 44:837)."""

    value: float
    parts: NDArray[np.float64]
    """(cells,) influence of each known cell on the mean over folds: its variance sums their squares."""


def judge(
    calls: Calls,
    members: NDArray[np.bool_],
    known: NDArray[np.bool_],
    folds: NDArray[np.intp],
    units: NDArray[np.intp] | None,
    rng: np.random.Generator,
) -> Judged:
    """Score calls against the truth.

    F1, precision and recall are those of all cells together, each called by what was chosen without it; AUROC is the mean
    over folds.

    Parameters
    ----------
    calls
        Of one dictionary.
    members, known
        (targets, cells) whether a cell belongs, and whether that is known.
    folds
        (cells,) fold in which each is scored; -1: not scored.
    units
        (cells,) replicate of each cell: with three or more the draws resample replicates, else cells.
    rng
        Source of the draws.
    """
    n = len(members)
    value = {m: np.full(n, np.nan) for m in MEASURES}
    draws = {m: np.full((DRAWS, n), np.nan) for m in MEASURES}
    aurocs = []
    for t in range(n):
        use = known[t] & (folds >= 0)
        kind = 2 * members[t, use].astype(np.intp) + calls.called[t, use]
        counts = _counts(kind, 4, None if units is None else units[use])
        for m, x in _scores(counts.sum(axis=0)[None]).items():
            value[m][t] = x[0]
        for m, x in _scores(_resampled(counts, rng)).items():
            draws[m][:, t] = x
        area = auroc_parts(calls.scores[t, use], members[t, use], folds[use])
        aurocs.append(area)
        value["auroc"][t] = area.value
        draws["auroc"][:, t] = area.value + _spread(area.parts, None if units is None else units[use], rng)
    return Judged(value, draws, aurocs)


def difference(
    one: tuple[Calls, Judged],
    other: tuple[Calls, Judged],
    members: NDArray[np.bool_],
    known: NDArray[np.bool_],
    folds: NDArray[np.intp],
    units: NDArray[np.intp] | None,
    rng: np.random.Generator,
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Measure (f1, auroc) -> difference a target, and its draws (draws, targets), both called in the same cells."""
    n = len(members)
    out = {m: (one[1].value[m] - other[1].value[m], np.full((DRAWS, n), np.nan)) for m in ("f1", "auroc")}
    for t in range(n):
        use = known[t] & (folds >= 0)
        groups = None if units is None else units[use]
        kind = 4 * members[t, use] + 2 * one[0].called[t, use] + other[0].called[t, use]
        drawn = _resampled(_counts(kind, 8, groups), rng).reshape(DRAWS, 2, 2, 2)
        first, second = (drawn.sum(axis=axis).reshape(DRAWS, 4) for axis in (3, 2))
        out["f1"][1][:, t] = _scores(first)["f1"] - _scores(second)["f1"]
        parts = one[1].auroc[t].parts - other[1].auroc[t].parts
        out["auroc"][1][:, t] = out["auroc"][0][t] + _spread(parts, groups, rng)
    return out


def pooled(found: Sequence[Judged]) -> Judged:
    """Several random dictionaries of one kind as one: means of their values, and draws of cells with one of them each."""
    value = {m: np.mean([one.value[m] for one in found], axis=0) for m in MEASURES}
    return Judged(value, {m: in_turn([one.draws[m] for one in found]) for m in MEASURES}, found[0].auroc)


def in_turn(draws: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(draws, …) one row of each array after the other, so that the spread is of the arrays as well."""
    n = np.arange(len(draws[0]))
    return np.asarray(np.stack(draws)[n % len(draws), n])


def auroc_parts(scores: NDArray[np.floating], members: NDArray[np.bool_], folds: NDArray[np.intp]) -> AurocParts:
    """AUROC, the mean over folds that hold both kinds of cells; NaN where none does."""
    parts = np.zeros(len(scores))
    values, rows = [], []
    for f in np.unique(folds):
        here = np.flatnonzero(folds == f)
        yes, no = here[members[here]], here[~members[here]]
        if not len(yes) or not len(no):
            continue
        rank = np.zeros(len(scores))
        rank[here] = rankdata(scores[here])
        above = (rank[yes] - rankdata(scores[yes])) / len(no)  # share of the others below each member, ties a half
        below = 1 - (rank[no] - rankdata(scores[no])) / len(yes)
        area = float(above.mean())
        values.append(area)
        rows.append(here)
        parts[yes] = (above - area) / max(len(yes) - 1, 1) ** 0.5 / len(yes) ** 0.5
        parts[no] = (below - area) / max(len(no) - 1, 1) ** 0.5 / len(no) ** 0.5
    return AurocParts(float(np.mean(values)) if values else np.nan, parts / max(len(values), 1))


def mean_draws(
    values: NDArray[np.float64], draws: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draws of a mean over targets: of other targets where they are many, else of other cells for these."""
    use = np.isfinite(values)
    if use.sum() >= MANY_TARGETS:
        return np.asarray(rng.choice(values[use], (DRAWS, int(use.sum()))).mean(axis=1))
    return np.asarray(draws[:, use].mean(axis=1)) if use.any() else np.full(DRAWS, np.nan)


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Central 95 %."""
    if not np.isfinite(draws).any():
        return np.nan, np.nan
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return float(low), float(high)


def no_better(draws: NDArray[np.float64]) -> float:
    """One-sided p value of a difference: share of its draws that are not above zero (Davison and Hinkley 1997, eq. 4.11)."""
    drawn = draws[np.isfinite(draws)]
    return float((1 + (drawn <= 0).sum()) / (1 + len(drawn))) if len(drawn) else np.nan


def _counts(kind: NDArray[np.intp], n: int, units: NDArray[np.intp] | None) -> NDArray[np.int64]:
    """(units, n) cells of each kind; one unit where replicates are not known or too few to be resampled."""
    names, of = (None, None) if units is None else np.unique(units, return_inverse=True)
    if names is None or of is None or len(names) < _MANY_UNITS:
        return np.bincount(kind, minlength=n)[None]
    return np.bincount(of * n + kind, minlength=len(names) * n).reshape(len(names), n)


def _resampled(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """(draws, kinds) counts of resampled units, or of resampled cells where there is one unit."""
    if len(counts) == 1:
        total = int(counts.sum())
        return np.asarray(rng.multinomial(total, counts[0] / max(total, 1), size=DRAWS))
    times = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=DRAWS)
    return np.asarray(times @ counts)


def _scores(counts: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """From (…, 4): rightly not called, wrongly called, missed, found."""
    _, wrong, missed, found = np.moveaxis(counts.astype(np.float64), -1, 0)
    return {
        "f1": 2 * found / np.maximum(2 * found + wrong + missed, 1),
        "precision": found / np.maximum(found + wrong, 1),
        "recall": found / np.maximum(found + missed, 1),
    }


def _spread(
    parts: NDArray[np.float64], units: NDArray[np.intp] | None, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Normal draws with the variance of a sum of independent parts, of cells or of replicates."""
    if units is not None:
        names, of = np.unique(units, return_inverse=True)
        if len(names) >= _MANY_UNITS:
            parts = np.asarray(np.bincount(of, weights=parts), dtype=np.float64)
    return np.asarray(rng.normal(0, np.sqrt(np.square(parts).sum()), DRAWS))
