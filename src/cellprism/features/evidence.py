"""All tests of one code matrix, real or null: genes, gene sets, label detection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy import special

from cellprism.stats.contrast import Contrast, active_contrast, paper_contrast
from cellprism.stats.enrichment import SetCorrelation, feature_correlation, rank_enrichment
from cellprism.stats.expression import Expression
from cellprism.stats.fdr import benjamini_hochberg, critical_z
from cellprism.stats.genes import GeneResult, rank_sum, welch
from cellprism.stats.labels import LabelResult, category_detectors
from cellprism.stats.overrep import OverlapNull, OverrepResult, over_representation
from cellprism.stats.setindex import SetIndex

__all__ = ["Evidence", "Question", "SetEvidence", "test_codes", "test_labels"]

_SET_CHUNK = 2_000


@dataclass(frozen=True)
class Question:
    """What is asked of every code matrix, prepared once.

    Attributes
    ----------
    expression
        Ranked expression.
    sets, correlation, overlap
        Gene sets, their inter-gene correlation, and their overlaps under permuted cells; None without gene sets.
    labels
        Categorical columns.
    method
        "ranksum", "welch" or "paper".
    level
        q value at which a finding counts.
    min_cells, pseudocount
        As in :func:`cellprism.features.annotate`.
    """

    expression: Expression
    sets: SetIndex | None
    correlation: SetCorrelation | None
    overlap: OverlapNull | None
    labels: dict[str, np.ndarray]
    method: str
    level: float
    min_cells: int
    pseudocount: float


@dataclass(frozen=True)
class SetEvidence:
    """Gene-set tests of all features; arrays (features, sets) or (features, 2 directions, sets)."""

    z: np.ndarray
    effect: np.ndarray
    ora: np.ndarray
    hits: np.ndarray
    combined: np.ndarray
    """One p value a direction from both tests: twice the smaller, at most 1."""


@dataclass(frozen=True)
class Evidence:
    """What the tests found for one code matrix."""

    contrast: Contrast
    genes: GeneResult
    critical: float
    """Calibrated |z| at which a gene passes the level within the family of all features and genes."""
    sets: SetEvidence | None


def make_contrast(codes: sp.csc_array, question: Question) -> Contrast:
    """The contrast that the method asks for."""
    make = paper_contrast if question.method == "paper" else active_contrast
    return make(codes, question.expression.strata, question.expression.sizes, question.min_cells)


def test_codes(codes: sp.csc_array, question: Question) -> Evidence:
    """Test every gene and set for every feature of one code matrix."""
    contrast = make_contrast(codes, question)
    gene_test = rank_sum if question.method == "ranksum" else welch
    genes = gene_test(question.expression, contrast, pseudocount=question.pseudocount)
    critical = critical_z(genes.calibrated, question.level)
    return Evidence(contrast, genes, critical, _test_sets(genes, critical, contrast, question))


def _test_sets(genes: GeneResult, critical: float, contrast: Contrast, question: Question) -> SetEvidence | None:
    sets, correlation, overlap = question.sets, question.correlation, question.overlap
    if sets is None or correlation is None or overlap is None:
        return None
    n, s = contrast.n_features, sets.names.size
    out = SetEvidence(
        np.full((n, s), np.nan),
        np.full((n, s), np.nan),
        np.full((n, 2, s), np.nan),
        np.zeros((n, 2, s), dtype=np.int16),
        np.full((n, 2, s), np.nan),
    )
    testable = np.flatnonzero(contrast.testable)
    for start in range(0, testable.size, _SET_CHUNK):
        rows = testable[start : start + _SET_CHUNK]
        z = genes.calibrated[rows][:, sets.genes]
        ranked = rank_enrichment(z, feature_correlation(z, correlation, sets), sets)
        passing = np.stack([(z >= critical).sum(axis=1), (z <= -critical).sum(axis=1)], axis=1)
        counts = contrast.positive[rows].sum(axis=1)
        over: OverrepResult = over_representation(z, passing, counts, overlap, sets)
        out.z[rows], out.effect[rows] = ranked.z, ranked.effect
        out.ora[rows], out.hits[rows] = over.pval, over.hits
        one_sided = np.stack([special.ndtr(-ranked.z), special.ndtr(ranked.z)], axis=1)
        out.combined[rows] = np.minimum(2.0 * np.minimum(one_sided, over.pval), 1.0)
    return out


def test_labels(codes: sp.csc_array, labels: dict[str, np.ndarray]) -> tuple[dict[str, LabelResult], np.ndarray]:
    """Detection of every category of every column, and q values over features, columns and categories.

    Returns
    -------
    results
        By column name.
    qval
        (features, categories of all columns in order).
    """
    results = {name: category_detectors(codes, values) for name, values in labels.items()}
    if not results:
        return {}, np.empty((codes.shape[1], 0))
    z = np.concatenate([r.z for r in results.values()], axis=1)
    live = np.diff(codes.indptr) > 0
    pval = np.where(live[:, None], 2.0 * special.ndtr(-np.abs(z)), np.nan)
    return results, benjamini_hochberg(pval)


def split_columns(labels: pd.DataFrame) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Categorical and continuous columns; numbers with more than 30 distinct values are continuous."""
    categorical: dict[str, np.ndarray] = {}
    continuous: dict[str, np.ndarray] = {}
    for name in labels.columns:
        column = labels[name]
        number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        if number and (pd.api.types.is_float_dtype(column) or column.nunique() > 30):
            continuous[str(name)] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            categorical[str(name)] = column.to_numpy(dtype=object)
    return categorical, continuous
