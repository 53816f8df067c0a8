"""How much does each method recover? Five seeds of the large simulation at a fortieth of the paper's genes.

Usage: python benchmarks/recovery_methods.py [--seeds 0 1 2 3 4] [--methods NAME ...] [--again] [--published] [--into FILE]
Adds to benchmarks/results/recovery_methods.json, a row a method, seed and truth level; --published, the paper's genes and training, to
recovery_methods_published.json.
"""

import argparse
import time
from pathlib import Path

from recovery_common import Rows, cells, embedded

from cellprism.recovery import METHODS, Task, compare

LEVELS = ["X2", "X1", "X0", "A", "B"]
KEPT = [
    "share_over_0.95",
    "share_over_0.9",
    "share_over_0.8",
    "mean_best_abs_r",
    "null_mean_best_abs_r",
    "mcc",
    "null_mcc",
    "mean_best_abs_r_visible",
    "mean_auroc",
    "null_mean_auroc",
    "eta2",
    "n_split",
    "n_merged",
    "disentanglement",
    "completeness",
    "ceiling_share_over_0.95",
    "ceiling_mean_abs_r",
    "n_live",
    "l0",
    "redundant",
    "seconds",
]
# The published recipes run for 500 epochs at a rate of 1e-4; here for a tenth of that at ten times the rate.
PAPER = {"lr": 1e-3, "epochs": 50}
PUBLISHED = {"lr": 1e-4, "epochs": 500}
OPTIONS = {
    "paper-vanilla": PAPER,
    "paper-relu": PAPER,
    "paper-topk": PAPER,
    "topk": {"epochs": 200},
    "batchtopk": {"epochs": 200},
    "shuffled": {"epochs": 50},
    "ica-data": {"components": 120},
    "nmf-data": {"components": 100},  # told the number of programs, as cnmf is
}
ORDER = ["probe", "embedding", "pca-embedding", "ica-embedding", "pca-data", "ica-data", "svd-data", "nmf-data", "untrained",
         "shuffled", "ldvae", "cnmf", "batchtopk", "topk", "cellprism", "paper-vanilla", "vae-gaussian", "vae-laplace", "vae-cauchy",
         "paper-relu", "paper-topk", "dictionary-learning"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=ORDER, choices=list(METHODS))
    parser.add_argument("--again", action="store_true", help="run methods that have results already, as after a change")
    parser.add_argument("--published", action="store_true", help="20,000 genes and the published training")
    parser.add_argument("--into", type=Path, help="another file of rows")
    arguments = parser.parse_args()
    published: bool = arguments.published
    options = OPTIONS | dict.fromkeys([m for m in OPTIONS if m.startswith("paper-")], PUBLISHED if published else PAPER)
    rows = Rows(arguments.into or f"recovery_methods{'_published' * published}.json", ["method", "seed", "level"])
    for seed in arguments.seeds:
        wanted = [
            m
            for m in arguments.methods
            if METHODS[m].installed and (arguments.again or not rows.has(method=m, seed=seed))
        ]
        if not wanted:
            continue
        started = time.perf_counter()
        adata = cells(seed, published=published)
        Z, model = embedded(adata, seed=seed, published=published, latent=150)
        task = Task.of(adata, Z, seed=seed)
        print(
            f"seed {seed}: validation loss {model.validation_loss:.3g}, {time.perf_counter() - started:.0f} s",
            flush=True,
        )
        for method in wanted:
            found = compare(task, [method], seed=seed, options=options, report=lambda line: print(line, flush=True))
            table = found.summary[found.summary["level"].isin(LEVELS)]
            rows.add([{"method": method, "seed": seed, "level": row["level"]} | {k: row[k] for k in KEPT} for row in
                      table.to_dict("records")])  # fmt: skip


if __name__ == "__main__":
    main()
