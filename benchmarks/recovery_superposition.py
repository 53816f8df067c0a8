"""Are hidden variables in the embedding as superpositions, by completeness and architecture; can they be found unaided?

Usage: python benchmarks/recovery_superposition.py [--seeds 0 1 2 3 4] [--latents 20 100 150 1000] [--variants 2-narrow ...] [--published] [--into FILE]
Adds to benchmarks/results/recovery_superposition.json, a row an embedding and truth level; --published, the paper's sizes, to
recovery_superposition_published.json.
"""

import argparse
from pathlib import Path

from recovery_common import Rows, cells, embedded

from cellprism.recovery import Task, score
from cellprism.recovery.methods import codes_of

LEVELS = ["X2", "X1", "X0", "A", "B"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--latents", type=int, nargs="+", default=[20, 100, 150, 1000])
    parser.add_argument("--variants", nargs="+", default=["2-narrow"], help="depth-shape, such as 4-narrow or 2-wide")
    parser.add_argument("--published", action="store_true", help="20,000 genes and the published training")
    parser.add_argument("--into", type=Path, help="another file of rows")
    arguments = parser.parse_args()
    published: bool = arguments.published
    rows = Rows(
        arguments.into or f"recovery_superposition{'_published' * published}.json",
        ["latent", "depth", "shape", "seed", "level"],
    )
    for seed in arguments.seeds:
        adata = cells(seed, published=published)
        for variant in arguments.variants:
            depth, shape = int(variant.split("-")[0]), variant.split("-")[1]
            for latent in arguments.latents:
                about = {"latent": latent, "depth": depth, "shape": shape, "seed": seed}
                if rows.has(**about):
                    continue
                changed: dict[str, object] = {"depth": depth, "shape": shape} if variant != "2-narrow" else {}
                if depth > 2 and not published:
                    changed["lr"] = 5e-4  # a deeper stack needs a lower rate to train at all
                if latent >= 1_000 and not published:
                    changed["epochs"] = 12  # each pass is dear, and few of them suffice
                Z, model = embedded(adata, seed=seed, published=published, latent=latent, **changed)
                rows.add([about | row for row in describe(Task.of(adata, Z, seed=seed), model.validation_loss, seed)])
                print(about, model.validation_loss, flush=True)


def describe(task: Task, loss: float, seed: int) -> list[dict[str, object]]:
    probes = task.ceiling.variables
    truth = task.held_truth.only(*LEVELS)
    found = {name: score(codes_of(name, task, seed), truth).levels.set_index("level") for name in
             ("embedding", "pca-embedding", "ica-embedding")}  # fmt: skip
    rows = []
    for level in LEVELS:
        part = probes[probes["level"] == level]
        row: dict[str, object] = {
            "level": level,
            "validation_loss": loss,
            "r2": float(part["r2"].mean()),
            "r2_lowest": float(part["r2"].min()),
            "r2_visible": float(part["r2_visible"].mean()) if part["r2_visible"].notna().any() else float("nan"),
            "share_readable": float((part["abs_r"] > 0.95).mean()),
        }
        for name, levels in found.items():
            row[name] = float(levels.loc[level, "mean_best_abs_r"])
            row[f"{name}_share"] = float(levels.loc[level, "share_over_0.95"])
        row["null"] = float(levels.loc[level, "null_mean_best_abs_r"])
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
