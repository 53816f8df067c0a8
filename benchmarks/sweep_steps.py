"""What a training step of the published forms costs on the embedding of the small sweep: four dimensions, batches of 128.

Usage: python benchmarks/sweep_steps.py [--widths 8 80 800 4000]
Writes benchmarks/results/sweep_steps.json: microseconds a step and nanoseconds a cell and feature, one thread, the quickest of
several whole epochs, evaluation left out; and what the steps of the whole small grid cost by them.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from cellprism.recovery import Trial, grid
from cellprism.sae import SAE
from cellprism.sae.cells import Cells
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions

RESULTS = Path(__file__).parent / "results" / "sweep_steps.json"
N, D, BATCH = 10_000, 4, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 80, 800, 4_000])
    widths = parser.parse_args().widths
    torch.set_num_threads(1)
    X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
    rows = []
    for trial in grid("small", factors=[w // D for w in widths]):
        if trial.variant != "topk" and trial.l1 != 1e-3:
            continue
        width = trial.factor * D
        seconds = epoch_seconds(X, trial)
        row = {"variant": trial.variant, "k_percent": trial.k_percent, "width": width}
        row |= {"us_a_step": seconds / -(-N // BATCH) * 1e6, "ns_a_feature": seconds / (N * width) * 1e9}
        rows.append({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()})
        print(rows[-1], flush=True)
    total = sum(cost(trial, rows) * trial.epochs for trial in grid("small"))
    print(f"all steps of the small grid: {total:.0f} CPU seconds")
    RESULTS.write_text(json.dumps({"steps": rows, "grid_cpu_seconds": round(total)}, indent=1) + "\n")


def epoch_seconds(X: np.ndarray, trial: Trial) -> float:
    """Seconds of an epoch."""
    config = trial.config(D)
    sae = SAE(config, fit_scaling(X, config.scaling, config.whiten_power), torch.Generator().manual_seed(0))
    cells, held = (Cells(sae, X, rows) for rows in (np.arange(N), np.arange(0)))
    options = TrainingOptions(lr=trial.lr, epochs=100, batch_size=BATCH, warmup=0.0, decay=0.0, max_grad_norm=None,
                              patience=None, holdout=0.0)  # fmt: skip
    trainer = Trainer(sae, cells, held, options, torch.Generator().manual_seed(1), 0)
    times = []
    for _ in range(6 if trial.factor * D >= 800 else 20):
        order = torch.randperm(N, generator=trainer.generator)
        started = time.perf_counter()
        if trainer.whole_epoch is None:
            raise SystemExit("no compiled epoch takes " + repr(config))
        rates = np.array([trainer.learning_rate(trainer.done + t) for t in range(trainer.per_epoch)])
        trainer.whole_epoch(order, rates)
        times.append(time.perf_counter() - started)
        trainer.done += trainer.per_epoch
    return min(times[1:])


def cost(trial: Trial, rows: list[dict[str, object]]) -> float:
    """Seconds of an epoch of this trial, on the line through the nearest measured widths."""
    of = [r for r in rows if r["variant"] == trial.variant and r["k_percent"] == trial.k_percent]
    steps = -(-N // BATCH)
    return float(np.interp(trial.factor * D, [r["width"] for r in of], [r["us_a_step"] for r in of])) * steps * 1e-6


if __name__ == "__main__":
    main()
