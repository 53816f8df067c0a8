"""The two tables that scores of methods are kept in, for all that writes or draws them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["ScoreTables"]


@dataclass(frozen=True, repr=False)
class ScoreTables:
    """Scores of several methods on the same cells."""

    recovery: pd.DataFrame
    """A row a method, seed and variable: the columns of :attr:`~cellprism.recovery.scores.Scores.variables` but the
    feature numbers."""
    summary: pd.DataFrame
    """A row a method, seed and level: the columns of :attr:`~cellprism.recovery.scores.Scores.levels`, and ``n_live``,
    ``l0``, ``redundant``, ``seconds`` of the method."""
    about: dict[str, Any] = field(default_factory=dict)
    """Preset, seeds, options, versions and timings."""

    def __repr__(self) -> str:
        methods = self.summary["method"].nunique()
        return f"Benchmark of {methods} methods, {len(self.recovery):,} scores\n    .recovery, .summary, .about"
