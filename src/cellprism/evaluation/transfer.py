"""Does a feature chosen in one donor and one cell type hold in the others?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from cellprism.data.missing import groups
from cellprism.evaluation.assess import DRAWS, auroc_parts, interval, mean_draws, no_better
from cellprism.evaluation.probing import best_features
from cellprism.evaluation.targets import MIN_CELLS, Column

__all__ = ["transfer"]

_CONTEXTS = 20


def transfer(
    found: Mapping[str, sp.csr_array],
    columns: Sequence[Column],
    replicate: ArrayLike,
    within: ArrayLike | None,
    add: Callable[..., None],
    seed: int = 0,
) -> list[tuple[Any, ...]]:
    """Rows ``transfer_f1`` and ``transfer_auroc``: means over the contexts in which a feature is chosen.

    A context is a replicate, or a replicate and a cell type. The feature and its threshold are chosen there, and scored in
    all cells that share neither with it; cells of which either is not known are in none. The 20 largest contexts with ten cells of the target and ten others are taken;
    with three or more the interval is over contexts. There is no ceiling: a probe that is chosen elsewhere is no bound.

    Returns
    -------
    list
        Differences of the first dictionary to each other one, paired over the same contexts: records of
        :attr:`~cellprism.evaluation.result.Evaluation.differences`.
    """
    rep = groups(replicate).number
    kind = np.zeros(len(rep), dtype=np.int64) if within is None else groups(within).number
    targets: list[str] = []
    scored: dict[str, list[NDArray[np.float64]]] = {name: [] for name in found}
    for column in columns:
        for category in column.asked:
            contexts = _contexts(column, category, rep, kind, within is not None)
            if not contexts:
                continue
            targets.append(column.target(category))
            for name, codes in found.items():
                scored[name].append(np.array([_scored(codes, column, category, folds) for folds in contexts]))
    mine, *others = found
    records: list[tuple[Any, ...]] = []
    for i, measure in enumerate(("transfer_f1", "transfer_auroc")):
        for name in found:
            _rows(targets, [s[:, i] for s in scored[name]], seed, partial(_tell, add, measure, name))
        for name in others:
            gaps = [a[:, i] - b[:, i] for a, b in zip(scored[mine], scored[name], strict=True)]
            _rows(targets, gaps, seed, partial(_record, records, measure, name))
    return records


def _rows(
    targets: Sequence[str],
    values: Sequence[NDArray[np.float64]],
    seed: int,
    tell: Callable[[str, float, NDArray[np.float64], int], None],
) -> None:
    """Mean over contexts of each target, and mean over targets, each with its draws."""
    if not targets:
        return
    rng = np.random.default_rng(seed)
    means = np.array([v.mean() for v in values])
    draws = np.stack([_over_contexts(v, rng) for v in values], axis=1)
    for target, mean, drawn in zip(targets, means, draws.T, strict=True):
        tell(target, float(mean), drawn, 1)
    tell("mean", float(means.mean()), mean_draws(means, draws, rng), len(means))


def _tell(
    add: Callable[..., None], measure: str, name: str, target: str, value: float, draws: NDArray[np.float64], n: int
) -> None:
    add(measure, target, name, 1, value, *interval(draws), np.nan)


def _record(
    records: list[tuple[Any, ...]],
    measure: str,
    name: str,
    target: str,
    value: float,
    draws: NDArray[np.float64],
    n: int,
) -> None:
    records.append((measure, target, name, 1, value, *interval(draws), no_better(draws), n))


def _contexts(
    column: Column, category: int, rep: NDArray[np.int64], kind: NDArray[np.int64], types: bool
) -> list[NDArray[np.intp]]:
    """Folds of each context: 0 where a feature is chosen, 1 where it is scored, -1 elsewhere."""
    member, out = column.members(category), []
    known = column.known & (rep >= 0) & (kind >= 0)
    for r, w in product(np.unique(rep[rep >= 0]), np.unique(kind[kind >= 0])):
        here, there = (rep == r) & (kind == w), (rep != r) & ((kind != w) | (not types))
        folds = np.where(here, 0, np.where(there, 1, -1))
        folds[~known] = -1
        if all((side & (folds == f)).sum() >= MIN_CELLS for side in (member, ~member) for f in (0, 1)):
            out.append(folds)
    return sorted(out, key=lambda folds: -int((folds == 0).sum()))[:_CONTEXTS]


def _scored(codes: sp.csr_array, column: Column, category: int, folds: NDArray[np.intp]) -> tuple[float, float]:
    calls = best_features(codes, [(column, category)], folds, scored=(1,))
    there = folds == 1
    member, called = column.members(category)[there], calls.called[0, there]
    hits = int((member & called).sum())
    f1 = 2 * hits / max(int(member.sum()) + int(called.sum()), 1)
    area = auroc_parts(calls.scores[0, there], member, np.zeros(int(there.sum()), dtype=np.intp))
    return f1, area.value


def _over_contexts(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(draws,) means over resampled contexts; NaN for fewer than three."""
    if len(values) < 3:
        return np.full(DRAWS, np.nan)
    return np.asarray(rng.choice(values, (DRAWS, len(values))).mean(axis=1))
