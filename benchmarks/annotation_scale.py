"""How the time and memory of `annotate` grow with cells, genes and active codes, up to the paper's size.

Usage: python benchmarks/annotation_scale.py [--full | --full-only] [-o RESULT.json] [--plot PICTURE.png]

Counts are simulated: gene rates log-normal over genes, depths log-normal over cells, ten cell types that each raise
3 % of the genes, so that about a tenth of all counts is not zero. Each point runs in a process of its own, so that its
peak memory is its own. CPU seconds are given beside wall seconds. ``--full`` adds 57,000 cells x 13,400 genes, width
10,000, 5,000 sets.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from cellprism.features.annotate import annotate

BASE = {"cells": 6_000, "genes": 4_000, "width": 1_000, "active": 300, "sets": 500}
GRID = {"cells": (3_000, 6_000, 12_000, 24_000), "genes": (2_000, 4_000, 8_000), "active": (75, 150, 300, 600, 1_200)}
FULL = {"cells": 57_000, "genes": 13_400, "width": 10_000, "active": 300, "sets": 5_000}


def simulate(cells: int, genes: int, seed: int = 0) -> tuple[sp.csr_array, np.ndarray]:
    """Log-normalised counts, block by block, and a ten-dimensional embedding of the types."""
    rng = np.random.default_rng(seed)
    rate = rng.lognormal(-3.0, 1.3, genes)
    raised = np.where(rng.random((10, genes)) < 0.03, 4.0, 1.0)
    kind = rng.integers(0, 10, cells)
    blocks = []
    for start in range(0, cells, 1_000):
        part = kind[start : start + 1_000]
        counts = rng.poisson(rate * raised[part] * rng.lognormal(0.0, 0.4, (part.size, 1))).astype(np.float32)
        counts *= 1e4 / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
        blocks.append(sp.csr_array(np.log1p(counts)))
    embedding = np.eye(10)[kind] * 3.0 + rng.standard_normal((cells, 10))
    return sp.csr_array(sp.vstack(blocks)), embedding


def one(cells: int, genes: int, width: int, active: int, sets: int) -> dict[str, float]:
    expression, embedding = simulate(cells, genes)
    rng = np.random.default_rng(1)
    n_active = np.clip(rng.lognormal(np.log(active), 0.6, width), 30, cells // 3).astype(np.int64)
    noise = 1.5 * rng.standard_normal((cells, 1))
    lists = []
    for start in range(0, width, 100):  # a block at a time: all heights at once would be the largest array of the run
        height = embedding @ rng.standard_normal((10, min(100, width - start))) + noise
        for f in range(height.shape[1]):
            n = n_active[start + f]
            lists.append(np.argpartition(-height[:, f], n)[:n].astype(np.int32))
    rows = np.concatenate(lists)
    ptr = np.concatenate([[0], np.cumsum(n_active)])
    codes = sp.csc_array((np.ones(rows.size, dtype=np.float32), rows, ptr), (cells, width)).tocsr()
    del height, lists, rows
    names = [f"G{i}" for i in range(genes)]
    gene_sets = {f"S{i}": [names[g] for g in rng.choice(genes, rng.integers(10, 120), False)] for i in range(sets)}
    annotate(codes[:, :20], expression, names, {"S0": gene_sets["S0"]}, nulls=())  # compile
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start, busy = time.perf_counter(), time.process_time()
    found = annotate(codes, expression, names, gene_sets, embedding=embedding)
    return {
        "cells": cells,
        "genes": genes,
        "width": width,
        "sets": sets,
        "active_codes": int(codes.nnz),
        "stored_values": int(expression.nnz),
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - busy,
        "peak_rss_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "rss_before_gib": before,
        "gene_rows": len(found.genes),
        "set_rows": len(found.sets),
    }


def measure(point: dict[str, int]) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", json.dumps(point)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def plot(result: dict[str, list[dict[str, float]]], path: str) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(GRID), figsize=(10, 3), sharey=True, layout="constrained")
    for axis, (name, key) in zip(
        axes, (("cells", "cells"), ("genes", "genes"), ("active", "active_codes")), strict=True
    ):
        axis.plot([p[key] for p in result[name]], [p["cpu_seconds"] for p in result[name]], "o-")
        axis.set(xlabel=key.replace("_", " "), xlim=(0, None), ylim=(0, None))
    axes[0].set_ylabel("CPU seconds")
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--full-only", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--plot")
    parser.add_argument("-o", "--out")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(**json.loads(args.one))))
        return
    result: dict = {}
    if not args.full_only:
        result = {name: [measure(BASE | {name: value}) for value in values] for name, values in GRID.items()}
    if args.full or args.full_only:
        result["full"] = measure(FULL)
    result["load_average"] = os.getloadavg()[0]
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        Path(args.out).write_text(text + "\n", encoding="utf-8")
    if args.plot and not args.full_only:
        plot(result, args.plot)


if __name__ == "__main__":
    main()
