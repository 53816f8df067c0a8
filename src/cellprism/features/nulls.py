"""The same evidence of what carries nothing: random directions, permuted cells, random sets, other dictionaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from cellprism.features.evidence import Evidence, test_codes
from cellprism.features.options import NullOptions
from cellprism.features.question import Question, Study
from cellprism.stats.background import match_background
from cellprism.stats.enrichment import set_correlation
from cellprism.stats.nulls import matched_directions, permuted_codes, random_sets
from cellprism.stats.overrep import overlap_null

__all__ = ["Null", "null_evidence"]

CORRELATION_CELLS = 1_000
"""Most cells on which the correlation of random sets is matched to that of the real ones."""


@dataclass(frozen=True)
class Null:
    """What the tests find where there is nothing to find."""

    name: str
    codes: sp.csc_array
    question: Question
    evidence: Evidence
    directions: bool = False
    """Whether these are random directions of the embedding, which the others are held against too."""
    own_genes: bool = False
    """Whether codes and genes are the features' own, so that only the sets are null."""


def null_evidence(
    study: Study,
    found: Evidence,
    question: Question,
    options: NullOptions,
    extra: Mapping[str, sp.csc_array],
    rng: np.random.Generator,
) -> Iterator[Null]:
    """Every null asked for, random directions first, each when it is its turn: their arrays are large.

    Parameters
    ----------
    study, found, question
        The features, and what the tests found for them; each null has at most ``options.null_features`` features, matched to
        these.
    extra
        Name -> codes (tested cells, features) of further null dictionaries.
    """
    testable = np.flatnonzero(found.contrast.testable)
    if testable.size == 0:
        return
    n = options.null_features
    chosen = np.sort(rng.choice(testable, min(n, testable.size), replace=False))
    every = chosen.size == study.tested_codes.shape[1]  # then no copy is made
    part = sp.csc_array(study.tested_codes if every else study.tested_codes[:, chosen])
    if "random" in options.nulls and study.embedding is not None:
        directions = matched_directions(study.embedding, np.diff(part.indptr), rng, study.rows)
        yield Null("random", directions, question, test_codes(directions, question), directions=True)
    if "permuted" in options.nulls:
        permuted = permuted_codes(part, question.expression.strata, rng)
        yield Null("permuted", permuted, question, test_codes(permuted, question))
    if "random_sets" in options.nulls and question.sets is not None:
        other = _with_random_sets(question, rng)
        yield Null("random_sets", part, replace(other, labels={}), test_codes(part, other), own_genes=True)
    for name, null in extra.items():
        if null.shape[1] > n:
            null = sp.csc_array(null[:, np.sort(rng.choice(null.shape[1], n, replace=False))])
        yield Null(name, null, question, test_codes(null, question))


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
