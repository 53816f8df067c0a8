"""What each part of the calibration does on the marrow data: shares of features that pass under several nulls.

Usage: python benchmarks/annotation_nulls.py DATA.h5ad SETS.gmt [-o RESULT.json] [--features N]

Features are random directions of 20 principal components with 30 to 1,500 active cells (log-uniform). They are strong:
nearly all of them have genes and sets at q < 0.05. Three questions are asked, each with one part of the calibration
taken away and with all of it:

- cells permuted: does a feature without meaning get a gene or a set?
- sets of random genes (of any expression; of like expression; of like expression and correlation): does a strong feature
  get a set that says nothing?
- the real sets: what is left?
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anndata
import numpy as np
import scanpy as sc
from scipy import special, stats

from cellprism.features.evidence import Evidence, test_codes
from cellprism.features.options import EvidenceOptions
from cellprism.features.question import Question, prepare_question
from cellprism.genesets.gmt import read_gmt
from cellprism.stats.background import match_background
from cellprism.stats.contrast import active_contrast
from cellprism.stats.enrichment import set_correlation
from cellprism.stats.expression import prepare_expression
from cellprism.stats.fdr import Family
from cellprism.stats.genes import rank_sum
from cellprism.stats.nulls import matched_directions, permuted_codes, random_sets
from cellprism.stats.overrep import overlap_null


def shares(found: Evidence, level: float = 0.05) -> dict[str, float]:
    """Share of features with a set, by each test and by both; raw p values below 0.05 of the rank test."""
    sets = found.sets
    out = {}
    tests = {"both": sets.combined, "rank": sets.z, "over-representation": sets.ora}
    for (name, values), family in zip(tests.items(), (sets.both, sets.rank, sets.over), strict=True):
        limit = family.critical(level)
        passing = np.abs(values.astype(np.float32)) >= limit if name == "rank" else values <= limit
        out[name] = float(passing.reshape(len(values), -1).any(axis=1).mean())
    pval = 2.0 * special.ndtr(-np.abs(sets.z)).ravel()
    out["raw rank p < 0.05"] = float((pval < 0.05).mean())
    out["distance of raw rank p from uniform"] = float(stats.kstest(pval, "uniform").statistic)
    return out


def independent(question: Question) -> Question:
    """Genes of a set taken as independent."""
    correlation, overlap = question.correlation, question.overlap
    return replace(
        question,
        correlation=correlation._replace(total=np.zeros_like(correlation.total)),
        overlap=overlap._replace(variance=np.zeros_like(overlap.variance)),
    )


def against_all(question: Question) -> Question:
    """Sets held against all genes instead of those of like expression."""
    return replace(question, background=match_background(question.sets))


def with_sets(question: Question, members: np.ndarray, rng: np.random.Generator) -> Question:
    """The same question of other sets."""
    drawn = replace(question.sets, members=members)
    return replace(
        question,
        sets=drawn,
        background=match_background(drawn, question.expression.linear_total[drawn.genes]),
        correlation=set_correlation(question.expression, drawn, rng),
        overlap=overlap_null(question.expression, drawn, rng),
    )


def inner_correlation(ranks: np.ndarray, question: Question) -> np.ndarray:
    """(sets,) mean correlation within each set."""
    ptr, members = question.sets.ptr, question.sets.members
    out = []
    for start, stop in pairwise(ptr):
        part = ranks[:, members[start:stop]]
        own = (part**2).sum()
        out.append(((part.sum(axis=1) ** 2).sum() / own - 1.0) / (stop - start - 1.0))
    return np.array(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("sets")
    parser.add_argument("-o", "--out")
    parser.add_argument("--features", type=int, default=300)
    args = parser.parse_args()
    adata = anndata.read_h5ad(args.data)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    embedding = sc.pp.pca(adata, n_comps=20, copy=True, random_state=0).obsm["X_pca"]
    rng = np.random.default_rng(0)
    n_active = np.exp(rng.uniform(np.log(30), np.log(1_500), args.features)).astype(np.int64)
    codes = matched_directions(embedding, n_active, rng)
    expression = prepare_expression(adata.X)
    symbols = adata.var["human_symbol"].astype(str).tolist()
    question = prepare_question(expression, symbols, read_gmt(args.sets), {}, EvidenceOptions(), rng)
    sets = question.sets
    result: dict[str, object] = {
        "features": args.features, "cells": adata.n_obs, "genes": int(sets.genes.size), "sets": int(sets.names.size)
    }  # fmt: skip

    permuted = permuted_codes(codes, expression.strata, rng)
    tested = rank_sum(expression, active_contrast(permuted, expression.strata, expression.sizes))
    result["permuted cells, features with a gene"] = {
        name: float((np.nanmax(np.abs(z), axis=1) >= Family(z.copy(), "z").critical(0.05)).mean())
        for name, z in (("normal tail", tested.z), ("calibrated tail", tested.calibrated))
    }
    result["permuted cells, features with a set"] = {
        "genes independent": shares(test_codes(permuted, independent(question))),
        "all of the calibration": shares(test_codes(permuted, question)),
    }
    ranks = expression.standard_ranks(np.arange(expression.n_cells), sets.genes)
    plain = inner_correlation(ranks, question)
    ranks -= ranks.mean(axis=1, keepdims=True)
    centred = inner_correlation(ranks, question)
    result["median correlation within a set"] = {
        "of ranks": float(np.median(plain)), "each cell's mean taken out": float(np.median(centred))
    }  # fmt: skip

    mean = expression.linear_total[sets.genes]
    free = np.concatenate([np.sort(rng.choice(sets.genes.size, m, replace=False)) for m in sets.sizes])
    drawn = {
        "any expression": free,
        "like expression": random_sets(sets.sizes, sets.members, mean, rng),
        "like expression and correlation": random_sets(sets.sizes, sets.members, mean, rng, ranks),
    }
    random: dict[str, object] = {}
    for name, members in drawn.items():
        other = with_sets(question, members, rng)
        reached = inner_correlation(ranks, other)
        random[name] = {
            "against all genes": shares(test_codes(codes, against_all(other))),
            "against genes of like expression": shares(test_codes(codes, other)),
            "mean correlation within a set": float(reached.mean()),
            "correlation over sets with that of the real ones": float(np.corrcoef(reached, centred)[0, 1]),
        }
    result["sets of random genes, strong features with a set"] = random
    result["real sets, features with a set"] = {
        "against all genes": shares(test_codes(codes, against_all(question))),
        "against genes of like expression": shares(test_codes(codes, question)),
        "mean correlation within a set": float(centred.mean()),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
