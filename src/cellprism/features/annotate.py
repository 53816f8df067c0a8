"""Annotation of features: every test, every null, and the tables they fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.order import refuse_other_genes, refuse_other_order
from cellprism.errors import CellsLeftOut, warn
from cellprism.features.evidence import Evidence, test_codes
from cellprism.features.feature_table import Known, feature_table
from cellprism.features.label_table import label_table
from cellprism.features.nulls import null_evidence
from cellprism.features.options import EvidenceOptions, Keep, Method, NameOptions, NullOptions, TableOptions
from cellprism.features.question import Question, Study, ask, make_study
from cellprism.features.regulators import regulator_table, top_regulators
from cellprism.features.shares import shares_beside_nulls
from cellprism.features.tables import gene_table, marked, set_table
from cellprism.features.tissue import set_kinds
from cellprism.numeric import numbers_checked
from cellprism.options import chosen, documented
from cellprism.stats.association import activation_association
from cellprism.stats.contrast import check_codes
from cellprism.stats.expression import Rows

__all__ = ["Annotation", "annotate"]


@dataclass(frozen=True, repr=False)
class Annotation:
    """Tables of an annotation; columns as in ``docs/architecture.md``.

    Attributes
    ----------
    features
        A row a live feature.
    genes, sets, labels
        Findings: a row a (feature, gene), (feature, set, direction), (feature, column, value).
    shares
        A row a headline share: ``claim``, ``observed``, and one column a null.
    untestable
        Features without tests and the reason, dead ones included: ``feature``, ``reason``.
    info
        Method, families, thresholds and sizes, ready for JSON.
    regulators
        A row a (feature, network, source); empty without networks.

    Examples
    --------
    >>> annotation.features.columns[:2].tolist()
    ['feature', 'name']
    >>> annotation.shares.columns[0]
    'claim'
    """

    features: pd.DataFrame
    genes: pd.DataFrame
    sets: pd.DataFrame
    labels: pd.DataFrame
    shares: pd.DataFrame
    untestable: pd.DataFrame
    info: dict[str, Any]
    regulators: pd.DataFrame

    def __repr__(self) -> str:
        found = f"{len(self.genes):,} genes, {len(self.sets):,} sets, {len(self.labels):,} labels"
        return (
            f"Annotation of {len(self.features):,} live features, {len(self.untestable):,} without tests\n"
            f"    findings: {found}; .features, .genes, .sets, .labels, .shares"
        )


@numbers_checked
@documented(EvidenceOptions, NullOptions, TableOptions, NameOptions)
def annotate(
    codes: sp.sparray | np.ndarray,
    expression: sp.sparray | np.ndarray | Rows,
    genes: Sequence[str],
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    labels: pd.DataFrame | Mapping[str, Any] | None = None,
    strata: np.ndarray | pd.Series | None = None,
    *,
    symbols: Sequence[str] | None = None,
    embedding: np.ndarray | None = None,
    nulls: Sequence[str] | NullOptions = NullOptions.nulls,
    keep: Keep = TableOptions.keep,
    method: Method = EvidenceOptions.method,
    depth: np.ndarray | None = None,
    donor: np.ndarray | pd.Series | str | None = "strata",
    modality: str | Sequence[str] = "rna",
    extra_nulls: Mapping[str, sp.sparray | np.ndarray] | None = None,
    label_kinds: Mapping[str, Literal["category", "number"]] | None = None,
    kind_by: str | None = NameOptions.kind_by,
    confounds: Sequence[str] | None = NameOptions.confounds,
    set_size: tuple[int, int] = EvidenceOptions.set_size,
    min_overlap: float = EvidenceOptions.min_overlap,
    level: float = EvidenceOptions.level,
    min_cells: int = EvidenceOptions.min_cells,
    pseudocount: float = EvidenceOptions.pseudocount,
    null_features: int = NullOptions.null_features,
    expression_kind: Literal["measured", "predicted"] = TableOptions.expression_kind,
    independent: bool = TableOptions.independent,
    association: bool = TableOptions.association,
    ancestors: Mapping[str, str] | None = None,
    networks: Mapping[str, pd.DataFrame] | None = None,
    seed: int = 0,
    evidence: EvidenceOptions | None = None,
    tables: TableOptions | None = None,
    naming: NameOptions | None = None,
) -> Annotation:
    """Test and name features by genes, gene sets and labels, beside their nulls.

    Parameters
    ----------
    codes
        (cells, features) non-negative activations, sparse or dense.
    expression
        (cells, genes) depth-normalised log1p expression; or :func:`cellprism.data.stored.stored_expression` of a matrix on
        disk, which is read once, in order, and ranked in temporary files.
    genes
        Gene names, unique.
    gene_sets
        Set name -> symbols.
    labels
        Columns of cell labels (DataFrame or name -> values). Numbers with fractions, and whole numbers of many values, are
        continuous and tested by Spearman; the others are categories (:func:`cellprism.data.columns.column_kind`).
    strata
        (cells,) donor or batch: cells are only compared within strata. A Series gives its name to the mark of features
        that read it.
    symbols
        Symbol of each gene, matched to the sets; the gene names by default.
    embedding
        (cells, d), for the "random" null; without it that null is left out.
    {NullOptions}
    {TableOptions}
    {EvidenceOptions}
    depth
        (cells,) total counts: adds strata of depth, so that depth is a covariate of every test.
    donor
        (cells,) the independent unit. With three donors or more, genes are tested over donors (a moderated paired t
        test on each donor's difference of means) instead of over cells. "strata": the strata are the donors; None:
        cells are taken as independent within strata.
    modality
        Modality of the genes, one for all or one a gene.
    extra_nulls
        Name -> codes of further null dictionaries (an untrained SAE, one fitted on a shuffled embedding).
    label_kinds
        Label column -> "category" or "number", where it is not to be decided by its values.
    {NameOptions}
    ancestors
        Set name -> what it belongs to in its ontology (:func:`cellprism.genesets.level1_ancestors`): shown in tables and
        names.
    networks
        Name -> signed network (:func:`cellprism.genesets.fetch_network`): regulators and pathways as further evidence for
        names, scored by decoupler.
    seed
        Of every random draw.
    evidence, tables, naming
        The options above as :class:`~cellprism.features.options.EvidenceOptions`,
        :class:`~cellprism.features.options.TableOptions` and :class:`~cellprism.features.options.NameOptions`, in their
        place; ``nulls`` takes a :class:`~cellprism.features.options.NullOptions` too.

    Warns
    -----
    CellsLeftOut
        Where cells without a stratum or donor, or of too small ones, do not enter the tests of genes and sets.

    Raises
    ------
    InputError
        For shapes that do not fit, repeated gene names, bad expression or codes, unmatched gene sets, one stratum, and
        options that do not exist.

    Examples
    --------
    >>> found = prism.annotate(codes, expression, genes, sets, labels={"cell type": types}, nulls=("permuted",))
    >>> found.features[["feature", "name", "top_set"]].columns.tolist()
    ['feature', 'name', 'top_set']
    >>> sorted(set(found.sets["direction"]))
    ['down', 'up']
    """
    asked = chosen(
        EvidenceOptions, evidence, method=method, level=level, min_cells=min_cells, pseudocount=pseudocount,
        set_size=set_size, min_overlap=min_overlap,
    )  # fmt: skip
    whole, names = (nulls, NullOptions.nulls) if isinstance(nulls, NullOptions) else (None, nulls)
    null_options = chosen(NullOptions, whole, nulls=names, null_features=null_features)
    table_options = chosen(
        TableOptions,
        tables,
        keep=keep,
        association=association,
        expression_kind=expression_kind,
        independent=independent,
    )
    name_options = chosen(NameOptions, naming, kind_by=kind_by, confounds=confounds)
    refuse_other_order(
        codes=codes, expression=expression, labels=labels, strata=strata, donor=donor, depth=depth, embedding=embedding
    )
    refuse_other_genes(expression, genes, symbols=symbols, modality=modality)
    size = expression.shape if isinstance(expression, Rows) else np.shape(expression)
    shape = int(size[0]), int(size[1])
    study = make_study(codes, shape, genes, symbols, modality, labels, label_kinds, strata, donor, depth, embedding)
    for note in study.design.notes:
        warn(note, CellsLeftOut)
    extra = {name: study.tested_of(check_codes(c, shape[0])) for name, c in (extra_nulls or {}).items()}
    options = _Options(asked, null_options, table_options, name_options, seed)
    return _answers(study, expression, gene_sets, extra, ancestors or {}, networks or {}, options)


class _Options(NamedTuple):
    evidence: EvidenceOptions
    nulls: NullOptions
    tables: TableOptions
    names: NameOptions
    seed: int


def _answers(
    study: Study,
    expression: sp.sparray | np.ndarray | Rows,
    gene_sets: Mapping[str, Sequence[str]] | None,
    extra_nulls: Mapping[str, sp.csc_array],
    ancestors: Mapping[str, str],
    networks: Mapping[str, pd.DataFrame],
    options: _Options,
) -> Annotation:
    """From the question to its tables: evidence, the same of nulls, names."""
    of_sets, of_nulls = (np.random.default_rng(s) for s in np.random.SeedSequence(options.seed).spawn(2))
    of_networks = np.random.default_rng([options.seed, 2])
    question = ask(study, expression, gene_sets, options.evidence, of_sets)
    found = _with_reasons(test_codes(study.tested_codes, question), study)
    labels = label_table(study.codes, study.categorical, study.continuous)
    nulls = null_evidence(study, found, question, options.nulls, extra_nulls, of_nulls)
    shares, random = shares_beside_nulls(study.tested_codes, found, question, nulls)
    regulators = regulator_table(study, found, question, networks, options.nulls.null_features, of_networks)
    known = Known(set_kinds(gene_sets), ancestors, top_regulators(regulators, question.level))
    features = feature_table(study, question, found, labels, random, known, options.names)
    keep = options.tables.keep
    sets = set_table(question.sets, found.sets, question.level, keep, ancestors)
    related = activation_association(study.tested_codes, question.expression) if options.tables.association else None
    words, info = _words(options.tables), _info(study, question, found, options, len(shares.columns) - 2)
    found = replace(found, sets=None)  # the gene table is the largest: make room for it
    del question, random
    genes = gene_table(found.genes, study.genes, found.family, options.evidence.level, keep, related)
    return Annotation(
        features=marked(features, **words),
        genes=marked(genes, **words),
        sets=marked(sets, **words),
        labels=marked(labels, **words),
        regulators=marked(regulators, **words),
        shares=shares,
        untestable=_untestable(found),
        info=words | info,
    )


def _words(options: TableOptions) -> dict[str, str]:
    """What every table says of how it was made."""
    calibrated = options.independent and options.expression_kind == "measured"
    return {"expression": options.expression_kind, "pvalues": "calibrated" if calibrated else "descriptive"}


def _with_reasons(found: Evidence, study: Study) -> Evidence:
    """The evidence, where features that are active in cells without tests alone are told from dead ones."""
    alone = (np.diff(study.codes.indptr) > 0) & (np.diff(study.tested_codes.indptr) == 0)
    if not alone.any():
        return found
    reason = np.where(alone, "active in no cell that is tested", found.contrast.reason)
    return replace(found, contrast=replace(found.contrast, reason=reason))


def _untestable(found: Evidence) -> pd.DataFrame:
    reason = found.contrast.reason
    without = np.flatnonzero(reason != "")
    return pd.DataFrame({"feature": without, "reason": reason[without].astype(str)})


def _info(study: Study, question: Question, found: Evidence, options: _Options, n_nulls: int) -> dict[str, Any]:
    sets, design = question.sets, study.design
    return {
        "method": options.evidence.method,
        "unit": "cell" if question.donor_of is None else "donor",
        "level": options.evidence.level,
        "n_cells": question.expression.n_cells,
        "n_genes": question.expression.n_genes,
        "n_features": int(study.codes.shape[1]),
        "n_sets": 0 if sets is None else int(sets.names.size),
        "n_genes_in_sets": 0 if sets is None else int(sets.genes.size),
        "measured_share_of_set_genes": None if sets is None else round(sets.measured, 4),
        "n_strata": int(question.expression.sizes.size) if design.blocks is not None else 1,
        "notes": list(design.notes),
        "critical_z": found.critical if np.isfinite(found.critical) else None,
        "families": {
            "genes": "all features x genes",
            "sets": "all features x sets (rank), x 2 directions (over-representation and qval)",
            "labels": "all features x categories of all columns",
        },
        "min_cells": options.evidence.min_cells,
        "pseudocount": options.evidence.pseudocount,
        "null_features": options.nulls.null_features,
        "random_null": study.embedding is not None,
        "n_nulls": n_nulls,
        "seed": options.seed,
        "labels": {
            name: "category" if name in study.categorical else "number" for name in map(str, study.labels.columns)
        },
    }
