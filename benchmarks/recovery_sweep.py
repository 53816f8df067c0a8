"""The paper's sweeps over width, sparsity and learning rate, each SAE scored against the truth.

Usage: python benchmarks/recovery_sweep.py small [--full] | large [--short] [--latents 20 150 1000] [--variants ...] -o DIR
Writes DIR/sweep-*.parquet and the landscape figures; finished groups are kept in DIR/parts, so a stopped sweep goes on.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellprism.embed.autoencoder import AutoencoderModel
from cellprism.recovery import Task, grid, sweep
from cellprism.recovery.plots import landscape
from cellprism.recovery.presets import PRESETS
from cellprism.recovery.sweep import PAPER_VARIANTS

METRICS = ["n_live", "l0", "redundant", "mean_best_abs_r", "share_over_0.95"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("simulation", choices=["small", "large"])
    parser.add_argument("--full", action="store_true", help="all published learning rates")
    parser.add_argument(
        "--short", action="store_true", help="three widths and 20 epochs at 1e-3: a look in ten minutes"
    )
    parser.add_argument("--epochs", type=int, help="instead of the published ones")
    parser.add_argument("--factors", type=int, nargs="+", help="features a dimension, instead of the published ones")
    parser.add_argument("--variants", nargs="+", default=list(PAPER_VARIANTS))
    parser.add_argument("--latents", type=int, nargs="+", default=[20, 150, 1000], help="of the large simulation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    size = PRESETS["small" if arguments.simulation == "small" else "reduced"]
    adata = size.simulate(arguments.seed)
    for latent in [4] if arguments.simulation == "small" else arguments.latents:
        options = dict(size.autoencoder) | {"latent": latent}
        train = adata[(adata.obs["split"] == "train").to_numpy()]
        model = AutoencoderModel.fit(train, transform="none", seed=arguments.seed, **options)
        Z: NDArray[np.float32] = model.encode(adata)
        trials = grid(
            arguments.simulation,
            arguments.variants,
            full=arguments.full,
            factors=arguments.factors or ([5, 20, 50] if arguments.short else None),
            epochs=arguments.epochs or (20 if arguments.short else None),
        )
        if arguments.short:
            trials = [_faster(trial) for trial in trials]
        task = Task.of(adata, Z, seed=arguments.seed)
        table = sweep(
            task, trials, seed=arguments.seed, folder=arguments.output / "parts" / f"latent{latent}", report=_say
        )
        name = f"sweep-{arguments.simulation}-latent{latent}-seed{arguments.seed}"
        table.to_parquet(arguments.output / f"{name}.parquet", index=False)
        for x in ("width", "l0", "l1"):
            figure = landscape(table, x, [m for m in METRICS if m != x], level=size.level)
            figure.savefig(arguments.output / f"{name}-{x}.png", dpi=110)


def _faster(trial: Any) -> Any:
    import dataclasses

    return dataclasses.replace(trial, lr=1e-3)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
