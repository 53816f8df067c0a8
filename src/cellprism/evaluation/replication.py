"""Replication: dictionaries of cells that share nothing, from starts that share nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from cellprism.data.missing import groups
from cellprism.evaluation.assess import DRAWS, interval, no_better
from cellprism.evaluation.probing import make_folds
from cellprism.evaluation.result import THIS
from cellprism.evaluation.rivals import RIVALS, fit_rival
from cellprism.evaluation.targets import Column
from cellprism.features.matching import match
from cellprism.numeric import seed_after
from cellprism.sae.controls import untrained
from cellprism.sae.front import fit
from cellprism.sae.model import SAE
from cellprism.stats.labels import category_detectors
from cellprism.stats.nulls import covariance_directions

__all__ = ["replication"]

SetNames = Callable[[sp.csr_array, NDArray[np.intp]], set[str]]
"""Codes and the cells that they are of -> best gene sets of the features."""

_NAMED = 0.5  # F1 from which on a feature carries a label
_OTHER_START = 1_000_003


def replication(
    sae: SAE,
    X: NDArray[np.float32],
    columns: Sequence[Column],
    replicate: ArrayLike | None,
    add: Callable[..., None],
    seed: int = 0,
    *,
    sets: SetNames | None = None,
    **training: Any,
) -> list[tuple[Any, ...]]:
    """Rows ``replication_…`` of two dictionaries with the config of ``sae``, fitted to disjoint cells from other starts.

    The cells are split in three: groups of whole replicates where there are three or more, else 40, 40 and 20 % at random. One
    part fits each dictionary and the third, seen by neither, compares them.

    ``replication_correlation``: mean over live features of the correlation of codes with the one-to-one partner; of rivals
    that need no training too, and of ``permuted`` cells. ``replication_cosine``: mean cosine of decoder directions matched
    one to one for the largest sum; of ``start`` the same before training, since what starts alike ends alike.
    ``replication_labels``: labels that some feature carries (F1 of 0.5 or more in its own part) in both, as a share of the
    mean number in one; a label counts once. ``replication_sets``: the same of the best gene sets of features, as ``sets`` gives
    them of codes and the cells that they are of.

    Intervals are of other features, or other names: those found are resampled. They hold for these two dictionaries; a third
    pair of halves would differ by more.

    Returns
    -------
    list
        Differences in correlation and cosine to each dictionary beside, whose features are others and resampled on their own: records of
        :attr:`~cellprism.evaluation.result.Evaluation.differences`.
    """
    first, second, third = _thirds(len(X), replicate, seed)
    parts = [X[first], X[second]]
    starts = [seed, seed_after(seed, _OTHER_START)]
    twins = [fit(part, sae.config, seed=s, **training).sae for part, s in zip(parts, starts, strict=True)]
    rng, again = np.random.default_rng(seed), np.random.default_rng(seed)

    found: dict[tuple[str, str], NDArray[np.float64]] = {}

    def row(measure: str, name: str, values: NDArray[np.float64]) -> None:
        if len(values):
            found[measure, name] = values
            low, high = interval(_means(values, again))
            add(f"replication_{measure}", "all features", name, 0, float(values.mean()), low, high, np.nan)

    codes = [twin.encode(X[third]) for twin in twins]
    row("correlation", THIS, _returned(*codes))
    row("correlation", "permuted", _returned(codes[0], codes[1][rng.permutation(len(third))]))
    for name, rival in RIVALS.items():
        if rival.cost == "cheap" and rival.of == "embedding":
            pair = [
                fit_rival(name, part, sae.width, active=codes[0].nnz / len(third), seed=s).encode(X[third])
                for part, s in zip(parts, starts, strict=True)
            ]
            row("correlation", name, _returned(*pair))
    row("cosine", THIS, _matched_cosine(*(twin.decoder_directions() for twin in twins)))
    if sae.config.init == "geometry":  # read off the cells, from no start: random directions stand for one
        start = [covariance_directions(part - part.mean(axis=0), sae.width, rng).T for part in parts]
    else:
        start = [
            untrained(part, sae.config, seed=s).decoder_directions() for part, s in zip(parts, starts, strict=True)
        ]
    row("cosine", "start", _matched_cosine(*start))
    own = [(twin.encode(X[rows]), rows) for twin, rows in zip(twins, (first, second), strict=True)]
    for measure, names in (
        ("labels", [_carried(codes, columns, rows) for codes, rows in own]),
        ("sets", [sets(codes, rows) for codes, rows in own] if sets is not None else []),
    ):
        shared = _shared(names)
        if len(shared):
            share = _share(shared)
            low, high = interval(_share(again.choice(shared, (DRAWS, len(shared)))))
            add(f"replication_{measure}", "all features", THIS, 0, float(share), low, high, np.nan)
    return [
        (f"replication_{measure}", "all features", name, 0, *_gap(found[measure, THIS], values, again))
        for (measure, name), values in found.items()
        if name != THIS and (measure, THIS) in found
    ]


def _means(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """(draws,) means over resampled features."""
    return np.asarray(rng.choice(values, (DRAWS, len(values))).mean(axis=1))


def _gap(
    mine: NDArray[np.float64], other: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float, float, float, int]:
    """Difference of two means over features that are not paired, its interval, p value, and how many features."""
    draws = _means(mine, rng) - _means(other, rng)
    return float(mine.mean() - other.mean()), *interval(draws), no_better(draws), len(mine)


def _shared(names: Sequence[set[str]]) -> NDArray[np.int64]:
    """For each name that either has, in how many it is."""
    every = sorted(set().union(*names))
    return np.array([sum(name in one for one in names) for name in every], dtype=np.int64)


def _share(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Names in both, as a share of the mean number in one."""
    return np.asarray(2 * (counts == 2).sum(axis=-1) / counts.sum(axis=-1))


def _thirds(n: int, replicate: ArrayLike | None, seed: int) -> tuple[NDArray[np.intp], ...]:
    if replicate is not None and groups(replicate).names.size >= 3:
        group = make_folds(n, replicate, seed, folds=3)
    else:
        place = np.random.default_rng(seed).permutation(n) / n
        group = np.searchsorted([0.4, 0.8], place, side="right")
    return tuple(np.flatnonzero(group == g) for g in range(3))


def _returned(codes: sp.csr_array, others: sp.csr_array) -> NDArray[np.float64]:
    """Correlation of each live feature with its one-to-one partner."""
    found = np.asarray(match(codes, others).partner_correlation, dtype=np.float64)
    live = found[np.isfinite(found)]
    return live if len(live) else np.zeros(1)  # where none is alive nothing returns


def _matched_cosine(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Cosine of each feature with its one-to-one partner."""
    one, other = (d / np.linalg.norm(d, axis=1, keepdims=True).clip(1e-12) for d in (a, b))
    cosine = one @ other.T
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    return np.asarray(cosine[rows, columns], dtype=np.float64)


def _carried(codes: sp.csr_array, columns: Sequence[Column], rows: NDArray[np.intp]) -> set[str]:
    """Targets that some feature carries; each feature carries the one that it detects best."""
    best, names = [], []
    for column in columns:
        found = category_detectors(sp.csc_array(codes), column.labels(rows))
        asked = [j for j, c in enumerate(found.categories) if column.categories.index(c) in column.asked]
        best.append(found.f1[:, asked])
        names += [f"{column.name}: {found.categories[j]}" for j in asked]
    if not names:
        return set()
    f1 = np.concatenate(best, axis=1)
    return {names[i] for i in f1.argmax(axis=1)[f1.max(axis=1) >= _NAMED]}
