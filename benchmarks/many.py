"""Many models at once against one by one: the paper's small sweep, and ten seeds of one model.

Usage: python benchmarks/many.py [--epochs N] [--every N] [--only whole|sweep|seeds] [--json FILE]

Both sides run in one process. `--only whole` trains all epochs of the 160 configurations by `fit_many`. The published
loop is timed by the step at each width, since a step's cost does not depend on the learning rate or the penalty.

`--only sweep` computes the whole from parts: `fit_many` trains the configurations twice, for 50 and for 100 epochs
(`--epochs` gives another number to double); both make the same 50 evaluations, so that the difference is the cost of 50
epochs and the rest is fixed. `--every 10` takes every tenth configuration, two a width, and computes the rest from
these. One model of every width, of another learning rate and penalty each, is trained again alone and by automatic
differentiation, twice, the second time at a learning rate that differs by a millionth: loss, L0 and recovery of the
true variables of `fit_many` are held against those of the first, beside what the second says of how far a training
repeats itself at all (at a rate of 1e-2 it does not). Times are wall-clock and CPU seconds: on a machine that does
other work, the CPU seconds are the ones to compare (they give no credit for the second core).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from common import clock, machine

from cellprism.sae import SAE, Fit, SAEConfig, fit, fit_many

EPOCHS = {1e-2: 100, 1e-3: 500, 1e-4: 750, 1e-5: 1000}
WIDTHS = [4 * f for f in (2, 5, 10, 20, 50, 100, 200, 1000)]
PENALTIES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5]
CELLS, BATCH = 12_000, 128
PER_EPOCH = -(-CELLS // BATCH)


def small_world(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stand-in for the small simulation's embedding (12,000 cells, 4), and its true variables (cells, 12)."""
    rng = np.random.default_rng(seed)
    a = rng.poisson(2, CELLS)[:, None]
    b = rng.random((CELLS, 3)) < [0.5, 0.1, 0.9]
    rna = (a * b) @ np.array([[0, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0, 0, 0, 1, 1]])
    return (rna @ rng.standard_normal((5, 4)) / 5).astype(np.float32), np.hstack([rna, a * b, a, b])


def recovery(sae: SAE, X: np.ndarray, truth: np.ndarray) -> float:
    """Mean over true variables of the largest absolute correlation with a feature."""
    codes = sae.encode(X[::6]).toarray()
    codes = codes[:, codes.std(axis=0) > 0]
    if not codes.shape[1]:
        return 0.0
    n = truth.shape[1]
    both = np.corrcoef(truth[::6].T.astype(float), codes.T)[:n, n:]
    return float(np.abs(both).max(axis=1).mean())


def published_loop(X: torch.Tensor, width: int, lr: float, l1: float, steps: int) -> dict[str, float]:
    """The paper's training loop; time of all steps but the first ten, by step."""
    torch.manual_seed(0)
    encoder, decoder = torch.nn.Linear(4, width), torch.nn.Linear(width, 4)
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=lr)
    loader = torch.utils.data.DataLoader(X, batch_size=BATCH, shuffle=True)
    done, started = 0, clock()
    while done < steps + 10:
        for x in loader:
            if done == 10:
                started = clock()
            codes = torch.relu(encoder(x))
            loss = torch.nn.functional.mse_loss(decoder(codes), x) + l1 * codes.abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            loss.item()
            done += 1
            if done >= steps + 10:
                break
    return {k: v / steps for k, v in started.since().items()}


