"""All tests of one code matrix, real or null: genes, gene sets, label detection."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy import special

from cellprism.features.question import Question
from cellprism.features.spread import SetRows, SetTests, spread_genes, spread_sets
from cellprism.stats.contrast import Contrast, active_contrast, paper_contrast
from cellprism.stats.fdr import Family, benjamini_hochberg
from cellprism.stats.genes import GeneResult, empty_statistics, rank_sum, welch
from cellprism.stats.labels import LabelResult, category_detectors
from cellprism.stats.overrep import LIST_LENGTHS
from cellprism.stats.parallel import nan_array
from cellprism.stats.pseudobulk import paired_pseudobulk
from cellprism.stats.units import MIN_DONORS

__all__ = ["Evidence", "SetEvidence", "test_codes", "test_labels"]


@dataclass(frozen=True)
class SetEvidence:
    """Gene-set tests of all features; arrays (features, sets) or (features, 2 directions, sets), NaN where untested."""

    z: np.ndarray
    effect: np.ndarray
    ora: np.ndarray
    """Natural log of the over-representation p value; float32."""
    hits: np.ndarray
    combined: np.ndarray
    """Natural log of one p value a direction from both tests: twice the smaller, at most 1; float32."""

    @cached_property
    def both(self) -> Family:
        """All tests of ``combined``."""
        return Family(self.combined, "log p")

    @property
    def rank(self) -> Family:
        """All tests of ``z``; made anew when asked for, as it is as large as they are."""
        return Family(self.z.astype(np.float32, copy=False), "z")

    @property
    def over(self) -> Family:
        """All tests of ``ora``, as above."""
        return Family(self.ora, "log p")


@dataclass(frozen=True)
class Evidence:
    """What the tests found for one code matrix."""

    contrast: Contrast
    genes: GeneResult
    family: Family
    """All features and genes."""
    critical: float
    """Calibrated |z| at which a gene passes the level within the family of all features and genes."""
    sets: SetEvidence | None


def make_contrast(codes: sp.csc_array, question: Question) -> Contrast:
    """The contrast that the method asks for."""
    make = paper_contrast if question.options.method == "paper" else active_contrast
    return make(codes, question.expression.strata, question.expression.sizes, question.options.min_cells)


def test_codes(codes: sp.csc_array, question: Question) -> Evidence:
    """Test every gene and set for every feature of one code matrix."""
    contrast = make_contrast(codes, question)
    if question.donor_of is not None:
        genes, n_donors = spread_genes(
            paired_pseudobulk,
            question.expression,
            contrast,
            question.donor_of,
            pseudocount=question.options.pseudocount,
        )
        short = contrast.testable & (n_donors < MIN_DONORS)
        reason = contrast.reason.copy()
        reason[short] = [f"both sides in {n} donors, fewer than {MIN_DONORS}" for n in n_donors[short]]
        contrast = replace(contrast, reason=reason)
    else:
        gene_test = rank_sum if question.options.method == "ranksum" else welch
        genes, _ = spread_genes(gene_test, question.expression, contrast, pseudocount=question.options.pseudocount)
    family = Family(genes.calibrated, "z")
    critical = family.critical(question.level)
    return Evidence(contrast, genes, family, critical, _test_sets(genes, critical, contrast, question))


def _test_sets(genes: GeneResult, critical: float, contrast: Contrast, question: Question) -> SetEvidence | None:
    sets, background = question.sets, question.background
    correlation, overlap = question.correlation, question.overlap
    if sets is None or background is None or correlation is None or overlap is None:
        return None
    n, s = contrast.n_features, sets.names.size
    found = SetEvidence(
        empty_statistics(n, s),
        nan_array((n, s), np.float32),
        nan_array((n, 2, s), np.float32),
        np.zeros((n, 2, s), dtype=np.uint8 if LIST_LENGTHS[-1] < 256 else np.int16),
        nan_array((n, 2, s), np.float32),
    )
    testable = np.flatnonzero(contrast.testable)

    def write(rows: np.ndarray, part: SetRows) -> None:
        for name in SetRows._fields:
            getattr(found, name)[rows] = getattr(part, name)

    known = SetTests(sets, background, correlation, overlap, critical)
    spread_sets(known, genes.calibrated, testable, write)
    return found


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
