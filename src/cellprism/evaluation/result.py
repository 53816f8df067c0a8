"""What an evaluation found, as tables and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from cellprism.evaluation.rivals import RIVALS
from cellprism.numeric import numbers_checked

__all__ = ["COLUMNS", "THIS", "Evaluation", "better_than_all", "empty_table", "headline", "rival_words"]

COLUMNS = ("measure", "target", "dictionary", "k", "value", "low", "high", "ceiling")

THIS = "dictionary"
"""Name of the dictionary in question in the column ``dictionary``."""


@dataclass(frozen=True, repr=False)
class Evaluation:
    """A dictionary beside its rivals.

    Examples
    --------
    >>> found = prism.evaluate(sae, X, {"type": types})
    >>> found.table.columns[:4].tolist()
    ['measure', 'target', 'dictionary', 'k']
    """

    table: pd.DataFrame
    """A row a measure, target, dictionary and k (features, or what else the measure is told at): ``value``, ``low`` and
    ``high`` (95 %; NaN where there is no interval), ``ceiling`` (the linear probe of the embedding; NaN where there is
    none). ``target`` is ``mean`` over targets."""
    differences: pd.DataFrame
    """A row a measure, target (or ``mean``), rival and k: this dictionary less the rival, paired over the same cells,
    with 95 % interval and ``pval``, one-sided, that this dictionary is no better; the mean's is over targets where there are six
    or more, else over cells."""
    features: pd.DataFrame
    """A row a target and fold: the single ``feature`` that was chosen on the other folds, and its ``threshold``."""
    notes: tuple[str, ...]
    """What was not asked for and why; features that read a batch."""
    rivals: tuple[str, ...]
    """Dictionaries beside this one."""

    def __repr__(self) -> str:
        targets = self.table.loc[self.table["target"] != "mean", "target"].nunique()
        return (
            f"Evaluation on {targets:,} targets beside {len(self.rivals)} rivals, {len(self.notes)} notes\n"
            "    .table, .differences, .features, .notes, .summary()"
        )

    @numbers_checked
    def mean(self, measure: str = "probe_f1", k: int = 1) -> pd.Series[Any]:
        """Mean over targets of each dictionary, the highest first."""
        part = self.table.query("measure == @measure and target == 'mean' and k == @k")
        return part.set_index("dictionary")["value"].sort_values(ascending=False)

    def summary(self) -> str:
        """What was found in words, the shortfalls included."""
        lines = headline(self.table, self.differences)
        return "\n".join([*lines, *self.notes])


def empty_table() -> pd.DataFrame:
    """The table without rows."""
    text = {c: pd.Series(dtype=object) for c in COLUMNS[:3]}
    return pd.DataFrame(text | {"k": pd.Series(dtype=int)} | {c: pd.Series(dtype=float) for c in COLUMNS[4:]})


def rival_words(name: str) -> str:
    """A rival in words."""
    return RIVALS[name].words if name in RIVALS else name


def headline(table: pd.DataFrame, differences: pd.DataFrame, *, listed: int = 8) -> list[str]:
    """What one feature reads and no null reaches, and what stands in the way; a line each.

    Parameters
    ----------
    table, differences
        Of an :class:`Evaluation`.
    listed
        Targets named at most.
    """
    f1 = table[(table["measure"] == "probe_f1") & (table["k"] == 1)]
    mine = f1[f1["dictionary"] == THIS].set_index("target")
    if mine.empty:
        return ["No label to be detected was given, so that nothing says what the features are worth; give labels."]
    gaps = differences[(differences["measure"] == "probe_f1") & (differences["k"] == 1)]
    nulls = [r for r in gaps["rival"].unique() if r in RIVALS and RIVALS[r].kind == "null"]
    lines = []
    targets = mine.drop(index="mean")
    if nulls:
        beyond = better_than_all(gaps[gaps["rival"].isin(nulls)])
        best = targets.loc[[t for t in targets.index if t in beyond], "value"].sort_values(ascending=False)
        columns = {str(t).partition(": ")[0] for t in targets.index}
        short = (
            (lambda t: str(t).partition(": ")[2] or str(t)) if len(columns) == 1 else str
        )  # one column needs no name
        named = ", ".join(f"{short(t)} (F1 {v:.2f})" for t, v in best.head(listed).items())
        more = f" and {len(best) - listed} more" if len(best) > listed else ""
        words = ", ".join(rival_words(r) for r in nulls)
        lines.append(
            f"One feature alone tells {len(best)} of {len(targets)} labels from all other cells better than any of {words}"
            + (f": {named}{more}. F1 is 1 where a feature is on in just these cells." if len(best) else ".")
        )
    mean = mine.loc["mean"]
    share = mean["value"] / mean["ceiling"] if mean["ceiling"] > 0 else np.nan
    lines.append(
        f"The best single feature of a label reaches a mean F1 of {mean['value']:.2f} ({mean['low']:.2f} to {mean['high']:.2f}) in cells "
        f"that had no part in choosing it, {share:.2f} of the {mean['ceiling']:.2f} of a linear probe of the whole embedding."
    )
    means = gaps[gaps["target"] == "mean"].set_index("rival")
    above = [r for r in means.index if means.loc[r, "low"] > 0]
    if above:
        lines.append("Above: " + "; ".join(_gap(r, means.loc[r]) for r in above) + ".")
    below = [r for r in means.index if not means.loc[r, "low"] > 0]
    if below:
        lines.append("Not above: " + "; ".join(_gap(r, means.loc[r]) for r in below) + ".")
    return lines


def better_than_all(gaps: pd.DataFrame, *, level: float = 0.05) -> set[str]:
    """Targets on which the dictionary is better than every rival of ``gaps``, at a false discovery rate over targets.

    Better than all asks for the largest p value over rivals (intersection-union test, Berger 1982); these are adjusted over targets
    (Benjamini and Hochberg).
    """
    worst = gaps[gaps["target"] != "mean"].groupby("target", sort=False)["pval"].max().dropna()
    if worst.empty:
        return set()
    return set(worst.index[false_discovery_control(worst.to_numpy()) < level])


def _gap(rival: str, row: Any) -> str:
    return f"{rival_words(rival)} ({row['difference']:+.2f}, {row['low']:+.2f} to {row['high']:+.2f})"
