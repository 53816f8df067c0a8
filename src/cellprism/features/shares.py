"""Headline shares: how many features carry evidence, observed and under each null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features.beyond import beyond_random
from cellprism.features.evidence import Evidence, Question, test_codes, test_labels
from cellprism.stats.background import match_background
from cellprism.stats.contrast import check_codes
from cellprism.stats.enrichment import set_correlation
from cellprism.stats.nulls import matched_directions, permuted_codes, random_sets
from cellprism.stats.overrep import overlap_null
from cellprism.stats.simes import feature_qval

__all__ = ["null_evidence", "share_row", "share_table"]

LABEL_AUROC = 0.9
CORRELATION_CELLS = 1_000
"""Most cells on which the correlation of random sets is matched to that of the real ones."""


def share_row(
    codes: sp.csc_array, found: Evidence, question: Question, random: Evidence | None = None
) -> dict[str, float]:
    """Share of the testable features with each kind of evidence, controlled over features; NaN where it was not asked.

    ``random``, the evidence of random directions, adds the share with a set that none of them reaches as strongly.
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
            row[claim + " that no random direction reaches"] = sum(share == 0 for _, _, share in best.values()) / n
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


def null_evidence(
    codes: sp.csc_array,
    found: Evidence,
    question: Question,
    nulls: Sequence[str],
    embedding: np.ndarray | None,
    extra: Mapping[str, sp.sparray | np.ndarray],
    n_features: int,
    rng: np.random.Generator,
) -> tuple[dict[str, dict[str, float]], Evidence | None]:
    """Shares of every null asked for, each on at most ``n_features`` features matched to the observed ones.

    Returns
    -------
    shares
        By null.
    random
        Evidence of the random directions; None where they were not asked for.
    """
    testable = np.flatnonzero(found.contrast.testable)
    if testable.size == 0:
        return {}, None
    chosen = np.sort(rng.choice(testable, min(n_features, testable.size), replace=False))
    part = sp.csc_array(codes[:, chosen])
    out: dict[str, dict[str, float]] = {}
    random: Evidence | None = None
    if "random" in nulls and embedding is not None:
        directions = matched_directions(embedding, np.diff(part.indptr), rng)
        random = test_codes(directions, question)
        out["random"] = share_row(directions, random, question, random)
    if "permuted" in nulls:
        permuted = permuted_codes(part, question.expression.strata, rng)
        out["permuted"] = share_row(permuted, test_codes(permuted, question), question, random)
    if "random_sets" in nulls and question.sets is not None:
        other = _with_random_sets(question, rng)
        row = share_row(part, test_codes(part, other), replace(other, labels={}))
        out["random_sets"] = {claim: share for claim, share in row.items() if "a gene" not in claim}
    for name, raw in extra.items():
        null = check_codes(raw, codes.shape[0])
        if null.shape[1] > n_features:
            null = sp.csc_array(null[:, np.sort(rng.choice(null.shape[1], n_features, replace=False))])
        out[name] = share_row(null, test_codes(null, question), question, random)
    return out, random


def _with_random_sets(question: Question, rng: np.random.Generator) -> Question:
    sets = question.sets
    if sets is None:
        return question
    mean = question.expression.linear_total[sets.genes]
    n_cells = question.expression.n_cells
    cells = np.sort(rng.choice(n_cells, min(n_cells, CORRELATION_CELLS), replace=False))
    ranks = question.expression.standard_ranks(cells, sets.genes)
    ranks -= ranks.mean(axis=1, keepdims=True)
    drawn = replace(sets, members=random_sets(sets.sizes, sets.members, mean, rng, ranks))
    overlap = overlap_null(question.expression, drawn, rng)
    return replace(
        question,
        sets=drawn,
        background=match_background(drawn, mean),
        correlation=set_correlation(question.expression, drawn, rng),
        overlap=overlap,
    )
