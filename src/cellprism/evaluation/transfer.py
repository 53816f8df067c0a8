"""Does a feature chosen in one donor and one cell type hold in the others?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.evaluation.assess import auroc_parts, interval
from cellprism.evaluation.probing import best_features
from cellprism.evaluation.targets import MIN_CELLS, Column

__all__ = ["transfer"]

_CONTEXTS = 20
_DRAWS = 1_000


def transfer(
    found: Mapping[str, sp.csr_array],
    columns: Sequence[Column],
    replicate: NDArray[Any],
    within: NDArray[Any] | None,
    add: Callable[..., None],
    seed: int = 0,
) -> None:
    """Rows ``transfer_f1`` and ``transfer_auroc``: means over the contexts in which a feature is chosen.

    A context is a replicate, or a replicate and a cell type. The feature and its threshold are chosen there, and scored in
    all cells that share neither with it. The 20 largest contexts with ten cells of the target and ten others are taken;
    with three or more the interval is over contexts. There is no ceiling: a probe that is chosen elsewhere is no bound.
    """
    rep = np.unique(np.asarray(replicate, dtype=str), return_inverse=True)[1]
    kind = np.zeros(len(rep), dtype=np.intp)
    if within is not None:
        kind = np.unique(np.asarray(within, dtype=str), return_inverse=True)[1]
    for column in columns:
        for category in column.asked:
            contexts = _contexts(column, category, rep, kind, within is not None)
            for name, codes in found.items():
                scored = [_scored(codes, column, category, folds) for folds in contexts]
                for i, measure in enumerate(("f1", "auroc")):
                    values = np.array([s[i] for s in scored])
                    if len(values):
                        low, high = _over_contexts(values, seed)
                        add(f"transfer_{measure}", column.target(category), name, 1, values.mean(), low, high, np.nan)


def _contexts(
    column: Column, category: int, rep: NDArray[np.intp], kind: NDArray[np.intp], types: bool
) -> list[NDArray[np.intp]]:
    """Folds of each context: 0 where a feature is chosen, 1 where it is scored, -1 elsewhere."""
    member, out = column.members(category), []
    for r, w in product(np.unique(rep), np.unique(kind)):
        here, there = (rep == r) & (kind == w), (rep != r) & ((kind != w) | (not types))
        folds = np.where(here, 0, np.where(there, 1, -1))
        folds[~column.known] = -1
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


def _over_contexts(values: NDArray[np.float64], seed: int) -> tuple[float, float]:
    if len(values) < 3:
        return np.nan, np.nan
    rng = np.random.default_rng(seed)
    return interval(rng.choice(values, (_DRAWS, len(values))).mean(axis=1))
