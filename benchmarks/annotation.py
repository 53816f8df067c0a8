"""Time `annotate` on the marrow workload beside the published loop, scanpy and illico on a few features each.

Usage: python benchmarks/annotation.py DATA.h5ad SETS.gmt [--features 10000] [--codes directions|cells]
           [--reference CHECKOUT --reference-script SCRIPT] [-o RESULT.json]

Active cells a feature are drawn log-uniform from 30 to 1,500, so no feature is untestable. With "directions" the codes
are random directions of 30 principal components above the threshold that leaves that many cells: half of all
(feature, gene) pairs are significant and the tables are as long as they get. With "cells" the active cells are drawn
at random: the tables hold little more than the 100 strongest a feature. CPU seconds are given beside wall seconds, so
that runs on a busy machine can be judged.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp

from cellprism.features.annotate import annotate
from cellprism.features.evidence import test_codes
from cellprism.features.options import EvidenceOptions
from cellprism.features.question import prepare_question
from cellprism.stats.contrast import check_codes
from cellprism.stats.expression import prepare_expression
from cellprism.stats.nulls import matched_directions


def read_sets(path: str) -> dict[str, list[str]]:
    rows = (line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines())
    return {name: members for name, _, *members in rows}


def workload(
    data: str, n_features: int, kind: str = "directions", seed: int = 0
) -> tuple[anndata.AnnData, np.ndarray, sp.csr_array]:
    adata = anndata.read_h5ad(data)
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    embedding = sc.pp.pca(adata, n_comps=30, copy=True, random_state=0).obsm["X_pca"]
    rng = np.random.default_rng(seed)
    n_active = np.exp(rng.uniform(np.log(30), np.log(1_500), n_features)).astype(np.int64)
    if kind == "directions":
        return adata, embedding, matched_directions(embedding, n_active, rng).tocsr()
    rows = np.concatenate([rng.choice(adata.n_obs, n, replace=False) for n in n_active])
    ptr = np.concatenate([[0], np.cumsum(n_active)])
    codes = sp.csc_array((rng.gamma(2.0, 1.0, rows.size).astype(np.float32), rows, ptr), (adata.n_obs, n_features))
    return adata, embedding, codes.tocsr()


def timed(call: Callable[[], object], repeats: int = 3) -> tuple[float, float, object]:
    """Median wall and CPU seconds of a call, and its last result."""
    wall, cpu, out = [], [], None
    for _ in range(repeats):
        out = None  # the last result must not count into the next one's memory
        start, busy = time.perf_counter(), time.process_time()
        out = call()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    return float(np.median(wall)), float(np.median(cpu)), out


def scanpy_rate(adata: anndata.AnnData, codes: sp.csr_array, n: int) -> float:
    """Features a second of scanpy's tie-corrected rank-sum over all genes, one feature a call."""
    active = codes[:, :n].toarray() > 0

    def run() -> None:
        for f in range(n):
            adata.obs["active"] = pd.Categorical(np.where(active[:, f], "yes", "no"))
            sc.tl.rank_genes_groups(
                adata, "active", groups=["yes"], reference="no", method="wilcoxon", tie_correct=True
            )

    return n / timed(run)[0]


def illico_rate(adata: anndata.AnnData, codes: sp.csr_array, n: int) -> float | None:
    """Features a second of illico's rank-sum over all genes, one feature a call; None where it is not installed."""
    if importlib.util.find_spec("illico") is None:
        return None
    from illico import asymptotic_wilcoxon

    active = codes[:, :n].toarray() > 0
    plain = anndata.AnnData(sp.csr_matrix(adata.X), obs=pd.DataFrame(index=adata.obs_names))

    def run() -> None:
        for f in range(n):
            plain.obs["active"] = np.where(active[:, f], "yes", "no")
            asymptotic_wilcoxon(plain, group_keys="active", reference="no", is_log1p=True, n_threads=2)

    run()  # compile
    return n / timed(run)[0]


def reference_rate(script: str, checkout: str, data: str, sets: str, n: int) -> float:
    """Features a second of the published loop (Welch, then binomial and Mann-Whitney a set)."""
    command = [sys.executable, script, checkout, data, sets, str(n)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.rsplit(" ", 1)[-1])


def statistics_alone(codes: sp.csr_array, adata: anndata.AnnData, sets: dict[str, list[str]]) -> None:
    """Genes and sets of all features: preparation and tests, without nulls and tables."""
    symbols, columns = adata.var["human_symbol"].astype(str).tolist(), check_codes(codes)
    options = EvidenceOptions(set_size=(10, 500))
    question = prepare_question(prepare_expression(adata.X), symbols, sets, {}, options, np.random.default_rng(0))
    test_codes(columns, question)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("sets")
    parser.add_argument("--features", type=int, default=10_000)
    parser.add_argument("--reference", help="checkout of the published tool")
    parser.add_argument("--reference-script", help="script that times it and prints features a second last")
    parser.add_argument("--codes", choices=("directions", "cells"), default="directions")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rivals", type=int, default=10, help="features on which rivals are timed; 0 for none")
    parser.add_argument("-o", "--out")
    args = parser.parse_args()
    adata, embedding, codes = workload(args.data, args.features, args.codes)
    sets = read_sets(args.sets)

    def whole(width: int = args.features) -> object:
        return annotate(
            codes[:, :width],
            adata.X,
            adata.var_names,
            sets,
            symbols=adata.var["human_symbol"].astype(str).tolist(),
            embedding=embedding,
            set_size=(10, 500),
        )

    whole(50)  # compile
    seconds, cpu, found = timed(whole, args.repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    result = {
        "workload": {
            "cells": adata.n_obs,
            "genes": adata.n_vars,
            "sets": found.info["n_sets"],
            "features": args.features,
            "active_codes": int(codes.nnz),
        },
        "codes": args.codes,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "features_per_second": args.features / seconds,
        "peak_rss_gib": peak,
        "rows": {"genes": len(found.genes), "sets": len(found.sets)},
        "shares": found.shares.to_dict("list"),
    }
    del found
    alone, alone_cpu, _ = timed(lambda: statistics_alone(codes, adata, sets), args.repeats)
    result |= {"statistics_seconds": alone, "statistics_cpu_seconds": alone_cpu}
    result["statistics_features_per_second"] = args.features / alone
    if args.rivals:
        result["scanpy_rank_sum_features_per_second"] = scanpy_rate(adata, codes, args.rivals)
        result["illico_rank_sum_features_per_second"] = illico_rate(adata, codes, args.rivals)
    if args.reference:
        result["published_loop_features_per_second"] = reference_rate(
            args.reference_script, args.reference, args.data, args.sets, 3
        )
    result["load_average"] = os.getloadavg()[0]
    result["machine"] = {"cores": len(os.sched_getaffinity(0)), "cpu": platform.machine()}
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
