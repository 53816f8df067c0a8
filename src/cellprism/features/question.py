"""What is asked (genes, sets and labels of any code matrix) of whom (the features of these codes), checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.beyond_memory import rows_of
from cellprism.data.sparse import as_csr
from cellprism.features.inputs import Design, blocks_and_donors, gene_frame, label_frame, split_columns
from cellprism.features.options import EvidenceOptions
from cellprism.genesets.match import check_sets
from cellprism.stats.background import Background, match_background
from cellprism.stats.contrast import check_codes
from cellprism.stats.enrichment import SetCorrelation, set_correlation
from cellprism.stats.expression import ChosenRows, Expression, Rows, prepare_expression
from cellprism.stats.overrep import OverlapNull, overlap_null
from cellprism.stats.pseudobulk import donors_of_strata
from cellprism.stats.setindex import SetIndex, index_sets

__all__ = ["Question", "Study", "ask", "make_study", "prepare_question"]


@dataclass(frozen=True)
class Study:
    """Whom is asked: features by their codes, and what is known of cells and genes."""

    codes: sp.csc_array
    """(cells, features)."""
    genes: pd.DataFrame
    """A row a gene: ``gene``, ``symbol``, ``modality``."""
    labels: pd.DataFrame
    """A row a cell."""
    categorical: dict[str, np.ndarray]
    """Label columns of categories, of all cells."""
    continuous: dict[str, np.ndarray]
    """Label columns of numbers."""
    design: Design
    """Which cells are tested, and which of them are compared with which."""
    strata: np.ndarray | pd.Series | None
    donor: np.ndarray | pd.Series | None
    depth: np.ndarray | None
    embedding: np.ndarray | None
    tested: np.ndarray
    """Numbers of the cells that enter the tests of genes and sets."""
    tested_codes: sp.csc_array
    """(tested cells, features)."""

    @property
    def units(self) -> dict[str, pd.Series]:
        """Strata and donors of the tested cells by what they are called; a column keeps its own name."""
        given = (("strata", self.strata), ("donor", self.donor))
        roles = {role: pd.Series(values).iloc[self.tested] for role, values in given if values is not None}
        return {str(values.name or role): values for role, values in roles.items()}

    @property
    def rows(self) -> np.ndarray | None:
        """The tested cells; None where that is all of them."""
        return None if self.design.kept.all() else self.tested

    def tested_of(self, codes: sp.csc_array) -> sp.csc_array:
        """Codes (cells, features) of the tested cells; no copy where these are all."""
        return codes if self.rows is None else sp.csc_array(codes.tocsr()[self.tested])

    def of_tested(self, values: np.ndarray | None) -> np.ndarray | None:
        """What is known of all cells, of the tested ones."""
        return None if values is None else np.asarray(values) if self.rows is None else np.asarray(values)[self.tested]


def make_study(
    codes: sp.sparray | np.ndarray,
    shape: tuple[int, int],
    genes: Sequence[str],
    symbols: Sequence[str] | None,
    modality: str | Sequence[str],
    labels: pd.DataFrame | Mapping[str, Any] | None,
    label_kinds: Mapping[str, Any] | None,
    strata: np.ndarray | pd.Series | None,
    donor: np.ndarray | pd.Series | str | None,
    depth: np.ndarray | None,
    embedding: np.ndarray | None,
) -> Study:
    """Check what is known of cells and genes; ``shape`` is that of the expression, the rest as in ``annotate``.

    Raises
    ------
    InputError
        For shapes that do not fit, repeated names, bad codes, one stratum.
    """
    checked = check_codes(codes, shape[0])
    frame = gene_frame(genes, symbols, modality, shape[1])
    table = label_frame(labels, shape[0])
    design = blocks_and_donors(strata, depth, donor, shape[0])
    tested = np.flatnonzero(design.kept)
    part = checked if design.kept.all() else sp.csc_array(checked.tocsr()[tested])
    own = None if isinstance(donor, str) else donor
    return Study(
        checked, frame, table, *split_columns(table, label_kinds), design, strata, own, depth, embedding, tested, part
    )


@dataclass(frozen=True)
class Question:
    """What is asked of every code matrix, real or null, prepared once.

    Attributes
    ----------
    expression
        Ranked expression.
    sets, background, correlation, overlap
        Gene sets, bins of genes of like expression, the sets' inter-gene correlation, and their overlaps under
        permuted cells; None without gene sets.
    labels
        Categorical columns.
    options
        How it is tested.
    donor_of
        (strata,) donor of each stratum: genes are then tested over donors. None: over cells.
    """

    expression: Expression
    sets: SetIndex | None
    background: Background | None
    correlation: SetCorrelation | None
    overlap: OverlapNull | None
    labels: dict[str, np.ndarray]
    options: EvidenceOptions
    donor_of: np.ndarray | None = None

    @property
    def level(self) -> float:
        """Q value at which a finding counts."""
        return self.options.level


def ask(
    study: Study,
    expression: sp.sparray | np.ndarray | Rows,
    gene_sets: Mapping[str, Sequence[str]] | None,
    options: EvidenceOptions,
    rng: np.random.Generator,
) -> Question:
    """The question of a study's cells, genes and gene sets.

    Raises
    ------
    InputError
        For bad expression or unmatched gene sets.
    """
    if gene_sets is not None:
        check_sets(gene_sets)
    design = study.design
    kept: sp.sparray | np.ndarray | Rows
    if isinstance(expression, Rows):
        kept = expression if study.rows is None else ChosenRows(expression, design.kept)
    else:
        kept = expression if study.rows is None else rows_of(as_csr(expression), study.tested)
    prepared = prepare_expression(kept, design.blocks)
    donor_of = None if design.donors is None else donors_of_strata(prepared.strata, design.donors, prepared.sizes.size)
    labels = {name: values[study.tested] for name, values in study.categorical.items()}
    return prepare_question(prepared, study.genes["symbol"].tolist(), gene_sets, labels, options, rng, donor_of)


def prepare_question(
    expression: Expression,
    symbols: Sequence[str],
    gene_sets: Mapping[str, Sequence[str]] | None,
    labels: dict[str, np.ndarray],
    options: EvidenceOptions,
    rng: np.random.Generator,
    donor_of: np.ndarray | None = None,
) -> Question:
    """Index the gene sets, measure their correlation and their overlaps under permuted cells."""
    sets = background = correlation = overlap = None
    if gene_sets:
        sets = index_sets(gene_sets, symbols, expression.expressed, options.set_size, options.min_overlap)
        background = match_background(sets, expression.linear_total[sets.genes])
        correlation = set_correlation(expression, sets, rng)
        overlap = overlap_null(expression, sets, rng)
    return Question(expression, sets, background, correlation, overlap, labels, options, donor_of)
