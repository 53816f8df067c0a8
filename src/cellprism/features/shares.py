"""Headline shares: how many features carry evidence, observed and under each null."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features.beyond import RARE, beyond_random
from cellprism.features.evidence import Evidence, test_labels
from cellprism.features.nulls import Null
from cellprism.features.question import Question
from cellprism.stats.simes import feature_qval

__all__ = ["share_row", "share_table", "shares_beside_nulls"]

LABEL_AUROC = 0.9


def shares_beside_nulls(
    codes: sp.csc_array, found: Evidence, question: Question, nulls: Iterable[Null]
) -> tuple[pd.DataFrame, Evidence | None]:
    """The table of shares, and the evidence of random directions where these are among the nulls."""
    columns: dict[str, dict[str, float]] = {}
    random: Evidence | None = None
    for null in nulls:
        random = null.evidence if null.directions else random
        row = share_row(null.codes, null.evidence, null.question, None if null.own_genes else random)
        if null.own_genes:
            row = {claim: share for claim, share in row.items() if "a gene" not in claim}
        columns[null.name] = row
        del null  # before the next one is made
    return share_table({"observed": share_row(codes, found, question, random)} | columns), random


def share_row(
    codes: sp.csc_array, found: Evidence, question: Question, random: Evidence | None = None
) -> dict[str, float]:
    """Share of the testable features with each kind of evidence, controlled over features; NaN where it was not asked.

    ``random``, the evidence of random directions, adds the share with a set that hardly any of them reaches as strongly.
    """
    level = question.level
    testable = found.contrast.testable
    n = int(testable.sum())
    row = {"testable features": float(n)}
    if n == 0:
        return row

    def share(values: np.ndarray, kind: Literal["z", "log p"]) -> float:
        return float((feature_qval(values, kind, testable) < level).sum() / n)

    row[f"features with a gene at q < {level:g}"] = share(found.genes.calibrated, "z")
    if found.sets is not None:
        claim = f"features with a set at q < {level:g}"
        row[claim] = share(found.sets.combined, "log p")
        row[claim + ", rank test"] = share(found.sets.z, "z")
        row[claim + ", over-representation"] = share(found.sets.ora, "log p")
        if random is not None and random.sets is not None:
            best = beyond_random(found.sets, random.sets, level, themselves=found is random)
            rare = sum(share < RARE for _, _, share in best.values())
            row[claim + f" that fewer than {RARE:.0%} of random directions reach"] = rare / n
    if question.labels:
        results, _ = test_labels(codes, question.labels)
        auroc = np.concatenate([r.auroc for r in results.values()], axis=1)
        z = np.concatenate([r.z for r in results.values()], axis=1)
        clear = np.where(auroc > LABEL_AUROC, z, 0.0)  # other categories count as items without evidence
        row[f"features with a label at AUROC > {LABEL_AUROC:g} and q < {level:g}"] = share(clear, "z")
    return row


def share_table(columns: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """One row a claim, ``observed`` first, then one column a null."""
    table = pd.DataFrame({name: pd.Series(row, dtype=float) for name, row in columns.items()})
    claims = list(columns["observed"])
    table = table.reindex(claims + [c for c in table.index if c not in claims])
    return table.rename_axis("claim").reset_index()
