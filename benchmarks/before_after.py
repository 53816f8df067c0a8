"""Whether annotation and training take as long as at an earlier commit: both sides in one run, turn about.

    python benchmarks/before_after.py COMMIT [--pairs 7] [--only NAME…] [-o benchmarks/results/before_after.json]

COMMIT is checked out beside (`git worktree`) and taken away again. Every reading is a Python of its own that does its job
once to compile and then three times; the least of the three counts. The order within a pair alternates, and the ratio is
the median over pairs of processor seconds, new over old, with the range: the clock on the wall of a shared machine tells
about its neighbours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp

HERE = Path(__file__).resolve().parents[1]
ANNOTATIONS = ("annotate", "annotate wide")
TRAININGS: dict[str, tuple[dict[str, object], int, int]] = {
    "fused d5 w8": ({"activation": "relu", "width": 8}, 5, 30_000),
    "fused d20 w2,000": ({"activation": "relu", "width": 2_000}, 20, 4_000),
    "narrow d4 w80": ({"activation": "relu", "width": 80}, 4, 15_000),
    "coded d20 w2,000": ({"activation": "batchtopk", "width": 2_000, "k": 16}, 20, 8_000),
    "sparse d256 w2,048": ({"activation": "topk", "width": 2_048, "k": 16}, 256, 8_000),
    "dense d32 w32": ({"activation": "jumprelu", "width": 32, "k": 4}, 32, 30_000),
}  # options of the training, dimensions, cells


def annotation(*, wide: bool) -> Callable[[], object]:
    """Features along directions of an embedding; wide: ten times as many, active in cells drawn at random."""
    from annotation_scale import simulate

    from cellprism.features.annotate import annotate

    expression, embedding = simulate(4_000, 3_000)
    rng = np.random.default_rng(1)
    if wide:
        n_active = np.exp(rng.uniform(np.log(30), np.log(1_500), 4_000)).astype(np.int64)
        rows = np.concatenate([rng.choice(4_000, n, replace=False) for n in n_active])
        ptr = np.concatenate([[0], np.cumsum(n_active)])
        codes = sp.csc_array((rng.gamma(2.0, 1.0, rows.size).astype(np.float32), rows, ptr), (4_000, 4_000)).tocsr()
    else:
        codes = embedding @ rng.standard_normal((10, 400))
        codes = np.maximum(codes - np.quantile(codes, 0.93, axis=0), 0.0).astype(np.float32)
    names = [f"G{i}" for i in range(3_000)]
    sets = {f"S{i}": [names[g] for g in rng.choice(3_000, rng.integers(10, 120), False)] for i in range(300)}
    return lambda: annotate(codes, expression, names, sets, embedding=embedding)


def training(name: str) -> Callable[[], object]:
    from cellprism import SAEConfig, fit

    options, dims, cells = TRAININGS[name]
    embedding = np.random.default_rng(0).standard_normal((cells, dims)).astype(np.float32)
    config = SAEConfig(**options)  # type: ignore[arg-type]
    return lambda: fit(embedding, config, seed=0, epochs=80 if dims < 10 else 8)


def reading(name: str) -> float:
    """Least processor seconds of three, after one that compiles."""
    job = annotation(wide=name == "annotate wide") if name in ANNOTATIONS else training(name)
    job()
    taken = []
    for _ in range(3):
        start = time.process_time()
        job()
        taken.append(time.process_time() - start)
    return min(taken)


def measure(tree: Path, name: str) -> float:
    """The reading, by the package as it stands in ``tree``."""
    paths = os.pathsep.join([str(tree / "src"), str(HERE / "benchmarks")])
    command = [sys.executable, "-W", "ignore", __file__, "HEAD", "--read", name]
    said = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=True, capture_output=True, text=True)
    return float(said.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[*ANNOTATIONS, *TRAININGS])
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "benchmarks" / "results" / "before_after.json")
    args = parser.parse_args()
    if args.read:
        print(reading(args.read))
        return
    from common import machine

    result: dict[str, object] = {"machine": machine(), "commit": args.commit, "pairs": args.pairs}
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder) / "before"
        subprocess.run(["git", "-C", HERE, "worktree", "add", "--detach", "-q", old, args.commit], check=True)
        try:
            for name in args.only:
                pairs = []
                for turn in range(args.pairs):
                    sides = (old, HERE) if turn % 2 == 0 else (HERE, old)
                    seconds = {side: measure(side, name) for side in sides}
                    pairs.append((seconds[old], seconds[HERE]))
                ratios = sorted(new / before for before, new in pairs)
                result[name] = {
                    "old": statistics.median(before for before, _ in pairs),
                    "new": statistics.median(new for _, new in pairs),
                    "ratio": statistics.median(ratios),
                    "range": [ratios[0], ratios[-1]],
                }
                print(f"{name:20}", result[name], flush=True)
        finally:
            subprocess.run(["git", "-C", HERE, "worktree", "remove", "--force", old], check=True)
    args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
