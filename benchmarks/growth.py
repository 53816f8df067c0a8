"""Run 20 samples in a row in one process, and see whether its memory or its open files grow.

python benchmarks/growth.py --samples 20
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import threading
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def resident() -> float:
    """MiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def held() -> dict[str, float]:
    """What this process holds: memory, open files, threads."""
    gc.collect()
    files = len(list(Path("/proc/self/fd").iterdir()))
    return {"mib": round(resident(), 1), "files": files, "threads": threading.active_count()}


def measure(samples: int) -> list[dict[str, float]]:
    """What the process holds after each run."""
    from helpers import counts_adata, type_sets

    from cellprism.genesets import write_gmt
    from cellprism.run import RunOptions, run

    found = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_gmt(type_sets(60), folder / "sets.gmt")
        for i in range(samples):
            counts_adata(200, 60, seed=i).write_h5ad(folder / f"{i}.h5ad")
            options = {"embed": "pca", "components": 5, "width": 12, "k": 3, "seeds": 2, "epochs": 40}
            options |= {"gene_sets": (str(folder / "sets.gmt"),), "labels": ("cell_type",)}
            run(RunOptions(data=folder / f"{i}.h5ad", output=folder / f"run-{i}", **options))
            found.append(held())
            print(i, found[-1], flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=20)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found = measure(arguments.samples)
    half = len(found) // 2
    grown = {key: found[-1][key] - found[half][key] for key in found[0]}
    target = Path(__file__).parent / "results" / "growth.json"
    target.write_text(json.dumps({"after_each_run": found, "second_half_grew_by": grown}, indent=1) + "\n")
    print(f"over the second half: {grown}")
