"""The everyday job: `cellprism run --embed pca` with GO sets on 30,000 cells x 16,791 genes; seconds and memory of each step.

    python benchmarks/everyday.py GO_SETS.gmt FOLDER [--source ../other/src]

The cells are simulated under the names of the sets' genes: ten types, eight programmes, 1,300 genes seen a cell. They are kept in FOLDER, and
made once. One thread of linear algebra, as two wait for each other. Prints JSON; of two commits both sides are run on one machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import machine

CELLS, GENES = 30_000, 16_791


def simulated(sets: Path) -> ad.AnnData:
    """Counts under the names of the sets' genes."""
    rng = np.random.default_rng(0)
    known = sorted({g for line in sets.read_text().splitlines() for g in line.split("\t")[2:] if g})[:GENES]
    names = known + [f"X{i}" for i in range(GENES - len(known))]
    rate = rng.lognormal(-3.4, 1.3, GENES)
    types = np.where(rng.random((10, GENES)) < 0.03, 4.0, 1.0)
    programmes = np.where(rng.random((8, GENES)) < 0.02, 3.0, 1.0)
    kind, on = rng.integers(0, 10, CELLS), rng.random((CELLS, 8)) < 0.2
    blocks = []
    for start in range(0, CELLS, 500):
        here = slice(start, start + 500)
        mean = rate * types[kind[here]] * np.exp(on[here].astype(float) @ np.log(programmes))
        blocks.append(sp.csr_matrix(rng.poisson(mean * rng.lognormal(0, 0.4, (500, 1))).astype(np.float32)))
    obs = pd.DataFrame({"type": [f"t{i}" for i in kind]}, index=[f"c{i}" for i in range(CELLS)])
    return ad.AnnData(sp.vstack(blocks).tocsr(), obs=obs, var=pd.DataFrame(index=names))


def held(process: int) -> float:
    """MiB that a process holds now."""
    try:
        return int(Path(f"/proc/{process}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def main() -> None:
    """Run it and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--source", type=Path, default=Path(__file__).resolve().parents[1] / "src")
    args = parser.parse_args()
    data, out = args.folder / "everyday.h5ad", args.folder / "run"
    if not data.is_file():
        simulated(args.sets).write_h5ad(data)
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "cellprism", "run", str(data), "--embed", "pca", "--labels", "type"]
    begun, seen = time.time(), []
    process = subprocess.Popen(
        [*command, "--gene-sets", str(args.sets), "-o", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(args.source), "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None:
        seen.append((time.time(), held(process.pid)))
        time.sleep(0.25)
    if process.returncode:
        raise SystemExit(f"the run ended with {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    steps = [json.loads(line) for line in (out / "run.log").read_text().splitlines()]
    starts = [begun] + [datetime.fromisoformat(step["time"]).timestamp() for step in steps]
    told = {}
    for at, end, name in zip(starts, [*starts[1:], time.time()], ["start", *(s["step"] for s in steps)], strict=True):
        if end - at >= 2:
            told[name[:60]] = {
                "seconds": round(end - at),
                "MiB": round(max((m for t, m in seen if at <= t < end), default=0)),
            }
    whole = {"wall": round(time.time() - begun, 1), "cpu": round(used.ru_utime + used.ru_stime, 1)}
    print(json.dumps({"machine": machine(), **whole, "MiB": round(max(m for _, m in seen)), "steps": told}, indent=1))


if __name__ == "__main__":
    main()
