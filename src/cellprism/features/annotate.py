"""Annotation of features: every test, every null, and the tables they fill."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.errors import CellsLeftOut
from cellprism.features.evidence import Question, prepare_question, test_codes
from cellprism.features.inputs import Design, blocks_and_donors, check_options, gene_frame, label_frame, split_columns
from cellprism.features.regulators import regulator_table, top_regulators
from cellprism.features.shares import null_evidence, share_row, share_table
from cellprism.features.summary import feature_table, label_rows
from cellprism.features.table import gene_table, marked, set_table
from cellprism.features.tissue import set_kinds
from cellprism.stats.association import activation_association
from cellprism.stats.contrast import check_codes
from cellprism.stats.expression import prepare_expression
from cellprism.stats.pseudobulk import donors_of_strata

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


def annotate(
    codes: sp.sparray | np.ndarray,
    expression: sp.sparray | np.ndarray,
    genes: Sequence[str],
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    labels: pd.DataFrame | Mapping[str, Any] | None = None,
    strata: np.ndarray | pd.Series | None = None,
    *,
    symbols: Sequence[str] | None = None,
    embedding: np.ndarray | None = None,
    nulls: Sequence[str] = ("random", "permuted"),
    keep: Literal["significant", "all"] = "significant",
    method: Literal["ranksum", "welch", "paper"] = "ranksum",
    depth: np.ndarray | None = None,
    donor: np.ndarray | pd.Series | str | None = "strata",
    modality: str | Sequence[str] = "rna",
    extra_nulls: Mapping[str, sp.sparray | np.ndarray] | None = None,
    label_kinds: Mapping[str, Literal["category", "number"]] | None = None,
    kind_by: str | None = None,
    confounds: Sequence[str] | None = None,
    set_size: tuple[int, int] = (5, 500),
    min_overlap: float = 0.2,
    level: float = 0.05,
    min_cells: int = 10,
    pseudocount: float = 0.1,
    null_features: int = 500,
    expression_kind: Literal["measured", "predicted"] = "measured",
    independent: bool = False,
    association: bool = False,
    ancestors: Mapping[str, str] | None = None,
    networks: Mapping[str, pd.DataFrame] | None = None,
    seed: int = 0,
) -> Annotation:
    """Test and name features by genes, gene sets and labels, beside their nulls.

    Parameters
    ----------
    codes
        (cells, features) non-negative activations, sparse or dense.
    expression
        (cells, genes) depth-normalised log1p expression.
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
    nulls
        Of "random" (directions of the embedding at the same active counts), "permuted" (cells permuted within
        strata) and "random_sets" (sets of random genes of like expression and like correlation within the set).
    keep
        "significant": tables hold what passes and the 100 strongest a feature; "all": every pair.
    method
        "ranksum" (active against inactive cells), "welch" (the same cells), or "paper" (cells above the 99th
        percentile against cells at zero, Welch).
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
    kind_by
        Label column of the local / regional / global rule; the first that has two categories of two cells, by default and
        where this one has not.
    confounds
        Label columns that are technical; continuous ones by default, and the strata.
    set_size
        Smallest and largest number of measured genes of a tested set.
    min_overlap
        Refuse gene sets of which a smaller share of symbols is measured.
    level
        q value at which a finding counts.
    min_cells
        Fewest cells on each side of a contrast.
    pseudocount
        Of the fold change, in units of the normalised expression.
    null_features
        Nulls are run on at most this many features, drawn at random.
    expression_kind
        Whether ``expression`` was measured or is what an embedding model predicts: said in every table.
    independent
        The codes were learned from other molecules than those in ``expression`` (a count split). Every table says in its
        column ``pvalues`` "calibrated" then, and "descriptive" where features were learned from the cells and counts on
        which they are tested, or expression is predicted.
    association
        Adds to the gene table ``spearman``, the correlation of each gene with the activation itself, within strata.
    ancestors
        Set name -> what it belongs to in its ontology (:func:`cellprism.genesets.level1_ancestors`): shown in tables and
        names.
    networks
        Name -> signed network (:func:`cellprism.genesets.fetch_network`): regulators and pathways as further evidence for
        names, scored by decoupler.
    seed
        Of every random draw.

    Warns
    -----
    CellsLeftOut
        Where cells without a stratum or donor, or of too small ones, do not enter the tests of genes and sets.

    Raises
    ------
    InputError
        For shapes that do not fit, repeated gene names, bad expression or codes, unmatched gene sets, one stratum.

    Examples
    --------
    >>> found = prism.annotate(codes, expression, genes, sets, labels={"cell type": types}, nulls=("permuted",))
    >>> found.features[["feature", "name", "top_set"]].columns.tolist()
    ['feature', 'name', 'top_set']
    >>> sorted(set(found.sets["direction"]))
    ['down', 'up']
    """
    codes_csc = check_codes(codes, int(np.shape(expression)[0]))
    measured = gene_frame(genes, symbols, modality, int(np.shape(expression)[1]))
    check_options(nulls, keep, method)
    table = label_frame(labels, codes_csc.shape[0])
    design = blocks_and_donors(strata, depth, donor, codes_csc.shape[0])
    for note in design.notes:
        warnings.warn(note, CellsLeftOut, stacklevel=2)
    kept = np.flatnonzero(design.kept)
    tested = codes_csc if design.kept.all() else sp.csc_array(codes_csc.tocsr()[kept])
    prepared = prepare_expression(expression if design.kept.all() else sp.csr_array(expression)[kept], design.blocks)
    donor_of = None if design.donors is None else donors_of_strata(prepared.strata, design.donors, prepared.sizes.size)
    rng_overlap, rng_null = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    rng_networks = np.random.default_rng([seed, 2])
    categorical, continuous = split_columns(table, label_kinds)
    question = prepare_question(
        prepared, tested, gene_sets, measured, {c: v[kept] for c, v in categorical.items()}, rng_overlap,
        set_size=set_size, min_overlap=min_overlap, method=method, level=level, min_cells=min_cells,
        pseudocount=pseudocount, donor_of=donor_of,
    )  # fmt: skip
    found = test_codes(tested, question)
    found_labels, _ = label_rows(codes_csc, categorical, continuous, prepared)
    nulls_found, random = null_evidence(
        tested,
        found,
        question,
        nulls,
        None if embedding is None else np.asarray(embedding)[kept],
        {name: check_codes(codes, design.kept.size)[kept] for name, codes in (extra_nulls or {}).items()},
        null_features,
        rng_null,
    )
    regulators = regulator_table(
        tested, found, question, measured["symbol"].tolist(), networks or {}, null_features, rng_networks
    )
    features = feature_table(
        codes_csc, found, question, measured, found_labels, table, random,
        kind_by=kind_by, confounds=confounds, strata=strata, depth=depth, tested=kept,
        donor=None if isinstance(donor, str) else donor, embedding=embedding, kinds=set_kinds(gene_sets),
        ancestors=ancestors or {}, regulators=top_regulators(regulators, level),
    )  # fmt: skip
    columns = {"observed": share_row(tested, found, question, random)} | nulls_found
    live = np.arange(codes_csc.shape[1])
    reason = found.contrast.reason
    untestable = pd.DataFrame({"feature": live[reason != ""], "reason": reason[reason != ""].astype(str)})
    shares = share_table(columns)
    sets = set_table(question.sets, live, found.sets, level, keep)
    if ancestors:
        sets["ancestor"] = sets["set"].map(lambda name: ancestors.get(str(name), "")).astype("category")
    words = {
        "expression": expression_kind,
        "pvalues": "calibrated" if independent and expression_kind == "measured" else "descriptive",
    }
    info = words | _info(question, found.critical, codes_csc, design, embedding, null_features, seed, len(columns))
    info["labels"] = {name: "category" if name in categorical else "number" for name in map(str, table.columns)}
    related = activation_association(tested, prepared) if association else None
    found = replace(found, sets=None)  # the gene table is the largest: make room for it
    del question, prepared, random
    return Annotation(
        features=marked(features, **words),
        genes=marked(gene_table(found.genes, live, measured, found.family, level, keep, related), **words),
        sets=marked(sets, **words),
        labels=marked(found_labels, **words),
        regulators=marked(regulators, **words),
        shares=shares,
        untestable=untestable,
        info=info,
    )


def _info(
    question: Question,
    critical: float,
    codes: sp.csc_array,
    design: Design,
    embedding: np.ndarray | None,
    null_features: int,
    seed: int,
    n_columns: int,
) -> dict[str, Any]:
    sets = question.sets
    return {
        "method": question.method,
        "unit": "cell" if question.donor_of is None else "donor",
        "level": question.level,
        "n_cells": question.expression.n_cells,
        "n_genes": question.expression.n_genes,
        "n_features": int(codes.shape[1]),
        "n_sets": 0 if sets is None else int(sets.names.size),
        "n_genes_in_sets": 0 if sets is None else int(sets.genes.size),
        "measured_share_of_set_genes": None if sets is None else round(sets.measured, 4),
        "n_strata": int(question.expression.sizes.size) if design.blocks is not None else 1,
        "notes": list(design.notes),
        "critical_z": critical if np.isfinite(critical) else None,
        "families": {
            "genes": "all features x genes",
            "sets": "all features x sets (rank), x 2 directions (over-representation and qval)",
            "labels": "all features x categories of all columns",
        },
        "min_cells": question.min_cells,
        "pseudocount": question.pseudocount,
        "null_features": null_features,
        "random_null": embedding is not None,
        "n_nulls": n_columns - 1,
        "seed": seed,
    }
