"""What reading batches from disk costs a training: the same fit from disk and from memory, in turn, in one process.

    python benchmarks/large_reading.py [--cells 30000] [--rounds 2] [-o RESULT.json]

Processor seconds are given beside those of the clock, since they do not mind other work on the machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine
from large import write

import cellprism as prism


def main() -> None:
    """Fit in turn, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "results" / "large_reading.json")
    args = parser.parse_args()
    config, rows = prism.SAEConfig(4_096, k=32), []
    with tempfile.TemporaryDirectory() as folder:
        write(file := Path(folder) / "X.npy", args.cells, 512)
        X = np.load(file, mmap_mode="r")
        prism.fit(X[:2_000], config, epochs=1)  # compiled once
        for _ in range(args.rounds):
            for where, limit in (("disk", 0.0), ("memory", 1e10)):
                clock, processor = time.perf_counter(), time.process_time()
                prism.fit(X, config, epochs=1, patience=None, memory_limit=limit)
                row: dict[str, Any] = {"cells": args.cells, "from": where}
                row |= {"seconds": round(time.perf_counter() - clock, 1)}
                row |= {"processor_seconds": round(time.process_time() - processor, 2)}
                rows.append(row)
                print(row, flush=True)
    args.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
