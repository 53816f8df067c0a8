"""Time and memory of `cellprism run` as a whole on one Zarr store: does memory stay within bounds while cells grow tenfold?

    python benchmarks/large_run.py [--cells 10000 100000 1000000] [--genes 2000] [--memory-limit 0] [--keep FOLDER] [-o RESULT.json]

Stores are made by ``simulate large`` (Poisson counts, 150 a cell in the median, 7 % of the genes seen), with 100 programmes and 400
random sets of 40 genes as gene sets and cell types as labels. Every run is ``run --embed pca`` with all else as it comes, in a process of its
own: counts split, principal components, UMAP, automatic recipe, three seeds, five nulls, evaluation, page; then ``verify``, and the page
asked of ``serve``. Memory is what the process itself holds (RssAnon, read every 50 ms), by step; mapped pages, which the system takes
back when it likes, are given apart. ``--memory-limit 0`` keeps the expression of the small stores on disk as well, so that the same path is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from common import machine

COMPONENTS = 30


class Steps(threading.Thread):
    """Seconds of each step, and the peaks of the process's own memory and of mapped files in it, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.rows: list[dict[str, Any]] = []
        self._begun = time.perf_counter()
        self.begin("start")

    def begin(self, name: str) -> None:
        """End the step that is going on, and begin another."""
        now = time.perf_counter()
        if self.rows:
            self.rows[-1]["seconds"] = round(now - self._begun, 1)
        self._begun = now
        self.rows.append({"step": name, "seconds": 0.0, "own_mib": 0, "mapped_mib": 0})

    def run(self) -> None:
        """Read the kernel's figures until the process ends."""
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            values = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines if line.startswith("Rss")}
            row = self.rows[-1]
            row["own_mib"] = max(row["own_mib"], round(values["RssAnon"]))
            row["mapped_mib"] = max(row["mapped_mib"], round(values["RssFile"]))
            time.sleep(0.05)


def gene_sets(store: Path, file: Path) -> None:
    """The simulated programmes and random sets, as GMT."""
    import zarr

    members = zarr.open_group(store, mode="r")["varm/program_gene"][:] > 0
    rng = np.random.default_rng(0)
    sets = {f"programme {p}": np.flatnonzero(column) for p, column in enumerate(members.T)}
    sets |= {f"random {s}": rng.choice(len(members), 40, replace=False) for s in range(400)}
    lines = ["\t".join([name, "", *(f"gene{g}" for g in genes)]) for name, genes in sets.items()]
    file.write_text("\n".join(lines) + "\n")


def one(store: Path, sets: Path, output: Path, limit: float) -> dict[str, Any]:
    """Run one store."""
    from cellprism.run import RunOptions, run

    options = RunOptions(
        data=store,
        output=output,
        embed="pca",
        components=COMPONENTS,
        gene_sets=(str(sets),),
        labels=("cell_type",),
        memory_limit=limit,
        overwrite=True,
    )
    steps = Steps()
    steps.start()
    begun, load = time.perf_counter(), os.getloadavg()[0]
    folder = run(options, steps.begin)
    seconds = time.perf_counter() - begun
    steps.begin("end")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "cells": folder.codes.shape[0],
        "genes": sum(folder.info["modalities"]["expression"].values()),
        "features": folder.info["metrics"]["width"],
        "active_codes": int(folder.codes.nnz),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "own_mib": max(row["own_mib"] for row in steps.rows),
        "mapped_mib": max(row["mapped_mib"] for row in steps.rows),
        "timings": folder.info["timings"],
        "folder_mib": round(sum(p.stat().st_size for p in output.rglob("*") if p.is_file()) / 2**20),
        "steps": steps.rows[:-1],
    }


def opened(output: Path) -> dict[str, Any]:
    """Whether the folder verifies, and what `serve` answers."""
    begun = time.perf_counter()
    verified = subprocess.run([sys.executable, "-m", "cellprism", "verify", output], check=False, capture_output=True)
    command = [sys.executable, "-m", "cellprism", "serve", output, "--port", "8791"]
    serving = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status, size, tried = 0, 0, time.perf_counter()
    try:
        while not status and time.perf_counter() - tried < 600 and serving.poll() is None:
            try:
                with urllib.request.urlopen("http://127.0.0.1:8791/", timeout=300) as answer:
                    status, size = answer.status, len(answer.read())
            except OSError:
                time.sleep(1)
        peak = next(
            line for line in Path(f"/proc/{serving.pid}/status").read_text().splitlines() if line.startswith("VmHWM")
        )
    finally:
        serving.terminate()
        serving.wait()
    return {
        "verified": verified.returncode == 0,
        "verify_seconds": round(tried - begun, 1),
        "served_status": status,
        "served_bytes": size,
        "served_after_seconds": round(time.perf_counter() - tried, 1),
        "serve_peak_mib": round(int(peak.split()[1]) / 1024),
    }


def main() -> None:
    """Make each store, run it in a process of its own, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", nargs="*", type=int, default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--genes", type=int, default=2_000)
    parser.add_argument("--memory-limit", type=float, default=0.0)
    parser.add_argument("--keep", type=Path, help="folder for stores and runs; stores that are there are used")
    parser.add_argument("--one", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "large_run.json")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one, args.memory_limit)))
        return
    rows = json.loads(args.output.read_text())["rows"] if args.output.exists() else []
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        for n in args.cells:
            store, run = folder / f"cells-{n}.zarr", folder / f"run-{n}"
            if not store.exists():
                size = ["--n-cells", str(n), "--n-genes", str(args.genes)]
                noise = ["--noise", "poisson", "--library-size", "150"]
                command = [sys.executable, "-m", "cellprism", "simulate", "large", "-o", store, *size, *noise]
                subprocess.run(command, check=True)
            gene_sets(store, folder / "sets.gmt")
            command = [sys.executable, __file__, "--one", store, folder / "sets.gmt", run]
            limit = ["--memory-limit", str(args.memory_limit)]
            done = subprocess.run([*command, *limit], stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                raise SystemExit(done.returncode)
            rows.append(json.loads(done.stdout.splitlines()[-1]) | {"memory_limit": args.memory_limit} | opened(run))
            print(rows[-1], flush=True)
            args.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
