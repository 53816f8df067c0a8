"""Headline shares: how many features carry evidence, observed and under each null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features.evidence import Evidence, Question, test_codes, test_labels
from cellprism.stats.contrast import check_codes
from cellprism.stats.enrichment import set_correlation
from cellprism.stats.fdr import benjamini_hochberg, two_sided_log_p
from cellprism.stats.nulls import matched_directions, permuted_codes, random_sets
from cellprism.stats.overrep import overlap_null

__all__ = ["null_evidence", "share_row", "share_table"]

LABEL_AUROC = 0.9


def share_row(codes: sp.csc_array, found: Evidence, question: Question) -> dict[str, float]:
    """Share of the testable features with each kind of evidence; NaN where it was not asked."""
    level = question.level
    testable = found.contrast.testable
    n = int(testable.sum())
    row = {"testable features": float(n)}
    if n == 0:
        return row
    row[f"features with a gene at q < {level:g}"] = float(
        (np.nanmax(np.abs(found.genes.calibrated[testable]), axis=1) >= found.critical).mean()
    )
    if found.sets is not None:
        rank = benjamini_hochberg(np.exp(two_sided_log_p(found.sets.z)))[testable]
        over = benjamini_hochberg(found.sets.ora)[testable]
        both = benjamini_hochberg(found.sets.combined)[testable]
        row[f"features with a set at q < {level:g}"] = float((both < level).any(axis=(1, 2)).mean())
        row[f"features with a set at q < {level:g}, rank test"] = float((rank < level).any(axis=1).mean())
        row[f"features with a set at q < {level:g}, over-representation"] = float(
            (over < level).any(axis=(1, 2)).mean()
        )
    if question.labels:
        results, qval = test_labels(codes, question.labels)
        auroc = np.concatenate([r.auroc for r in results.values()], axis=1)
        detects = ((auroc > LABEL_AUROC) & (qval < level))[testable]
        row[f"features with a label at AUROC > {LABEL_AUROC:g} and q < {level:g}"] = float(detects.any(axis=1).mean())
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
) -> dict[str, dict[str, float]]:
    """Shares of every null asked for, each on at most ``n_features`` features matched to the observed ones."""
    testable = np.flatnonzero(found.contrast.testable)
    if testable.size == 0:
        return {}
    chosen = np.sort(rng.choice(testable, min(n_features, testable.size), replace=False))
    part = sp.csc_array(codes[:, chosen])
    out: dict[str, dict[str, float]] = {}
    if "random" in nulls and embedding is not None:
        random = matched_directions(embedding, np.diff(part.indptr), rng)
        out["random"] = share_row(random, test_codes(random, question), question)
    if "permuted" in nulls:
        permuted = permuted_codes(part, question.expression.strata, rng)
        out["permuted"] = share_row(permuted, test_codes(permuted, question), question)
    if "random_sets" in nulls and question.sets is not None:
        other = _with_random_sets(question, np.diff(part.indptr), rng)
        row = share_row(part, test_codes(part, other), replace(other, labels={}))
        out["random_sets"] = {claim: share for claim, share in row.items() if "a gene" not in claim}
    for name, raw in extra.items():
        null = check_codes(raw, codes.shape[0])
        if null.shape[1] > n_features:
            null = sp.csc_array(null[:, np.sort(rng.choice(null.shape[1], n_features, replace=False))])
        out[name] = share_row(null, test_codes(null, question), question)
    return out


def _with_random_sets(question: Question, n_active: np.ndarray, rng: np.random.Generator) -> Question:
    sets = question.sets
    if sets is None:
        return question
    mean = question.expression.linear_total[sets.genes]
    drawn = replace(sets, members=random_sets(sets.sizes, sets.members, mean, rng))
    overlap = overlap_null(question.expression, drawn, n_active, rng)
    return replace(question, sets=drawn, correlation=set_correlation(question.expression, drawn), overlap=overlap)
