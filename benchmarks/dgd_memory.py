"""Peak memory of the deep generative decoder on 60,000 cells x (13,431 genes + 100,000 peaks).

    python benchmarks/dgd_memory.py benchmarks/results

Counts as sparse as multiome data (7 % of genes, 3 % of peaks; 236 million numbers). Training is stopped after some steps:
memory does not grow after the first ones.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
from common import machine
from scipy import sparse

from cellprism.embed.dgd import DGDModel

CELLS = 60_000
FEATURES = {"rna": (13_431, 0.07), "atac": (100_000, 0.03)}


class EnoughError(Exception):
    """Time is up."""


def made(n: int, g: int, density: float, rng: np.random.Generator) -> sparse.csr_matrix:
    """Counts, row by row: the same number of distinct features a cell."""
    per = int(g * density)
    columns = np.empty(n * per, np.int32)
    for i in range(n):
        # Distinct features by strides with a random start, jittered: cheap, and no cell has one twice.
        columns[i * per : (i + 1) * per] = np.arange(per) * (g // per) + rng.integers(0, g // per, per)
    values = (1 + rng.poisson(0.5, n * per)).astype(np.float32)
    return sparse.csr_matrix((values, columns, np.arange(n + 1) * per), shape=(n, g))


def peak() -> float:
    """Largest resident size so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main(results: str, seconds: int = 60, start: str = "zero") -> None:
    mudata.set_options(pull_on_update=False)
    rng = np.random.default_rng(0)
    parts = {}
    for name, (g, density) in FEATURES.items():
        X = made(CELLS, g, density, rng)
        obs = pd.DataFrame(index=[f"c{i}" for i in range(CELLS)])
        parts[name] = ad.AnnData(X, obs=obs, var=pd.DataFrame(index=[f"{name}{i}" for i in range(g)]))
    held = sum(p.X.data.nbytes + p.X.indices.nbytes + p.X.indptr.nbytes for p in parts.values()) / 2**30
    cells = mudata.MuData(parts)
    before = peak()

    def stop(*_: Any) -> None:
        raise EnoughError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    finished = True
    try:
        DGDModel.fit(cells, epochs=1, start=start, device="cpu")
    except EnoughError:
        finished = False
    row = {
        "cells": CELLS,
        "features": {m: g for m, (g, _) in FEATURES.items()},
        "start": start,
        "counts_gb": round(held, 2),
        "peak_before_gb": round(before, 2),
        "peak_gb": round(peak(), 2),
        "seconds": seconds,
        "finished": finished,
    }
    print(row, flush=True)
    out = Path(results) / "dgd_memory.json"
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    rows = [r for r in rows if r["start"] != start] + [row]
    out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]), *sys.argv[3:4])
