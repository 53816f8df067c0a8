"""What every dictionary is asked of single cells, and the rows of its answers beside those of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.evaluation.assess import (
    Calls,
    Judged,
    difference,
    in_turn,
    interval,
    judge,
    mean_draws,
    no_better,
    pooled,
)
from cellprism.evaluation.probing import best_features, few_features, linear_probe
from cellprism.evaluation.result import COLUMNS, THIS, empty_table
from cellprism.evaluation.targets import Column

__all__ = ["Rows", "Setting", "probe"]


@dataclass(frozen=True)
class Setting:
    """What every dictionary is asked."""

    targets: list[tuple[Column, int]]
    folds: NDArray[np.intp]
    units: NDArray[np.intp] | None
    members: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @classmethod
    def of(cls, targets: list[tuple[Column, int]], folds: NDArray[np.intp], units: NDArray[np.intp] | None) -> Setting:
        """Of targets (column, category) and the fold and replicate of each cell."""
        shape = (len(targets), len(folds))
        members = np.array([column.members(c) for column, c in targets], dtype=bool).reshape(shape)
        known = np.array([column.known for column, _ in targets], dtype=bool).reshape(shape)
        return cls(targets, folds, units, members, known)

    @property
    def names(self) -> list[str]:
        """Of the targets."""
        return [column.target(category) for column, category in self.targets]

    def judged(self, calls: Calls, seed: int) -> Judged:
        """Calls of one dictionary, scored."""
        return judge(calls, self.members, self.known, self.folds, self.units, np.random.default_rng(seed))


@dataclass
class Rows:
    """The tidy table as it grows."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def add(
        self, measure: str, target: str, dictionary: str, k: int, value: float, low: float, high: float, top: float
    ) -> None:
        """One more row."""
        self.rows.append((measure, target, dictionary, k, value, low, high, top))

    def table(self) -> pd.DataFrame:
        """All rows, in :data:`~cellprism.evaluation.result.COLUMNS`."""
        return pd.DataFrame(self.rows, columns=list(COLUMNS)) if self.rows else empty_table()


def probe(
    setting: Setting,
    found: Mapping[str, sp.csr_array],
    again: Mapping[str, Callable[[], Iterable[sp.csr_array]]],
    X: NDArray[np.float32],
    out: Rows,
    ks: Sequence[int],
    seed: int,
) -> tuple[Calls | None, pd.DataFrame]:
    """Probing rows of all dictionaries; calls of single features of this one, and paired differences to the others.

    Parameters
    ----------
    found
        Codes by dictionary, this one first.
    again
        Further draws of those that are drawn at random, made one after the other: single features are theirs in the mean.
    """
    columns = ["measure", "target", "rival", "k", "difference", "low", "high", "pval", "targets"]
    if not setting.targets:
        return None, pd.DataFrame({c: [] for c in columns})
    top = setting.judged(linear_probe(X, setting.targets, setting.folds, seed), seed)
    records: list[tuple[Any, ...]] = []
    mine: dict[int, tuple[Calls, Judged]] = {}
    for name, codes in found.items():
        read: dict[int, list[Calls]] = {}
        if 1 in ks:
            draws = chain([codes], again[name]() if name in again else ())
            read[1] = [best_features(one, setting.targets, setting.folds) for one in draws]
        few = few_features(codes, setting.targets, setting.folds, [k for k in ks if k > 1], seed)
        for k, calls in (read | {k: [calls] for k, calls in few.items()}).items():
            judged = [setting.judged(one, seed) for one in calls]
            _probe_rows(setting.names, name, k, pooled(judged), top, out, seed)
            if name == THIS:
                mine[k] = calls[0], judged[0]
            elif k in mine:
                records += _paired(setting, mine[k], list(zip(calls, judged, strict=True)), name, k, seed)
    return mine.get(1, (None,))[0], pd.DataFrame(records, columns=columns)


def _probe_rows(
    names: Sequence[str], dictionary: str, k: int, judged: Judged, top: Judged, out: Rows, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    for measure, values in judged.value.items():
        draws, best = judged.draws[measure], top.value[measure]
        for t, name in enumerate(names):
            out.add(f"probe_{measure}", name, dictionary, k, values[t], *interval(draws[:, t]), best[t])
        low, high = interval(mean_draws(values, draws, rng))
        out.add(
            f"probe_{measure}", "mean", dictionary, k, float(np.nanmean(values)), low, high, float(np.nanmean(best))
        )


def _paired(
    setting: Setting, mine: tuple[Calls, Judged], others: list[tuple[Calls, Judged]], name: str, k: int, seed: int
) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(seed)
    rows: list[tuple[Any, ...]] = []
    gaps = [
        difference(mine, one, setting.members, setting.known, setting.folds, setting.units, np.random.default_rng(seed))
        for one in others
    ]
    for measure in gaps[0]:
        values = np.mean([gap[measure][0] for gap in gaps], axis=0)
        draws = in_turn([gap[measure][1] for gap in gaps])
        for t, target in enumerate(setting.names):
            rows.append(
                (f"probe_{measure}", target, name, k, values[t], *interval(draws[:, t]), no_better(draws[:, t]), 1)
            )
        of_mean = mean_draws(values, draws, rng)
        mean = float(np.nanmean(values))
        rows.append((f"probe_{measure}", "mean", name, k, mean, *interval(of_mean), no_better(of_mean), len(values)))
    return rows
