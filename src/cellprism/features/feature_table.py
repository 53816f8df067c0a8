"""One row a feature: counts, kind, best evidence, confounds, name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.chunks import chunks
from cellprism.features import naming
from cellprism.features.beyond import beyond_random
from cellprism.features.confounds import confound_marks, nuisance_labels
from cellprism.features.core import core_cells, lift
from cellprism.features.evidence import Evidence
from cellprism.features.kinds import cell_type_kinds, has_kinds
from cellprism.features.options import NameOptions
from cellprism.features.question import Question, Study
from cellprism.features.support import name_evidence, top_genes
from cellprism.features.tissue import SetKind
from cellprism.stats.simes import feature_qval

__all__ = ["Known", "feature_table"]

_SPECIFIC = ("specific_set", "specific_set_qval", "specific_set_reach")
_COLUMNS = (
    "feature", "name", "kind", "n_active", "mean_active", "max_active", "stability", "confound", "top_genes", "top_set",
    "top_set_qval", "top_label", "top_label_auroc", *_SPECIFIC, "any_set_qval", "top_set_ancestor", "top_regulator",
    "untestable",
)  # fmt: skip


class Known(NamedTuple):
    """What is known of gene sets and features beside the tests, for names."""

    kinds: Mapping[str, SetKind]
    """Tissue and kind of the sets where they are known."""
    ancestors: Mapping[str, str]
    """Set -> what it belongs to in its ontology."""
    regulators: Mapping[int, str]
    """Feature -> its regulator."""


def feature_table(
    study: Study,
    question: Question,
    found: Evidence,
    labels: pd.DataFrame,
    random: Evidence | None,
    known: Known,
    options: NameOptions,
) -> pd.DataFrame:
    """Rows of ``features.parquet``, live features only, ``stability`` left empty.

    Parameters
    ----------
    study, question, found
        The features, what was asked of them and what was found.
    labels
        Rows of ``labels.parquet``.
    random
        Evidence of random directions.
    """
    codes, part, genes = study.codes, study.tested_codes, study.genes
    n_active = np.diff(codes.indptr)
    live = np.flatnonzero(n_active > 0)
    maximum = np.asarray(codes.max(axis=0).todense()).ravel() if codes.nnz else np.zeros(codes.shape[1])
    mean = np.asarray(codes.sum(axis=0)).ravel() / np.maximum(n_active, 1)
    kind = _kinds(part, question, options.kind_by)
    nuisance = nuisance_labels(question.labels, options.confounds, study.units)
    core = core_cells(part)
    mark = confound_marks(
        part, core, question, study.labels.iloc[study.tested], nuisance, options.confounds, study.of_tested(study.depth),
        None if study.embedding is None else _norms(study.embedding, study.rows),
    )  # fmt: skip
    gene_names = genes["gene"].to_numpy(dtype=object)
    top = _top_sets(found, question)
    specific = _specific_sets(found, random, question)
    any_set = np.full(codes.shape[1], np.nan)
    if found.sets is not None:
        any_set = feature_qval(found.sets.combined, "log p", found.contrast.testable)
    detected = _best_labels(labels, nuisance)
    leading = top_genes(found)
    display = [naming.display_gene(g, s) for g, s in zip(genes["gene"], genes["symbol"], strict=True)]
    evidence = name_evidence(
        part, core, found, question, display, labels, random, leading, live=live, marks=mark, nuisance=nuisance, kinds=known.kinds,
        ancestors=known.ancestors, regulators=known.regulators,
    )  # fmt: skip
    named = dict(zip((e.feature for e in evidence), naming.feature_names(evidence), strict=True))
    top |= naming.shown_sets(evidence)
    rows = []
    for f in live.tolist():
        strongest = leading[f][leading[f] >= 0]
        set_name, set_q = top.get(f, ("", np.nan))
        label_name, label_auroc = detected.get(f, ("", np.nan))
        rows.append(
            {
                "feature": f,
                "name": named[f],
                "kind": kind[f],
                "n_active": int(n_active[f]),
                "mean_active": float(mean[f]),
                "max_active": float(maximum[f]),
                "stability": np.nan,
                "confound": mark[f],
                "top_genes": ", ".join(gene_names[strongest]),
                "top_set": set_name,
                "top_set_qval": set_q,
                "top_label": label_name,
                "top_label_auroc": label_auroc,
                "any_set_qval": float(any_set[f]),
                "top_set_ancestor": known.ancestors.get(set_name, ""),
                "top_regulator": known.regulators.get(f, ""),
                **dict(zip(_SPECIFIC, specific.get(f, ("", np.nan, np.nan)), strict=True)),
                "untestable": str(found.contrast.reason[f]),
            }
        )
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _norms(embedding: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
    """(cells,) distance of each cell from the centre of the embedding."""
    n = len(embedding) if rows is None else len(rows)
    mean = np.sum([x.sum(axis=0) for x in chunks(embedding, rows)], axis=0) / n
    return np.concatenate([np.linalg.norm(x - mean, axis=1) for x in chunks(embedding, rows)])


def _top_sets(found: Evidence, question: Question) -> dict[int, tuple[str, float]]:
    """Best set of each testable feature's up direction, with its q value over both tests."""
    if found.sets is None or question.sets is None:
        return {}
    testable = np.flatnonzero(found.contrast.testable)
    if testable.size == 0:
        return {}
    parts = np.array_split(testable, -(-testable.size // 512))  # no second array of all features and sets
    best = np.concatenate([(found.sets.combined[rows, 0] - 1e-6 * found.sets.z[rows]).argmin(axis=1) for rows in parts])
    q = found.sets.both.q(found.sets.combined[testable, 0, best])
    names = question.sets.names[best]
    return {int(f): (str(name), float(value)) for f, name, value in zip(testable, names, q, strict=True)}


def _specific_sets(found: Evidence, random: Evidence | None, question: Question) -> dict[int, tuple[str, float, float]]:
    """Set at the level that the fewest random directions reach, its q value, and the share of them that does."""
    if found.sets is None or question.sets is None or random is None or random.sets is None:
        return {}
    best = beyond_random(found.sets, random.sets, question.level)
    return {f: (str(question.sets.names[item]), q, share) for f, (item, q, share) in best.items()}


def _best_labels(labels: pd.DataFrame, nuisance: Collection[str]) -> dict[int, tuple[str, float]]:
    """Category that each feature's core cells are, and its AUROC; nuisance columns left out.

    AUROC does not mind how few of the active cells are of the category: the thirteen cells of a rare type may all lie
    among two hundred active ones. So the category is chosen where the activation lies.
    """
    rows = labels[(labels["value"] != "") & (labels["auroc"] > 0.5) & ~labels["column"].isin(list(nuisance))]
    far = lift(rows["core_precision"].to_numpy(np.float64), rows["prevalence"].to_numpy(np.float64))
    rows = rows.assign(far=far).sort_values(["far", "f1"], ascending=False, kind="stable").drop_duplicates("feature")
    return {
        int(f): (str(value), float(auroc))
        for f, value, auroc in zip(rows["feature"], rows["value"], rows["auroc"], strict=True)
    }


def _kinds(codes: sp.csc_array, question: Question, kind_by: str | None) -> np.ndarray:
    fit = [c for c, v in question.labels.items() if has_kinds(v)]
    column = kind_by if kind_by in fit else next(iter(fit), None)
    if column is None:
        return np.full(codes.shape[1], "", dtype=object)
    return cell_type_kinds(codes, question.labels[column])["kind"].to_numpy(dtype=object)
