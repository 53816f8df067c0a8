"""Readers of categories, each chosen on some cells and applied to the others: one feature, few features, all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from cellprism.data.missing import groups
from cellprism.evaluation.assess import Calls
from cellprism.evaluation.targets import MIN_CELLS, Column
from cellprism.stats.expression import column_order
from cellprism.stats.labels import category_detectors

__all__ = ["best_features", "best_threshold", "few_features", "linear_probe", "make_folds", "usable_targets"]

Reader = Callable[[NDArray[np.bool_], NDArray[np.bool_]], list[NDArray[np.float64]]]

_CANDIDATES = 256  # of the features that go with a target most, those that are looked at together
_CELLS = 20_000  # a probe is fitted to at most


def make_folds(n_cells: int, replicate: ArrayLike | None, seed: int, folds: int = 5) -> NDArray[np.intp]:
    """Fold of each cell: two random halves, or where replicates are known groups of whole replicates, at most five.

    A cell without a replicate is in no fold (-1): it would be chosen on and scored beside cells of its own donor.
    """
    rng = np.random.default_rng(seed)
    if replicate is None:
        return np.asarray(rng.permutation(n_cells) % 2)
    known = groups(replicate)
    size = known.sizes
    group, load = np.zeros(len(size), dtype=np.intp), np.zeros(min(folds, len(size)))
    for one in np.argsort(-size, kind="stable"):  # the largest first, each to the emptiest fold
        group[one] = load.argmin()
        load[group[one]] += size[one]
    return np.append(group, -1)[known.number]


def usable_targets(columns: Sequence[Column], folds: NDArray[np.intp]) -> tuple[list[tuple[Column, int]], list[str]]:
    """Targets with twenty cells and twenty others, five of each to choose from in every fold, and what was left out."""
    kept: list[tuple[Column, int]] = []
    few: list[str] = []
    fold_names = np.unique(folds[folds >= 0])
    for column in columns:
        for category in column.asked:
            yes, no = column.members(category), column.known & ~column.members(category)
            rest = min(int((side & (folds >= 0) & (folds != f)).sum()) for side in (yes, no) for f in fold_names)
            scored = min(int((side & (folds >= 0)).sum()) for side in (yes, no))
            if rest >= MIN_CELLS // 2 and scored >= 2 * MIN_CELLS:
                kept.append((column, category))
            else:
                few.append(column.target(category))
    return kept, [f"Not asked for, too few cells to choose on and to score: {', '.join(few)}."] if few else []


def best_features(
    codes: Any,
    targets: Sequence[tuple[Column, int]],
    folds: NDArray[np.intp],
    *,
    scored: Sequence[int] | None = None,
) -> Calls:
    """The single feature and threshold of each target with the largest F1 on the other folds (for the AUROC: largest AUROC).

    All features and targets are compared at once from sorted codes. Cells above the threshold are called, which lies half way
    to the next lower code, and at 0 where there is none. ``scored``: folds to score; None: each in turn.
    """
    rows = sp.csr_array(codes, dtype=np.float32)
    names = np.unique(folds[folds >= 0]) if scored is None else np.asarray(scored)
    n = rows.shape[0]
    called = np.zeros((len(targets), n), dtype=bool)
    scores = np.zeros((len(targets), n), dtype=np.float32)
    features = np.full((len(targets), len(names)), -1, dtype=np.intp)
    thresholds = np.full((len(targets), len(names)), np.nan)
    by_column: dict[str, list[int]] = {}
    for t, (column, _) in enumerate(targets):
        by_column.setdefault(column.name, []).append(t)
    for i, f in enumerate(names):
        choose, held = np.flatnonzero((folds >= 0) & (folds != f)), np.flatnonzero(folds == f)
        part, seen = sp.csc_array(rows[choose]), sp.csc_array(rows[held])
        order = column_order(part.indptr, part.data)
        for wanted in by_column.values():
            column = targets[wanted[0]][0]
            found = category_detectors(part, column.labels(choose), order)
            place = {name: j for j, name in enumerate(found.categories)}
            for t in wanted:
                j = place[column.categories[targets[t][1]]]
                best, ranked = int(found.f1[:, j].argmax()), int(found.auroc[:, j].argmax())
                features[t, i] = best
                thresholds[t, i] = _between(_column(part, best)[column.known[choose]], found.threshold[best, j])
                called[t, held] = _column(seen, best) > thresholds[t, i]
                scores[t, held] = _column(seen, ranked)
    return Calls(called, scores, features, thresholds)


def few_features(
    codes: Any, targets: Sequence[tuple[Column, int]], folds: NDArray[np.intp], ks: Sequence[int], seed: int = 0
) -> dict[int, Calls]:
    """Logistic readouts of k features, those that one after the other explain most of what the ones before leave.

    Features are chosen on the other folds by orthogonal matching pursuit on the standardised codes, among those that go
    with the target most.
    """
    rows, columns = sp.csr_array(codes), sp.csc_array(codes)
    wanted = sorted(k for k in ks if k <= rows.shape[1])
    if not wanted:
        return {}

    def reader(choose: NDArray[np.bool_], member: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
        near = _near(rows[np.flatnonzero(choose)], member[choose])
        values = np.asarray(columns[:, near].toarray(), dtype=np.float64)
        order = _pursuit(values[choose], member[choose], wanted[-1])
        return [_logistic(values[:, order[:k]], choose, member, seed) for k in wanted]

    return dict(zip(wanted, _read(reader, len(wanted), targets, folds), strict=True))


def linear_probe(
    embedding: NDArray[Any], targets: Sequence[tuple[Column, int]], folds: NDArray[np.intp], seed: int = 0
) -> Calls:
    """Logistic readout of the whole embedding: what a linear reader with the truth at hand can do, the ceiling."""
    X = np.asarray(embedding, dtype=np.float64)
    return _read(lambda choose, member: [_logistic(X, choose, member, seed)], 1, targets, folds)[0]


def best_threshold(scores: NDArray[np.floating], member: NDArray[np.bool_]) -> float:
    """Score from which on calling gives the largest F1; half way to the next lower score."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    f1 = 2 * np.cumsum(member[order]) / (np.arange(1, len(order) + 1) + member.sum())
    f1[:-1][ranked[:-1] == ranked[1:]] = -1  # equal scores are called together
    last = int(f1.argmax())
    return float(ranked[last] if last + 1 == len(ranked) else (ranked[last] + ranked[last + 1]) / 2)