def distance(a: Fit, b: Fit, X: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Relative differences of two trainings' outcomes; the loss is the mean of the last five evaluations' batches."""
    pairs = {
        "loss": [fit.history["loss"].iloc[-5:].mean() for fit in (a, b)],
        "l0": [fit.metrics["l0"] for fit in (a, b)],
        "recovery": [recovery(fit.sae, X, truth) for fit in (a, b)],
    }
    return {name: float(abs(x - y) / max(abs(x), 1e-12)) for name, (x, y) in pairs.items()}


OPTIONS = {
    "batch_size": BATCH,
    "holdout": 0.0,
    "patience": None,
    "max_grad_norm": None,
    "warmup": 0.0,
    "decay": 0.0,
}


def configurations(every: int = 1) -> tuple[list[SAEConfig], list[float], list[int]]:
    """Configurations of the sweep, their learning rates and epochs."""
    grid = [(w, lr, n, l1) for w in WIDTHS for lr, n in EPOCHS.items() for l1 in PENALTIES][::every]
    return [SAEConfig.paper("vanilla", w, l1=l1) for w, _, _, l1 in grid], [g[1] for g in grid], [g[2] for g in grid]


def one_by_one(X: np.ndarray) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """Seconds of the published loop for all configurations, from its step at every width; and that step's."""
    per_step = {width: published_loop(torch.as_tensor(X), width, 1e-3, 1e-3, 150) for width in WIDTHS}
    steps = sum(EPOCHS.values()) * len(PENALTIES) * PER_EPOCH
    return {k: steps * sum(step[k] for step in per_step.values()) for k in ("wall", "cpu")}, per_step


def whole_sweep() -> dict[str, object]:
    """All epochs of all configurations by ``fit_many``."""
    X, truth = small_world()
    configs, lrs, epochs = configurations()
    fit_many(X, configs[::20], epochs=1, **OPTIONS)  # compiles what any width needs
    started = clock()
    many = fit_many(X, configs, lr=lrs, epochs=epochs, **OPTIONS)
    batched = started.since()
    published, _ = one_by_one(X)
    return {
        "configurations": len(configs),
        "epochs": sum(epochs),
        "fit_many_seconds": batched,
        "one_by_one_seconds": published,
        "times_faster": {k: published[k] / batched[k] for k in batched},
        "recovery": [recovery(f.sae, X, truth) for f in many],
    }


def sweep(short: int, every: int) -> dict[str, object]:
    """The sweep computed from parts, and its models beside twins trained alone."""
    X, truth = small_world()
    configs, lrs, full = configurations(every)
    everything = sum(configurations()[2])
    fit_many(X, configs[:: len(configs) // len(WIDTHS)], epochs=1, **OPTIONS)  # compiles what any width needs
    took, lengths = [], [[short] * len(full), [2 * short] * len(full)]
    for epochs in lengths:
        started = clock()
        many = fit_many(X, configs, lr=lrs, epochs=epochs, **OPTIONS)
        took.append(started.since())
    # a step's cost depends on the width alone, and every width has the same share of the epochs
    more = (everything / every - short * len(full)) / (short * len(full))
    batched = {k: every * (took[0][k] + more * (took[1][k] - took[0][k])) for k in took[0]}
    published, per_step = one_by_one(X)
    # The twins: a model of every width again, alone and by automatic differentiation, and once more at a rate that differs
    # by a millionth: where that changes the outcome, no other training can be expected to repeat it.
    twins, a_width = [], len(configs) // len(WIDTHS)
    for i in (a_width * n + 7 * n % a_width for n in range(len(WIDTHS))):
        alone, nudged = (
            fit(X, configs[i], lr=lrs[i] * factor, epochs=epochs[i], kernel="dense", **OPTIONS)
            for factor in (1.0, 1 + 1e-6)
        )
        about = {"width": configs[i].width, "lr": lrs[i], "l1": configs[i].l1}
        twins.append(
            about | {"fit_many": distance(alone, many[i], X, truth), "dense": distance(alone, nudged, X, truth)}
        )
    steady = [t["fit_many"] for t in twins if max(t["dense"].values()) <= 0.02]
    return {
        "configurations": every * len(configs),
        "configurations_trained": len(configs),
        "epochs_run": sum(epochs) / len(epochs),
        "epochs_of_the_sweep": everything / (every * len(full)),
        "one_by_one_seconds": published,
        "fit_many_seconds": batched,
        "times_faster": {k: published[k] / batched[k] for k in batched},
        "published_ms_per_step": {w: {k: 1e3 * v for k, v in t.items()} for w, t in per_step.items()},
        "relative_differences_to_dense_twin": twins,
        "largest_where_dense_repeats_itself": {
            name: max(t[name] for t in steady) for name in ("loss", "l0", "recovery")
        }
        if steady
        else None,
    }


def ten_seeds() -> dict[str, object]:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((80, 20))
    X = ((rng.random((4096, 80)) < 0.1) @ directions).astype(np.float32)
    results: dict[str, object] = {}
    for name, config in {
        "relu": SAEConfig(2048, "relu"),
        "topk": SAEConfig(2048, "topk", k=32),
        "batchtopk": SAEConfig(2048, "batchtopk", k=32),
    }.items():
        options = {"batch_size": 128, "epochs": 20, "holdout": 0.0, "patience": None}
        fit(X[:256], config, epochs=1)  # compiles
        started = clock()
        for seed in range(10):
            fit(X, config, seed=seed, kernel="dense", **options)
        dense = started.since()
        started = clock()
        fit(X, config, seeds=10, **options)
        together = started.since()
        results[name] = {
            "ten_dense_seconds": dense,
            "seeds_10_seconds": together,
            "times_faster": {k: dense[k] / together[k] for k in dense},
        }
    return results


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=("whole", "sweep", "seeds"))
    parser.add_argument("--epochs", type=int, default=50, help="of the shorter run of the sweep; a multiple of 50")
    parser.add_argument(
        "--every", type=int, default=1, choices=(1, 2, 5, 10), help="train every so many configurations"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict[str, object] = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    about = {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
    if args.only in (None, "whole"):
        result["whole_sweep"] = about | whole_sweep()
    if args.only in (None, "sweep"):
        result["sweep"] = about | sweep(args.epochs, args.every)
    if args.only in (None, "seeds"):
        result["ten_seeds"] = about | ten_seeds()
    print(json.dumps(result, indent=2))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
