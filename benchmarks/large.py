"""Time and memory of `fit` and `encode` on a memory map of many cells: does memory stay flat while cells grow tenfold?

    python benchmarks/large.py [--cells 10000 100000 1000000] [--d 512] [--width 4096] [--k 32] [--recipe] [--memory-limit BYTES ...]
        [-o RESULT.json]

Embeddings of programmes (10 of 200 active in a cell) plus noise, written chunk by chunk to a file of float32 that is mapped. Every
point runs in a process of its own. Memory is the peak of what the process itself holds (RssAnon, read every 50 ms); resident pages of the
map, which the system takes back when it likes, are given apart (RssFile at its peak). ``--recipe`` lets the automatic recipe choose instead of
training one BatchTopK dictionary for one epoch. With several memory limits each file is fitted under each in turn: 0 reads all batches
from disk, 1e10 holds the cells; 50,000 codes
of the first are compared with those of the others, which encode no more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from common import machine

CHUNK = 50_000
FEW = 50_000  # cells of which codes are compared


def write(file: Path, n: int, d: int) -> None:
    """An embedding (n, d) on disk, made chunk by chunk."""
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(200, d)).astype(np.float32)
    out = np.lib.format.open_memmap(file, "w+", np.float32, (n, d))
    for start in range(0, n, CHUNK):
        rows = min(CHUNK, n - start)
        active = rng.random((rows, 200)) < 0.05
        codes = active * rng.gamma(3.0, 0.3, (rows, 200))
        out[start : start + rows] = codes.astype(np.float32) @ directions + 0.3 * rng.normal(size=(rows, d))
    out.flush()


class Watch(threading.Thread):
    """Peaks of the process's own memory and of mapped files, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.own = self.mapped = 0.0

    def run(self) -> None:
        """Read the kernel's figures until the process ends."""
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            values = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
            self.own, self.mapped = max(self.own, values["RssAnon"]), max(self.mapped, values["RssFile"])
            time.sleep(0.05)


def one(file: str, width: int, k: int, recipe: bool, memory_limit: float | None, most: int) -> dict[str, Any]:
    """Fit one file, and encode it or its first cells."""
    import cellprism as prism

    watch = Watch()
    prism.fit(np.random.default_rng(0).normal(size=(2_000, 8)), prism.SAEConfig(16, k=2), epochs=1)  # compiled once
    watch.start()
    X = np.load(file, mmap_mode="r")
    config = None if recipe else prism.SAEConfig(width, k=k)
    options: dict[str, Any] = {} if recipe else {"epochs": 1, "patience": None}
    if memory_limit is not None:
        options["memory_limit"] = memory_limit
    start = time.perf_counter()
    fitted = prism.fit(X, config, **options)
    fit_seconds, fit_own = time.perf_counter() - start, watch.own
    start = time.perf_counter()
    codes = fitted.sae.encode(X[:most])
    encode_seconds = time.perf_counter() - start
    few = codes[:FEW]
    np.savez(f"{file}.{memory_limit}.npz", data=few.data, indices=few.indices, indptr=few.indptr)
    codes_mib = (codes.data.nbytes + codes.indices.nbytes + codes.indptr.nbytes) / 2**20
    return {
        "cells": X.shape[0],
        "d": X.shape[1],
        "width": fitted.sae.width,
        "method": "recipe" if recipe else f"batchtopk, k {k}, one epoch",
        "memory_limit": memory_limit,
        "fit_seconds": round(fit_seconds, 1),
        "fit_own_mib": round(fit_own),
        "trained_cells_a_second": round(0.9 * len(X) / fit_seconds),
        "encoded_cells": codes.shape[0],
        "encode_seconds": round(encode_seconds, 1),
        "encode_own_mib": round(watch.own),
        "codes_mib": round(codes_mib),
        "mapped_mib": round(watch.mapped),
        "explained_variance": round(float(fitted.metrics["explained_variance"]), 4),
    }


def difference(one: str, other: str) -> float:
    """Largest difference of two files of codes."""
    a, b = (sp.csr_array((f["data"], f["indices"], f["indptr"])) for f in (np.load(one), np.load(other)))
    width = max(a.shape[1], b.shape[1])
    a.resize(a.shape[0], width)
    b.resize(b.shape[0], width)
    return float(abs(a - b).max())


def main() -> None:
    """Write each file, run it in a process of its own, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--width", type=int, default=4_096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--recipe", action="store_true")
    parser.add_argument("--memory-limit", type=float, nargs="*", default=[None])
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--most", type=int, default=10**12, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "large.json")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.width, args.k, args.recipe, args.memory_limit[0], args.most)))
        return
    rows = json.loads(args.output.read_text())["rows"] if args.output.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        for n in args.cells:
            file = Path(folder) / "X.npy"
            write(file, n, args.d)
            for limit in args.memory_limit:
                command = [sys.executable, __file__, "--one", str(file), "--width", str(args.width), "--k", str(args.k)]
                command += ["--recipe"] if args.recipe else []
                command += [] if limit is None else ["--memory-limit", str(limit)]
                command += [] if limit is args.memory_limit[0] else ["--most", str(FEW)]
                done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                if limit is not args.memory_limit[0]:
                    rows[-1]["codes_differ_by"] = difference(
                        *(f"{file}.{m}.npz" for m in (args.memory_limit[0], limit))
                    )
                print(rows[-1], flush=True)
                args.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
