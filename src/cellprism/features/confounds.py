"""Technical covariates that features read: their marks, and the columns that never name a feature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.missing import groups
from cellprism.features.core import label_location, lift
from cellprism.features.evidence import test_labels
from cellprism.features.question import Question
from cellprism.features.readings import LABEL_LIFT
from cellprism.stats.enrichment import two_sided
from cellprism.stats.fdr import benjamini_hochberg
from cellprism.stats.labels import code_ranks, spearman

__all__ = ["CONFOUND_SHARE", "confound_marks", "nuisance_labels"]

CONFOUND_SHARE = 0.7
"""A feature carries a covariate's mark when |rho| reaches this share of the largest rho its zeros allow."""
_DETECTED = "detected genes"
_NORM = "norm of the embedding"


def nuisance_labels(
    labels: Mapping[str, np.ndarray], confounds: Sequence[str] | None, units: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Categorical columns that never name a feature: those called technical, and strata and donors.

    Parameters
    ----------
    labels
        Categorical columns of the tested cells.
    confounds
        Names of technical columns.
    units
        Strata and donors of the same cells by what they are called, None where there are none. A label column with the
        same groups is the same thing and keeps its own name.
    """
    out = {name: labels[name] for name in confounds or () if name in labels}
    for called, values in units.items():
        if values is None:
            continue
        number = groups(values).number
        same = [name for name, column in labels.items() if _same_groups(groups(column).number, number)]
        out |= {name: labels[name] for name in same} if same else {called: groups(values).text()}
    return out


def _same_groups(one: np.ndarray, other: np.ndarray) -> bool:
    pairs = np.unique(np.stack([one, other]), axis=1).shape[1]
    return bool(pairs == np.unique(one).size == np.unique(other).size)


def confound_marks(
    codes: sp.csc_array,
    core: sp.csc_array,
    question: Question,
    columns: pd.DataFrame,
    nuisance: Mapping[str, np.ndarray],
    confounds: Sequence[str] | None,
    depth: np.ndarray | None,
    norms: np.ndarray | None,
) -> np.ndarray:
    """The technical covariate that a feature mostly reads, or ""; features of too few cells to be tested carry none.

    A category is marked at the bar at which a label would name the feature: its share of the core cells goes half of the
    way from its prevalence to 1. The norm of the embedding counts for features that are active in a fifth of all cells
    or more and read no label, as rare or distinct cells may well lie far out.
    """
    active = np.diff(codes.indptr)
    few = question.options.min_cells
    enough = (active >= few) & (active <= codes.shape[0] - few)
    mark = np.full(codes.shape[1], "", dtype=object)
    best = np.full(codes.shape[1], CONFOUND_SHARE)
    numeric: dict[str, np.ndarray] = {_DETECTED: np.diff(question.expression.log.indptr).astype(np.float64)}
    if depth is not None:
        numeric["depth"] = np.asarray(depth, dtype=np.float64)
    wanted = confounds if confounds is not None else [c for c in columns.columns if c not in question.labels]
    for name in wanted:
        if name not in question.labels and name in columns:
            numeric[name] = columns[name].to_numpy(dtype=np.float64, na_value=np.nan)
    if norms is not None:  # last: it stands for whatever makes cells lie far out
        numeric[_NORM] = norms
    of_a_label = np.zeros(codes.shape[1], dtype=bool)
    for name, categories in question.labels.items():
        if name not in nuisance:
            where = label_location(codes, core, categories)
            of_a_label |= (lift(where.core_precision, where.prevalence[None, :]) >= LABEL_LIFT).any(axis=1)
    ranks = code_ranks(codes)
    for name, values in numeric.items():
        rho, attainable, z = spearman(codes, values, ranks)
        share = np.abs(rho) / np.where(attainable > 0, attainable, 1.0)
        passes = benjamini_hochberg(np.where(enough, two_sided(z), np.nan)) < question.level
        if name == _NORM:
            passes &= (active >= codes.shape[0] / 5) & (mark == "") & ~of_a_label
        better = (share >= best) & passes
        for f in np.flatnonzero(better):
            mark[f] = f"{'+' if rho[f] > 0 else '-'}{name}"
        best = np.where(better, share, best)
    del ranks
    results, qval = test_labels(codes, dict(nuisance))
    start = 0
    for name, result in results.items():
        where = label_location(codes, core, nuisance[name])
        usable = np.isin(where.categories, result.categories)
        far = lift(where.core_precision[:, usable], where.prevalence[usable][None, :])
        reads = (far >= LABEL_LIFT) & (result.auroc > 0.5) & (qval[:, start : start + usable.sum()] < question.level)
        start += result.categories.size
        for f in np.flatnonzero(reads.any(axis=1) & enough & (mark == "")):
            mark[f] = f"{name} {result.categories[int(np.argmax(np.where(reads[f], far[f], -1.0)))]}"
    return mark