def _read(reader: Reader, n: int, targets: Sequence[tuple[Column, int]], folds: NDArray[np.intp]) -> list[Calls]:
    """Calls of the n readouts that a reader gives of cells to choose on and a target."""
    names = np.unique(folds[folds >= 0])
    called = np.zeros((n, len(targets), len(folds)), dtype=bool)
    scores = np.zeros(called.shape, dtype=np.float32)
    thresholds = np.full((n, len(targets), len(names)), np.nan)
    for t, (column, category) in enumerate(targets):
        member = column.members(category)
        for i, f in enumerate(names):
            choose, held = column.known & (folds >= 0) & (folds != f), folds == f
            for j, value in enumerate(reader(choose, member)):
                thresholds[j, t, i] = best_threshold(value[choose], member[choose])
                called[j, t, held], scores[j, t, held] = value[held] >= thresholds[j, t, i], value[held]
    several = np.full(thresholds.shape[1:], -1, dtype=np.intp)
    return [Calls(called[j], scores[j], several, thresholds[j]) for j in range(n)]


def _logistic(
    X: NDArray[np.float64], choose: NDArray[np.bool_], member: NDArray[np.bool_], seed: int
) -> NDArray[np.float64]:
    """Log odds of all cells by a ridge logistic regression on the chosen ones, columns standardised."""
    from sklearn.linear_model import LogisticRegression

    rows = np.flatnonzero(choose)
    if len(rows) > _CELLS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _CELLS, replace=False))
    mean, sd = X[rows].mean(axis=0), X[rows].std(axis=0)
    scaled = (X - mean) / np.where(sd > 0, sd, 1.0)
    solver = "newton-cholesky" if X.shape[1] <= 300 else "lbfgs"
    model = LogisticRegression(C=1.0, solver=solver, max_iter=200).fit(scaled[rows], member[rows])
    return np.asarray(model.decision_function(scaled))


def _near(rows: Any, member: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Features that correlate with a target most, at most 256."""
    if rows.shape[1] <= _CANDIDATES:
        return np.arange(rows.shape[1])
    n = rows.shape[0]
    mean = np.asarray(rows.mean(axis=0)).ravel()
    square = np.asarray(rows.multiply(rows).mean(axis=0)).ravel() - mean**2
    together = np.asarray(rows.T @ member.astype(np.float64)) / n - mean * member.mean()
    r = np.abs(together) / np.sqrt(np.maximum(square, 1e-12))
    return np.sort(np.argpartition(-r, _CANDIDATES)[:_CANDIDATES])


def _pursuit(values: NDArray[np.float64], member: NDArray[np.bool_], k: int) -> NDArray[np.intp]:
    """First k features of an orthogonal matching pursuit of a target."""
    X = values - values.mean(axis=0)
    sd = X.std(axis=0)
    X /= np.where(sd > 1e-9, sd, np.inf)
    y = member - member.mean()
    gram, along = X.T @ X, X.T @ y
    order: list[int] = []
    left = along.copy()
    for _ in range(min(k, X.shape[1])):
        left[order] = 0.0
        order.append(int(np.abs(left).argmax()))
        inner = gram[np.ix_(order, order)] + 1e-6 * len(X) * np.eye(len(order))
        left = along - gram[:, order] @ np.linalg.solve(inner, along[order])
    return np.array(order, dtype=np.intp)


def _between(value: NDArray[np.float32], level: float) -> float:
    """Half way from a level to the next lower code; 0 where the lower cells are all silent: then active is called."""
    below = float(value[value < level].max(initial=0.0))
    return (level + below) / 2 if below > 0 else 0.0


def _column(matrix: sp.csc_array, feature: int) -> NDArray[np.float32]:
    out = np.zeros(matrix.shape[0], dtype=np.float32)
    span = slice(matrix.indptr[feature], matrix.indptr[feature + 1])
    out[matrix.indices[span]] = matrix.data[span]
    return out
