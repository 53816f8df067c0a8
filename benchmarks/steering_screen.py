"""Speed of ``screen``: features a second, each against all ordered pairs of labels.

python benchmarks/steering_screen.py benchmarks/results
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import machine
from scipy import sparse

from cellprism.steering import screen

SIZES = [(3_000, 20, 1_000, 10), (20_000, 20, 10_000, 20), (50_000, 50, 4_000, 30)]
"""Cells, dimensions, features, labels."""


@dataclass
class Dictionary:
    """Codes as given; a linear decoder."""

    codes: sparse.csr_array
    directions: np.ndarray

    def encode(self, X: Any) -> sparse.csr_array:
        """Codes."""
        return self.codes

    def decode(self, codes: Any) -> np.ndarray:
        """Reconstruction."""
        return np.asarray(codes @ self.directions)


def main(results: str, repeats: int = 3) -> None:
    rows = []
    for n, d, width, labels in SIZES:
        rng = np.random.default_rng(0)
        codes = sparse.random_array((n, width), density=20 / width, format="csr", dtype=np.float32, random_state=rng)
        sae = Dictionary(sparse.csr_array(codes), rng.standard_normal((width, d)).astype(np.float32))
        Z = sae.decode(codes) + rng.standard_normal((n, d)).astype(np.float32)
        label = rng.integers(0, labels, n).astype(str)
        taken = []
        for _ in range(repeats):
            start = time.process_time()
            table = screen(sae, Z, label, codes=sae.codes)
            taken.append(time.process_time() - start)
        seconds = float(np.median(taken))
        row = {
            "cells": n,
            "dimensions": d,
            "features": width,
            "labels": labels,
            "rows": len(table),
            "cpu_seconds": round(seconds, 2),
            "features_per_second": round(width / seconds),
            "pairs_per_second": round(len(table) / seconds),
        }
        print(row, flush=True)
        rows.append(row)
    (Path(results) / "steering_screen.json").write_text(
        json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:2])
