"""One row a feature: counts, kind, best evidence, confounds, name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features import naming
from cellprism.features.beyond import beyond_random
from cellprism.features.confounds import confound_marks, nuisance_labels
from cellprism.features.core import core_cells, label_location, lift
from cellprism.features.evidence import Evidence, Question, test_labels
from cellprism.features.kinds import cell_type_kinds, has_kinds
from cellprism.features.support import name_evidence, top_genes
from cellprism.features.table import LOCATION, label_table
from cellprism.features.tissue import SetKind
from cellprism.stats.enrichment import two_sided
from cellprism.stats.expression import Expression
from cellprism.stats.fdr import benjamini_hochberg
from cellprism.stats.labels import spearman
from cellprism.stats.simes import feature_qval

__all__ = ["feature_table", "label_rows"]

_SPECIFIC = ("specific_set", "specific_set_qval", "specific_set_reach")


def label_rows(
    codes: sp.csc_array,
    categorical: dict[str, np.ndarray],
    continuous: dict[str, np.ndarray],
    expression: Expression,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Rows of ``labels.parquet``: detection of categories, Spearman with continuous columns.

    Returns
    -------
    table
        Live features only.
    qval
        (features, categories) of the detectors.
    """
    live = np.flatnonzero(np.diff(codes.indptr) > 0)
    results, qval = test_labels(codes, categorical)
    core = core_cells(codes)
    parts, start = [], 0
    for column, result in results.items():
        k = result.categories.size
        where = label_location(codes, core, categorical[column])
        kept = np.isin(where.categories, result.categories)
        parts.append(
            pd.DataFrame(
                {
                    "feature": np.repeat(live, k).astype(np.int32),
                    "column": column,
                    "value": np.tile(result.categories, live.size),
                    "auroc": result.auroc[live].ravel(),
                    "f1": result.f1[live].ravel(),
                    "precision": result.precision[live].ravel(),
                    "recall": result.recall[live].ravel(),
                    "qval": qval[live, start : start + k].ravel(),
                    "threshold": result.threshold[live].ravel(),
                    "spearman": np.nan,
                    "prevalence": np.tile(where.prevalence[kept], live.size),
                    **{name: getattr(where, name)[live][:, kept].ravel() for name in LOCATION[1:]},
                }
            )
        )
        start += k
    for column, values in continuous.items():
        rho, _, z = spearman(codes, values)
        parts.append(
            pd.DataFrame(
                {
                    "feature": live.astype(np.int32),
                    "column": column,
                    "value": "",
                    **dict.fromkeys(("auroc", "f1", "precision", "recall", "threshold", *LOCATION), np.nan),
                    "qval": benjamini_hochberg(two_sided(z[live])),
                    "spearman": rho[live],
                }
            )
        )
    return label_table(parts), qval


def feature_table(
    codes: sp.csc_array,
    found: Evidence,
    question: Question,
    genes: pd.DataFrame,
    labels: pd.DataFrame,
    columns: pd.DataFrame,
    random: Evidence | None,
    *,
    kind_by: str | None,
    confounds: Sequence[str] | None,
    strata: np.ndarray | pd.Series | None,
    depth: np.ndarray | None,
    tested: np.ndarray,
    donor: np.ndarray | pd.Series | None,
    embedding: np.ndarray | None,
    kinds: Mapping[str, SetKind],
    ancestors: Mapping[str, str],
    regulators: Mapping[int, str],
) -> pd.DataFrame:
    """Rows of ``features.parquet``, live features only, ``stability`` left empty.

    ``codes`` and ``columns`` are of all cells, ``question`` of the ``tested`` ones.
    """
    n_active = np.diff(codes.indptr)
    live = np.flatnonzero(n_active > 0)
    maximum = np.asarray(codes.max(axis=0).todense()).ravel() if codes.nnz else np.zeros(codes.shape[1])
    mean = np.asarray(codes.sum(axis=0)).ravel() / np.maximum(n_active, 1)
    part = codes if tested.size == codes.shape[0] else sp.csc_array(codes.tocsr()[tested])
    kind = _kinds(part, question, kind_by)
    depth = None if depth is None else np.asarray(depth)[tested]
    roles = {role: pd.Series(v).iloc[tested] for role, v in (("strata", strata), ("donor", donor)) if v is not None}
    units = {str(values.name or role): values for role, values in roles.items()}  # a column keeps its own name
    nuisance = nuisance_labels(question.labels, confounds, units)
    where = None if embedding is None else np.asarray(embedding)[tested]
    mark = confound_marks(part, question, columns.iloc[tested], nuisance, confounds, depth, where)
    gene_names = genes["gene"].to_numpy(dtype=object)
    display = [naming.display_gene(g, s) for g, s in zip(genes["gene"], genes["symbol"], strict=True)]
    top = _top_sets(found, question)
    specific = _specific_sets(found, random, question)
    any_set = np.full(codes.shape[1], np.nan)
    if found.sets is not None:
        any_set = feature_qval(found.sets.combined, "log p", found.contrast.testable)
    detected = _best_labels(labels, nuisance)
    leading = top_genes(found)
    evidence = name_evidence(
        part, found, question, display, labels, random, leading, marks=mark, nuisance=nuisance, kinds=kinds,
        ancestors=ancestors, regulators=regulators,
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
                "top_set_ancestor": ancestors.get(set_name, ""),
                "top_regulator": regulators.get(f, ""),
                **dict(zip(_SPECIFIC, specific.get(f, ("", np.nan, np.nan)), strict=True)),
                "untestable": str(found.contrast.reason[f]),
            }
        )
    names = [
        "feature", "name", "kind", "n_active", "mean_active", "max_active", "stability", "confound", "top_genes",
        "top_set", "top_set_qval", "top_label", "top_label_auroc", *_SPECIFIC, "any_set_qval", "top_set_ancestor",
        "top_regulator", "untestable",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


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
