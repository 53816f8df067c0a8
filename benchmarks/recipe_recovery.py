"""Programs that the geometric reading finds in simulations with known truth, beside the linear ceiling.

python benchmarks/recipe_recovery.py clean poisson-sqrt --seed 11 --output benchmarks/results/recipe_recovery.json

With `--auto quick` (or standard, thorough) the whole automatic recipe is measured instead: scouts, choice and final fit, from the
embedding alone; its rows go to benchmarks/results/recipe_auto.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from cellprism.recovery import probe, score
from cellprism.recovery.truth import Level, Truth
from cellprism.sae import SAE, SAEConfig
from cellprism.sae.recipe import fit_auto
from cellprism.sae.recipe_start import assemble, read_geometry
from cellprism.simulate.large import large
from cellprism.simulate.measurement import Measurement

POISSON, NB = {"noise": "poisson", "library_size": 20_000.0}, {"noise": "nb", "library_size": 20_000.0}
WORLDS = {
    # name: arguments of the simulation, measurement, transformation, principal components
    "clean": ({}, None, None, 100),
    "clean-40": ({"n_programs": 40}, None, None, 40),
    "clean-250-in-150": ({"n_programs": 250}, None, None, 150),
    "types-5": ({"n_cell_types": 5}, None, None, 100),
    "types-100": ({"n_cell_types": 100}, None, None, 100),
    "correlated": ({"program_correlation": 0.5}, None, None, 100),
    "continuous": ({"continuous": True}, None, None, 100),
    "dense-0.7": ({"p_type_program": 0.7}, None, None, 100),
    "poisson-sqrt": ({}, POISSON, np.sqrt, 100),
    "poisson-linear": ({}, POISSON, lambda x: x, 100),
    "nb-sqrt": ({}, NB, np.sqrt, 100),
    "nb-log-50": ({}, NB, np.log1p, 50),
    "in-64": ({}, None, None, 64),
    "in-20": ({}, None, None, 20),
}
N_TRAIN, N_HELD = 20_000, 2_000


def embed(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embedding by principal components in a random rotation, and the activities X''."""
    arguments, measured, transform, d = WORLDS[name]
    adata = large(
        N_TRAIN + N_HELD,
        2_000,
        seed=seed,
        structure_seed=seed,
        held_out=N_HELD,
        measurement=Measurement(**measured) if measured else None,
        **arguments,
    )
    Y = np.asarray(adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X, dtype=np.float64)
    if transform is not None:
        Y = transform(Y / Y.sum(axis=1, keepdims=True).clip(1) * 1e4)
    Y -= Y[:N_TRAIN].mean(axis=0)
    axes = np.linalg.eigh(Y[:N_TRAIN].T @ Y[:N_TRAIN])[1][:, ::-1][:, :d]
    rotation = np.linalg.qr(np.random.default_rng(seed + 99).normal(size=(d, d)))[0]
    return (Y @ axes @ rotation).astype(np.float32), np.asarray(adata.obsm["X2_truth"], dtype=np.float32)


def read(train: np.ndarray, seed: int) -> tuple[SAE, list[str]]:
    """The geometric reading alone, and its steps."""
    geometry = read_geometry(train, seed=seed)
    config = SAEConfig(len(geometry.readout), activation="jumprelu", init="geometry", pre_bias="none")
    return assemble(geometry, config, train), list(geometry.steps)


def choose(train: np.ndarray, seed: int, preset: str) -> tuple[SAE, list[str]]:
    """The automatic recipe, and its reasons."""
    fitted = fit_auto(train, preset=preset, seed=seed)
    return fitted.sae, list(fitted.options["recipe"]["reasons"])


def measure(name: str, seed: int, preset: str | None) -> dict[str, object]:
    X, activities = embed(name, seed)
    train, held = X[:N_TRAIN], X[N_TRAIN:]
    started = time.process_time()
    sae, steps = read(train, seed) if preset is None else choose(train, seed, preset)
    seconds = time.process_time() - started
    expressed = activities.std(axis=0) > 0
    names = tuple(f"p{i}" for i in np.flatnonzero(expressed))
    known = Truth({"X2": Level(activities[:, expressed], names)})
    mask = np.arange(len(X)) >= N_TRAIN
    ceiling = probe(X, known, held_out=mask)
    scores = score(sae.encode(held), known.take(mask), ceiling=ceiling)
    v = scores.variables
    readable = v["probe_abs_r"] > 0.95
    found = v["best_abs_r"] > 0.95
    return {
        "world": name,
        "seed": seed,
        "programs": len(v),
        "found": float(found.mean()),
        "ceiling": float(readable.mean()),
        "found_of_readable": float((found & readable).sum() / max(1, readable.sum())),
        "mean_best_abs_r": float(v["best_abs_r"].mean()),
        "features_a_program": float(v.loc[found, "n_features"].mean()) if found.any() else None,
        "width": sae.width,
        "l0": scores.l0,
        "true_l0": float((activities > 0.3).sum(axis=1).mean()),
        "cpu_seconds": seconds,
        "steps": steps,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", default=list(WORLDS))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--auto", choices=("quick", "standard", "thorough"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.output is None:
        name = "recipe_recovery.json" if options.auto is None else "recipe_auto.json"
        options.output = Path(__file__).parent / "results" / name
    rows = json.loads(options.output.read_text()) if options.output.exists() else []
    for name in options.worlds:
        row = measure(name, options.seed, options.auto)
        rows = [r for r in rows if (r["world"], r["seed"]) != (name, options.seed)] + [row]
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
