"""One row a feature: counts, kind, best evidence, confounds, name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.data.missing import groups
from cellprism.features import naming
from cellprism.features.beyond import beyond_random
from cellprism.features.evidence import Evidence, Question, test_labels
from cellprism.features.kinds import cell_type_kinds, has_kinds
from cellprism.features.table import label_table
from cellprism.stats.enrichment import two_sided
from cellprism.stats.expression import Expression
from cellprism.stats.fdr import benjamini_hochberg
from cellprism.stats.labels import spearman

__all__ = ["feature_table", "label_rows"]

TOP_GENES = 10
CONFOUND_SHARE = 0.7
"""A feature carries a covariate's mark when |rho| reaches this share of the largest rho its zeros allow."""
_SIMES_TERMS = 50
_DETECTED = "detected genes"
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
    parts, start = [], 0
    for column, result in results.items():
        k = result.categories.size
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
                    **dict.fromkeys(("auroc", "f1", "precision", "recall", "threshold"), np.nan),
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
    strata: np.ndarray | None,
    depth: np.ndarray | None,
    tested: np.ndarray,
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
    strata, depth = (None if a is None else np.asarray(a)[tested] for a in (strata, depth))
    mark = _confound_marks(part, question, columns.iloc[tested], confounds, strata, depth)
    gene_names = genes["gene"].to_numpy(dtype=object)
    display = [naming.display_gene(g, s) for g, s in zip(genes["gene"], genes["symbol"], strict=True)]
    top = _top_sets(found, question)
    specific = _specific_sets(found, random, question)
    any_set = _any_set(found)
    detected = _best_labels(labels)
    good = _good_labels(labels, columns, question.level)
    rows = []
    for f in live.tolist():
        strongest = _top_genes(found, f)
        set_name, set_q = top.get(f, ("", np.nan))
        passing = tuple(
            (display[g], float(found.genes.calibrated[f, g]))
            for g in strongest
            if found.genes.calibrated[f, g] >= found.critical and found.genes.log2fc[f, g] > 0
        )
        evidence = naming.Evidence(
            label=good.get(f, ""),
            gene_set=set_name if set_q < question.level else "",
            genes=passing,
            confound=mark[f],
            n_active=int(n_active[f]),
            untestable=str(found.contrast.reason[f]),
            ancestor=ancestors.get(set_name, ""),
            regulator=regulators.get(f, ""),
        )
        label_name, label_auroc = detected.get(f, ("", np.nan))
        rows.append(
            {
                "feature": f,
                "name": naming.feature_name(evidence),
                "kind": kind[f],
                "n_active": int(n_active[f]),
                "mean_active": float(mean[f]),
                "max_active": float(maximum[f]),
                "stability": np.nan,
                "confound": mark[f],
                "top_genes": ", ".join(gene_names[strongest[:TOP_GENES]]),
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


def _top_genes(found: Evidence, f: int, n: int = 20) -> np.ndarray:
    z = found.genes.calibrated[f]
    if np.isnan(z[0]):
        return np.empty(0, dtype=np.int64)
    best = np.argpartition(-z, min(n, z.size) - 1)[:n]
    order = best[np.argsort(-z[best], kind="stable")]
    up: np.ndarray = order[z[order] > 0]
    return up


def _top_sets(found: Evidence, question: Question) -> dict[int, tuple[str, float]]:
    """Best set of each testable feature's up direction, with its q value over both tests."""
    if found.sets is None or question.sets is None:
        return {}
    testable = np.flatnonzero(found.contrast.testable)
    if testable.size == 0:
        return {}
    parts = np.array_split(testable, -(-testable.size // 512))  # no second array of all features and sets
    best = np.concatenate([(found.sets.combined[rows, 0] - 1e-6 * found.sets.z[rows]).argmin(axis=1) for rows in parts])
    q = found.sets.families[0].q(found.sets.combined[testable, 0, best])
    names = question.sets.names[best]
    return {int(f): (str(name), float(value)) for f, name, value in zip(testable, names, q, strict=True)}


def _any_set(found: Evidence) -> np.ndarray:
    """(features,) q value of "the feature has a set": Simes' p over its sets and directions, then Benjamini-Hochberg."""
    out = np.full(found.contrast.n_features, np.nan)
    if found.sets is None or not found.contrast.testable.any():
        return out
    log_p = found.sets.combined[found.contrast.testable].reshape(int(found.contrast.testable.sum()), -1)
    n = log_p.shape[1]
    few = min(_SIMES_TERMS, n)  # the smallest p values: a few more would hardly ever be the ones that count
    smallest = np.sort(np.partition(log_p, few - 1, axis=1)[:, :few], axis=1)
    simes = np.minimum((smallest + np.log(n / np.arange(1.0, few + 1.0))).min(axis=1), 0.0)
    out[found.contrast.testable] = benjamini_hochberg(np.exp(simes))
    return out


def _specific_sets(found: Evidence, random: Evidence | None, question: Question) -> dict[int, tuple[str, float, float]]:
    """Set at the level that the fewest random directions reach, its q value, and the share of them that does."""
    if found.sets is None or question.sets is None or random is None or random.sets is None:
        return {}
    best = beyond_random(found.sets, random.sets, question.level)
    return {f: (str(question.sets.names[item]), q, share) for f, (item, q, share) in best.items()}


def _best_labels(labels: pd.DataFrame) -> dict[int, tuple[str, float]]:
    """Category that each feature detects best, by F1, and its AUROC.

    F1 chooses because AUROC does not mind how few of the active cells are of the category: the thirteen cells of a rare
    type may all lie among two hundred active ones.
    """
    rows = labels[(labels["value"] != "") & (labels["auroc"] > 0.5)]
    rows = rows.sort_values(["f1", "auroc"], ascending=False, kind="stable").drop_duplicates("feature")
    return {
        int(f): (str(value), float(auroc))
        for f, value, auroc in zip(rows["feature"], rows["value"], rows["auroc"], strict=True)
    }


def _good_labels(labels: pd.DataFrame, columns: pd.DataFrame, level: float) -> dict[int, str]:
    """Category that a feature really detects: it finds most of it, or is active in hardly anything else."""
    rows = labels[(labels["value"] != "") & (labels["qval"] < level) & (labels["auroc"] > 0.5)]
    if rows.empty:
        return {}
    prevalence = {
        (str(name), str(value)): size / len(columns)
        for name in columns.columns
        for found in [groups(columns[name])]
        for value, size in zip(found.names, found.sizes, strict=True)
    }
    base = np.array([prevalence.get((c, v), 0.0) for c, v in zip(rows["column"], rows["value"], strict=True)])
    lift = (rows["precision"] - base) / np.maximum(1.0 - base, 1e-9)
    detects = (rows["auroc"] >= 0.9) & (rows["f1"] >= 0.5)
    pure = (lift >= 0.75) & (rows["recall"] >= 0.05)
    rows = rows.assign(score=rows["f1"])[detects | pure]
    best = rows.sort_values("score", ascending=False, kind="stable").drop_duplicates("feature")
    return dict(zip(best["feature"].astype(int), best["value"].astype(str), strict=True))


def _kinds(codes: sp.csc_array, question: Question, kind_by: str | None) -> np.ndarray:
    fit = [c for c, v in question.labels.items() if has_kinds(v)]
    column = kind_by if kind_by in fit else next(iter(fit), None)
    if column is None:
        return np.full(codes.shape[1], "", dtype=object)
    return cell_type_kinds(codes, question.labels[column])["kind"].to_numpy(dtype=object)


def _confound_marks(
    codes: sp.csc_array,
    question: Question,
    columns: pd.DataFrame,
    confounds: Sequence[str] | None,
    strata: np.ndarray | None,
    depth: np.ndarray | None,
) -> np.ndarray:
    """The technical covariate that a feature mostly reads, or ""; features of too few cells to be tested carry none."""
    active = np.diff(codes.indptr)
    enough = (active >= question.min_cells) & (active <= codes.shape[0] - question.min_cells)
    mark = np.full(codes.shape[1], "", dtype=object)
    best = np.full(codes.shape[1], CONFOUND_SHARE)
    numeric: dict[str, np.ndarray] = {_DETECTED: np.diff(question.expression.log.indptr).astype(np.float64)}
    if depth is not None:
        numeric["depth"] = np.asarray(depth, dtype=np.float64)
    categorical = {} if strata is None else {"strata": np.asarray(strata).astype(object)}
    wanted = confounds if confounds is not None else [c for c in columns.columns if c not in question.labels]
    for name in wanted:
        if name in question.labels:
            categorical[name] = question.labels[name]
        elif name in columns:
            numeric[name] = columns[name].to_numpy(dtype=np.float64, na_value=np.nan)
    for name, values in numeric.items():
        rho, attainable, z = spearman(codes, values)
        share = np.abs(rho) / np.where(attainable > 0, attainable, 1.0)
        passes = benjamini_hochberg(np.where(enough, two_sided(z), np.nan)) < question.level
        better = (share >= best) & passes
        for f in np.flatnonzero(better):
            mark[f] = f"{'+' if rho[f] > 0 else '-'}{name}"
        best = np.where(better, share, best)
    results, qval = test_labels(codes, categorical)
    start = 0
    for name, result in results.items():
        reads = (result.auroc > 0.9) & (result.f1 > 0.5) & (qval[:, start : start + result.categories.size] < 0.05)
        start += result.categories.size
        for f in np.flatnonzero(reads.any(axis=1) & enough & (mark == "")):
            mark[f] = f"{name} {result.categories[int(np.argmax(np.where(reads[f], result.auroc[f], -1)))]}"
    return mark
