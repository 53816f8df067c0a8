"""What each mended error of the published annotation changes on the marrow data.

Usage: python benchmarks/annotation_paper_mode.py DATA.h5ad SETS.gmt [-o RESULT.json]

Features are ReLU units with random weights on 20 principal components (those of the timing script of the published
tool), 60 of them active in more than 100 cells. The published procedure is written out here feature by feature with
SciPy, one error put back at a time, and compared with ``method="paper"``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
from scipy import stats

from cellprism.features.annotate import annotate
from cellprism.stats.fdr import benjamini_hochberg

N_FEATURES = 60


def read_sets(path: str) -> dict[str, list[str]]:
    rows = (line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines())
    return {name: members for name, _, *members in rows}


def units(embedding: np.ndarray) -> np.ndarray:
    weights = np.random.default_rng(0).standard_normal((embedding.shape[1], 2_000)) / embedding.shape[1] ** 0.5
    codes = np.maximum(embedding @ weights - 3.0, 0.0)
    active = (codes > 0).sum(axis=0)
    return codes[:, (active > 100) & (active < len(codes) - 100)][:, :N_FEATURES]


def sides(code: np.ndarray, first: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Cells above the 99th percentile and cells at zero (the first so many in file order)."""
    return np.flatnonzero(code > np.percentile(code, 99)), np.flatnonzero(code == 0)[:first]


def welch_genes(x: np.ndarray, code: np.ndarray, first: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    high, zero = sides(code, first)
    with np.errstate(all="ignore"):
        t, p = stats.ttest_ind(x[high], x[zero], equal_var=False)
    return np.nan_to_num(t), np.nan_to_num(p, nan=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("sets")
    parser.add_argument("-o", "--out")
    args = parser.parse_args()
    adata = anndata.read_h5ad(args.data)
    counts = adata.X.toarray().astype(np.float64)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    log = adata.X.toarray().astype(np.float64)
    codes = units(sc.pp.pca(adata, n_comps=20, copy=True, random_state=0).obsm["X_pca"])
    n = codes.shape[1]
    symbols = adata.var["human_symbol"].astype(str).tolist()
    sets = read_sets(args.sets)
    found = annotate(
        codes, adata.X, adata.var_names, sets, symbols=symbols, nulls=(), method="paper", keep="all", set_size=(10, 500)
    )
    genes_per_feature = float((found.genes["qval"] < 0.05).groupby(found.genes["feature"]).sum().median())
    result: dict[str, float] = {"features": n, "genes_at_q_0.05_per_feature": genes_per_feature}

    lost = flipped = far = biased = 0
    for f in range(n):
        high, zero = sides(codes[:, f])
        constant = (log[high].var(axis=0) == 0) ^ (log[zero].var(axis=0) == 0)
        lost += int((constant & (np.abs(log[high].mean(0) - log[zero].mean(0)) > np.log(2))).sum())
        raw = np.log2((counts[high].mean(0) + 1e-8) / (counts[zero].mean(0) + 1e-8))
        lin = np.expm1(log)
        normal = np.log2((lin[high].mean(0) + 0.1) / (lin[zero].mean(0) + 0.1))
        far += int((np.abs(raw) > 1).sum())
        flipped += int(((np.abs(raw) > 1) & (np.abs(normal) < 1)).sum())
        _, p_all = welch_genes(log, codes[:, f])
        _, p_first = welch_genes(log, codes[:, f], 1_000)
        biased += int(((p_first < 1e-5) & (p_all > 1e-3)).sum())
    result["pairs_constant_on_one_side_with_two_fold_difference"] = lost
    result["share_of_two_fold_genes_that_are_not_after_normalisation"] = flipped / max(far, 1)
    result["false_strong_genes_per_feature_from_first_1000_zero_cells"] = biased / n

    place = {s: i for i, s in enumerate(symbols) if s and s != "nan"}
    members = [np.array(sorted({place[m] for m in v if m in place})) for v in sets.values()]
    members = [m for m in members if 10 <= m.size <= 500]
    rng = np.random.default_rng(1)
    t, _ = welch_genes(log, codes[:, 0])
    smaller = []
    for m in members:
        inside = rng.choice(t.size, m.size, replace=False)
        outside = np.setdiff1d(np.arange(t.size), inside)
        p = [stats.mannwhitneyu(t[inside], t[outside], alternative=a).pvalue for a in ("less", "greater")]
        smaller.append(min(p))
    result["false_positive_rate_at_0.05_of_the_smaller_tail"] = float(np.mean(np.array(smaller) < 0.05))
    rank = found.sets.dropna(subset="pval_rank")
    nominal = (rank["pval_rank"] < 0.05).groupby(rank["feature"]).any().mean()
    result["features_with_a_set_at_nominal_p_0.05"] = float(nominal)
    per_feature = rank.groupby("feature")["pval_rank"].transform(lambda p: benjamini_hochberg(p.to_numpy()))
    result["features_with_a_set_at_q_0.05_within_the_feature"] = float(
        (per_feature < 0.05).groupby(rank["feature"]).any().mean()
    )
    result["features_with_a_set_at_q_0.05_over_all_features"] = float(
        (rank["qval_rank"] < 0.05).groupby(rank["feature"]).any().mean()
    )
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
