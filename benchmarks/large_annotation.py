"""Time and memory of `annotate` on expression that stays in its store: does memory stay flat while cells grow tenfold?

    python benchmarks/large_annotation.py [--cells 10000 100000 1000000] [--genes 2000] [--width 512] [--k 16] [-o RESULT.json]

Counts of 5 % of the genes a cell are written chunk by chunk to a Zarr store (CSR), codes to a file that is mapped. Every point runs in a
process of its own; memory is what the process itself holds at its peak (RssAnon), with mapped pages apart (see `large.py`). Up
to ``--both`` cells the same call is made from memory too, and the largest difference between the tables is written down.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import machine
from large import Watch

CHUNK = 50_000
PROGRAMMES, MEMBERS = 40, 50


def write(folder: Path, n: int, genes: int, width: int, k: int) -> None:
    """Counts (CSR on Zarr), codes and labels of so many cells, made chunk by chunk."""
    import anndata as ad
    import zarr

    rng = np.random.default_rng(0)
    rate = rng.gamma(0.3, 0.13, genes)
    boost = np.zeros((PROGRAMMES, genes))
    for programme in boost:
        programme[rng.choice(genes, MEMBERS, replace=False)] = 0.3
    store = zarr.open_group(folder / "cells.zarr", mode="w", zarr_format=2)
    ptr = np.zeros(n + 1, np.int32)
    codes_ptr, kinds = np.arange(n + 1, dtype=np.int64) * k, np.empty(n, np.int64)
    values = np.lib.format.open_memmap(folder / "values.npy", "w+", np.float32, (n * k,))
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.int32, (n * k,))
    for start in range(0, n, CHUNK):
        rows = min(CHUNK, n - start)
        kind = rng.integers(PROGRAMMES, size=rows)
        counts = sp.csr_matrix(
            np.vstack([rng.poisson(rate + boost[q]) for q in np.array_split(kind, 50)]), dtype=np.float32
        )
        ptr[start + 1 : start + rows + 1] = ptr[start] + counts.indptr[1:]
        if start == 0:
            ad.io.write_elem(store, "X", counts)
        else:
            ad.io.sparse_dataset(store["X"]).append(counts)
        # a cell's own programme has its features, the rest are any
        own = kind[:, None] + PROGRAMMES * np.arange(k // 2)[None, :]
        others = rng.integers(width, size=(rows, k - own.shape[1]))
        part = np.sort(np.concatenate([own % width, others], axis=1), axis=1)
        features[start * k : (start + rows) * k] = part.ravel()
        values[start * k : (start + rows) * k] = rng.gamma(2.0, 1.0, rows * k)
        kinds[start : start + rows] = kind
    np.save(folder / "kinds.npy", kinds)
    np.save(folder / "codes_ptr.npy", codes_ptr)


def one(folder: Path, genes: int, width: int, stored: bool) -> dict[str, Any]:
    """Annotate one store."""
    import anndata as ad
    import zarr

    import cellprism as prism
    from cellprism.data.sparse import as_csr
    from cellprism.data.state import to_log1p
    from cellprism.data.stored import stored_expression

    rng = np.random.default_rng(1)
    names = [f"G{g}" for g in range(genes)]
    sets = {f"set {s}": [names[g] for g in rng.choice(genes, 40, replace=False)] for s in range(500)}
    small = sp.random_array((300, genes), density=0.05, random_state=rng, dtype=np.float32, format="csr")
    prism.annotate(
        sp.random_array((300, 8), density=0.3, random_state=rng, format="csr"), small, names, sets
    )  # compiled once
    watch = Watch()
    watch.start()
    parts = (np.load(folder / f"{name}.npy") for name in ("values", "features", "codes_ptr"))
    kinds = np.load(folder / "kinds.npy")
    matrix = ad.io.sparse_dataset(zarr.open(folder / "cells.zarr", mode="r")["X"])
    codes = sp.csr_array(tuple(parts), (matrix.shape[0], width))
    codes.sum_duplicates()
    start = time.perf_counter()
    expression: Any = stored_expression(matrix) if stored else to_log1p(as_csr(matrix.to_memory()), "counts")
    found = prism.annotate(codes, expression, names, sets, labels={"kind": kinds.astype(str)}, nulls=("permuted",))
    seconds = time.perf_counter() - start
    tables = {name: getattr(found, name) for name in ("features", "genes", "sets", "labels")}
    for name, table in tables.items():
        table.to_pickle(folder / f"{name}-{'stored' if stored else 'memory'}.pkl")
    return {
        "cells": matrix.shape[0], "genes": genes, "features": width, "stored_values": int(matrix.group["data"].shape[0]),
        "expression": "stored" if stored else "in memory", "seconds": round(seconds, 1), "own_mib": round(watch.own),
        "mapped_mib": round(watch.mapped), "cells_a_second": round(matrix.shape[0] / seconds),
        "significant_genes": len(found.genes),
    }  # fmt: skip


def difference(folder: Path) -> float:
    """Largest difference of any number between the tables of both ways, relative above 1."""
    worst = 0.0
    for name in ("features", "genes", "sets", "labels"):
        a, b = (pd.read_pickle(folder / f"{name}-{way}.pkl") for way in ("stored", "memory"))
        pd.testing.assert_index_equal(a.index, b.index)
        for column in a.select_dtypes("number"):
            x, y = a[column].to_numpy(np.float64), b[column].to_numpy(np.float64)
            worst = max(worst, float(np.nanmax(np.abs(x - y) / np.maximum(np.abs(y), 1), initial=0.0)))
    return worst


def main() -> None:
    """Write each store, annotate it in a process of its own, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--both", type=int, default=100_000)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--memory", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(__file__).parent / "results" / "large_annotation.json"
    )
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(args.one, args.genes, args.width, not args.memory)))
        return
    rows = json.loads(args.output.read_text())["rows"] if args.output.exists() else []
    for n in args.cells:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write(folder, n, args.genes, args.width, args.k)
            for way in ([], ["--memory"])[: 2 if n <= args.both else 1]:
                command = [
                    sys.executable,
                    __file__,
                    "--one",
                    name,
                    "--genes",
                    str(args.genes),
                    "--width",
                    str(args.width),
                ]
                done = subprocess.run([*command, *way], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                rows.append(json.loads(done.stdout.splitlines()[-1]))
                if way:
                    rows[-1]["largest_difference"] = difference(folder)
                print(rows[-1], flush=True)
                args.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
