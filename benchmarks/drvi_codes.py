"""DRVI's codes of every data set, kept as files that `evaluation.py --codes` holds dictionaries against: docs/evaluation.md.

    python benchmarks/drvi_codes.py DATA_FOLDER CODES_FOLDER [--sets paul …] [--seed N]

Minutes of training a data set, apart from the evaluation since DRVI's own requirements are large (`cellprism[drvi]`). The
codes are those that `prism.evaluate(..., rivals=["drvi"])` would fit.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import scipy.sparse as sp
from evaluation import SETS, cells

from cellprism.evaluation.rivals import fit_rival


def main() -> None:
    """Train on each set that has no file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("codes", type=Path)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.codes.mkdir(parents=True, exist_ok=True)
    for name in args.sets:
        target = args.codes / f"{name}.drvi.npz"
        if target.exists():
            continue
        file, truth = SETS[name]
        _, log, _ = cells(args.folder / f"{file}.h5ad", truth)
        start = time.perf_counter()
        codes = fit_rival("drvi", log, 64, seed=args.seed).encode(log)
        sp.save_npz(target, sp.csr_matrix(codes))
        print(name, codes.shape, f"{time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
