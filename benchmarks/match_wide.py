"""Time and memory of matching two very wide dictionaries: ``python benchmarks/match_wide.py [WIDTH] [CELLS]``."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from common import machine

from cellprism.features.comparison import compare
from cellprism.features.dictionary import Dictionary
from cellprism.features.options import CompareOptions

ACTIVE = 32


def wide(rng: np.random.Generator, cells: int, width: int) -> sp.csr_array:
    """Codes with 32 active features a cell, of a few hundred kinds of cells that share most of theirs."""
    kinds = rng.integers(0, width, (500, 2 * ACTIVE))
    chosen = kinds[rng.integers(0, 500, cells)]
    chosen[:, ACTIVE:] = rng.integers(0, width, (cells, ACTIVE))
    rows = np.repeat(np.arange(cells), 2 * ACTIVE)
    codes = sp.csr_array((rng.gamma(2, 1, rows.size), (rows, chosen.ravel())), shape=(cells, width))
    codes.sum_duplicates()
    return codes


def main() -> None:
    width, cells = (int(sys.argv[i]) if len(sys.argv) > i else d for i, d in ((1, 50_000), (2, 20_000)))
    rng = np.random.default_rng(0)
    codes = wide(rng, cells, width)
    order = rng.permutation(width)
    half = sp.csr_array(codes[:, order].multiply(rng.random((1, width)) < 0.5))  # half of the features return
    half.eliminate_zeros()
    names = pd.DataFrame({"cell": [f"c{i}" for i in range(cells)]})
    features = pd.DataFrame({"feature": np.arange(width), "name": ""})
    start = time.perf_counter()
    found = compare(
        Dictionary(features, codes, names), Dictionary(features, half, names), CompareOptions(permutations=0)
    )
    seconds = time.perf_counter() - start
    partner = found.table["partner_feature"].to_numpy()
    returned = np.flatnonzero(np.diff(sp.csc_array(half).indptr) > 0)
    right = float((partner[order[returned]] == returned).mean())
    result = {
        "machine": machine(), "width": width, "cells": cells, "seconds": round(seconds, 1), "right": right,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }  # fmt: skip
    (Path(__file__).parent / "results" / "match_wide.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result)


if __name__ == "__main__":
    main()
