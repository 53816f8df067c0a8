"""Annotation of features: every test, every null, and the tables they fill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.errors import InputError
from cellprism.features.evidence import Question, split_columns, test_codes
from cellprism.features.shares import null_evidence, share_row, share_table
from cellprism.features.summary import feature_table, label_rows
from cellprism.features.table import gene_table, set_table
from cellprism.stats.contrast import check_codes
from cellprism.stats.depth import depth_strata
from cellprism.stats.enrichment import set_correlation
from cellprism.stats.expression import Expression, prepare_expression
from cellprism.stats.overrep import overlap_null
from cellprism.stats.setindex import index_sets, usable_symbols

__all__ = ["Annotation", "annotate"]

NULLS = ("random", "permuted", "random_sets")


@dataclass(frozen=True)
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
    """

    features: pd.DataFrame
    genes: pd.DataFrame
    sets: pd.DataFrame
    labels: pd.DataFrame
    shares: pd.DataFrame
    untestable: pd.DataFrame
    info: dict[str, Any]


def annotate(
    codes: sp.sparray | np.ndarray,
    expression: sp.sparray | np.ndarray,
    genes: Sequence[str],
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    labels: pd.DataFrame | Mapping[str, Any] | None = None,
    strata: np.ndarray | None = None,
    *,
    symbols: Sequence[str] | None = None,
    embedding: np.ndarray | None = None,
    nulls: Sequence[str] = ("random", "permuted"),
    keep: Literal["significant", "all"] = "significant",
    method: Literal["ranksum", "welch", "paper"] = "ranksum",
    depth: np.ndarray | None = None,
    modality: str | Sequence[str] = "rna",
    extra_nulls: Mapping[str, sp.sparray | np.ndarray] | None = None,
    kind_by: str | None = None,
    confounds: Sequence[str] | None = None,
    set_size: tuple[int, int] = (5, 500),
    min_overlap: float = 0.2,
    level: float = 0.05,
    min_cells: int = 10,
    pseudocount: float = 0.1,
    null_features: int = 500,
    n_permutations: int = 200,
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
        Columns of cell labels (DataFrame or name -> values). Floating-point columns and numbers with more than 30
        distinct values are continuous and tested by Spearman; the others are categories.
    strata
        (cells,) donor or batch: cells are only compared within strata.
    symbols
        Symbol of each gene, matched to the sets; the gene names by default.
    embedding
        (cells, d), for the "random" null; without it that null is left out.
    nulls
        Of "random" (directions of the embedding at the same active counts), "permuted" (cells permuted within
        strata) and "random_sets" (sets of random genes of like expression).
    keep
        "significant": tables hold what passes and the 100 strongest a feature; "all": every pair.
    method
        "ranksum" (active against inactive cells), "welch" (the same cells), or "paper" (cells above the 99th
        percentile against cells at zero, Welch).
    depth
        (cells,) total counts: adds strata of depth, so that depth is a covariate of every test.
    modality
        Modality of the genes, one for all or one a gene.
    extra_nulls
        Name -> codes of further null dictionaries (an untrained SAE, one fitted on a shuffled embedding).
    kind_by
        Label column of the local / regional / global rule; the first categorical one by default.
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
    n_permutations
        Permutations behind the over-representation test, for each of five numbers of active cells.
    seed
        Of every random draw.

    Raises
    ------
    InputError
        For shapes that do not fit, repeated gene names, bad expression or codes, unmatched gene sets, one stratum.
    """
    codes_csc = check_codes(codes, int(np.shape(expression)[0]))
    gene_frame = _gene_frame(genes, symbols, modality, int(np.shape(expression)[1]))
    _check_options(nulls, keep, method)
    table = _label_frame(labels, codes_csc.shape[0])
    blocks = _strata(strata, depth, codes_csc.shape[0])
    prepared = prepare_expression(expression, blocks)
    rng_overlap, rng_null = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    categorical, continuous = split_columns(table)
    question = _question(
        prepared, codes_csc, gene_sets, gene_frame, categorical, rng_overlap,
        set_size=set_size, min_overlap=min_overlap, method=method, level=level, min_cells=min_cells,
        pseudocount=pseudocount, n_permutations=n_permutations,
    )  # fmt: skip
    found = test_codes(codes_csc, question)
    label_frame, _ = label_rows(codes_csc, categorical, continuous, prepared)
    features = feature_table(
        codes_csc, found, question, gene_frame, label_frame, table,
        kind_by=kind_by, confounds=confounds, strata=strata, depth=depth,
    )  # fmt: skip
    columns = {"observed": share_row(codes_csc, found, question)}
    columns |= null_evidence(codes_csc, found, question, nulls, embedding, extra_nulls or {}, null_features, rng_null)
    live = np.arange(codes_csc.shape[1])
    reason = found.contrast.reason
    untestable = pd.DataFrame({"feature": live[reason != ""], "reason": reason[reason != ""].astype(str)})
    sets = set_table(question.sets, live, found.sets, level, keep)
    return Annotation(
        features=features,
        genes=gene_table(found.genes, live, gene_frame, found.critical, keep),
        sets=sets,
        labels=label_frame,
        shares=share_table(columns),
        untestable=untestable,
        info=_info(question, found.critical, codes_csc, blocks, embedding, null_features, seed, len(columns)),
    )


def _question(
    prepared: Expression,
    codes: sp.csc_array,
    gene_sets: Mapping[str, Sequence[str]] | None,
    gene_frame: pd.DataFrame,
    categorical: dict[str, np.ndarray],
    rng: np.random.Generator,
    *,
    set_size: tuple[int, int],
    min_overlap: float,
    method: str,
    level: float,
    min_cells: int,
    pseudocount: float,
    n_permutations: int,
) -> Question:
    sets = correlation = overlap = None
    if gene_sets:
        expressed = np.bincount(prepared.log.indices, minlength=prepared.n_genes)
        sets = index_sets(gene_sets, gene_frame["symbol"].tolist(), expressed, set_size, min_overlap)
        correlation = set_correlation(prepared, sets)
        active = np.diff(codes.indptr)
        testable = active[(active >= min_cells) & (active <= codes.shape[0] - min_cells)]
        if testable.size:
            overlap = overlap_null(prepared, sets, testable, rng, n_permutations=n_permutations)
    return Question(prepared, sets, correlation, overlap, categorical, method, level, min_cells, pseudocount)


def _gene_frame(
    genes: Sequence[str], symbols: Sequence[str] | None, modality: str | Sequence[str], n_genes: int
) -> pd.DataFrame:
    names = np.array([str(g) for g in genes], dtype=object)
    if names.size != n_genes:
        raise InputError(
            "genes must name every column of the expression",
            f"{names.size} names and {n_genes} columns",
            "give one name a column",
        )
    unique, counts = np.unique(names.astype(str), return_counts=True)
    if (counts > 1).any():
        raise InputError(
            "gene names must be unique",
            f"{int((counts > 1).sum())} repeated ones, the first {unique[counts > 1][0]!r}",
            "make them unique (adata.var_names_make_unique()) and give the shared names as `symbols`",
        )
    symbol = usable_symbols(names.tolist() if symbols is None else symbols)
    if symbol.size != n_genes:
        raise InputError("symbols must have one entry a gene", f"{symbol.size} for {n_genes} genes", 'use "" for none')
    kinds = np.full(n_genes, modality, dtype=object) if isinstance(modality, str) else np.array(modality, dtype=object)
    if kinds.size != n_genes:
        raise InputError("modality must have one entry a gene", f"{kinds.size} for {n_genes} genes", "give one each")
    return pd.DataFrame({"gene": names, "symbol": symbol, "modality": kinds})


def _check_options(nulls: Sequence[str], keep: str, method: str) -> None:
    for option, value, allowed in (
        ("keep", [keep], ("significant", "all")),
        ("method", [method], ("ranksum", "welch", "paper")),
        ("nulls", list(nulls), NULLS),
    ):
        wrong = [v for v in value if v not in allowed]
        if wrong:
            raise InputError(f"{option} must be of {', '.join(allowed)}", repr(wrong[0]), "use one of these")


def _label_frame(labels: pd.DataFrame | Mapping[str, Any] | None, n_cells: int) -> pd.DataFrame:
    if labels is None:
        return pd.DataFrame(index=np.arange(n_cells))
    columns = {str(k): np.asarray(v) if not isinstance(v, pd.Series) else v.array for k, v in labels.items()}
    for name, values in columns.items():
        if len(values) != n_cells:
            raise InputError(
                "labels must have one value a cell",
                f"{len(values)} values of {name!r} for {n_cells} cells",
                "give labels of all cells, None where unknown",
            )
    return pd.DataFrame(columns, index=np.arange(n_cells))


def _strata(strata: np.ndarray | None, depth: np.ndarray | None, n_cells: int) -> np.ndarray | None:
    if strata is not None:
        strata = np.asarray(strata).astype(str)
        if strata.size != n_cells:
            raise InputError("strata must have one value a cell", f"{strata.size} for {n_cells} cells", "give all")
        if np.unique(strata).size < 2:
            raise InputError(
                "strata need at least two levels", f"one level, {strata[0]!r}", "leave `strata` out: it changes nothing"
            )
    if depth is None:
        return strata
    if np.size(depth) != n_cells:
        raise InputError("depth must have one value a cell", f"{np.size(depth)} for {n_cells} cells", "give all")
    return depth_strata(np.asarray(depth), strata)


def _info(
    question: Question,
    critical: float,
    codes: sp.csc_array,
    blocks: np.ndarray | None,
    embedding: np.ndarray | None,
    null_features: int,
    seed: int,
    n_columns: int,
) -> dict[str, Any]:
    sets = question.sets
    return {
        "method": question.method,
        "level": question.level,
        "n_cells": question.expression.n_cells,
        "n_genes": question.expression.n_genes,
        "n_features": int(codes.shape[1]),
        "n_sets": 0 if sets is None else int(sets.names.size),
        "n_genes_in_sets": 0 if sets is None else int(sets.genes.size),
        "set_gene_overlap": None if sets is None else round(sets.overlap, 4),
        "n_strata": int(question.expression.sizes.size) if blocks is not None else 1,
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
