"""Programs that the recipe finds in simulations with known truth, beside the linear ceiling.

python benchmarks/recipe_recovery.py clean poisson-sqrt --seed 11 --output benchmarks/results/recipe_recovery.json

With `--auto quick` (or standard, thorough) the whole automatic recipe is measured instead of the geometric reading alone:
candidates, choice and final fit, from the embedding of the 20,000 training cells; its rows go to
benchmarks/results/recipe_auto.json. With `--seeds 2` they also say how well a feature's match in another seed predicts that
it is a program (AUROC). `--cache DIR` keeps the embeddings.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from recipe_worlds import N_TRAIN, WORLDS, embed
from sklearn.metrics import roc_auc_score

from cellprism.features.stability import fit_stability
from cellprism.recovery import probe, score
from cellprism.recovery.truth import Level, Truth
from cellprism.sae import SAEConfig, fit
from cellprism.sae.fit import Fit

FOUND = 0.95


def fitted(train: np.ndarray, seed: int, preset: str | None, seeds: int) -> Fit:
    """The geometric reading alone, or what the automatic recipe makes."""
    if preset is not None:
        return fit(train, preset=preset, seed=seed, seeds=seeds)
    config = SAEConfig(min(train.shape[1], 200), activation="jumprelu", init="geometry", pre_bias="none")
    return fit(train, config, seed=seed, seeds=seeds, holdout=0.0)


def stability_auroc(found: Fit, train: np.ndarray, best_of_feature: np.ndarray) -> dict[str, float | None]:
    """How well a feature's correlation with its match in another seed predicts that it is a program."""
    stable = fit_stability(found, train)["stability"].to_numpy() if found.siblings else np.zeros(0)
    if not len(stable):
        return {"stability_auroc": None, "true_features": None}
    live = np.isfinite(stable)
    true = best_of_feature[live] > FOUND
    auroc = float(roc_auc_score(true, stable[live])) if 0 < true.sum() < len(true) else None
    return {"stability_auroc": auroc, "true_features": float(true.mean()), "stability": float(stable[live].mean())}


def measure(name: str, seed: int, preset: str | None, seeds: int, cache: Path | None) -> dict[str, Any]:
    X, activities = embed(name, seed, cache)
    train, held = X[:N_TRAIN], X[N_TRAIN:]
    started, wall = time.process_time(), time.perf_counter()
    found = fitted(train, seed, preset, seeds)
    seconds = {"cpu_seconds": time.process_time() - started, "wall_seconds": time.perf_counter() - wall}
    expressed = activities.std(axis=0) > 0
    names = tuple(f"p{i}" for i in np.flatnonzero(expressed))
    known = Truth({"X2": Level(activities[:, expressed], names)})
    mask = np.arange(len(X)) >= N_TRAIN
    ceiling = probe(X, known, held_out=mask)
    codes = found.sae.encode(held)
    scores = score(codes, known.take(mask), ceiling=ceiling)
    shares = _shares(X, activities[:, expressed], names, mask, codes) if WORLDS[name].measured else {}
    v = scores.variables
    readable, hit = v["probe_abs_r"] > FOUND, v["best_abs_r"] > FOUND
    recipe = found.options.get("recipe", {})
    chosen = [row for row in recipe.get("scouts", ()) if row["chosen"]]
    return {
        "world": name,
        "seed": seed,
        "preset": preset,
        "dimensions": X.shape[1],
        "programs": len(v),
        "unexpressed": int((~expressed).sum()),
        "ceiling": float(readable.mean()),
        "found": float(hit.mean()),
        "found_of_readable": float((hit & readable).sum() / max(1, readable.sum())),
        "mean_best_abs_r": float(v["best_abs_r"].mean()),
        **shares,
        "live": scores.n_live,
        "features_a_program": scores.n_live / max(1, int(hit.sum())),
        "features_a_found_program": float(v.loc[hit, "n_features"].mean()) if hit.any() else None,
        "l0": scores.l0,
        "true_l0": float((activities > 0.3).sum(axis=1).mean()),
        "method": chosen[0]["method"] if chosen else "geometry",
        "agreement": chosen[0]["agreement"] if chosen else None,
        **stability_auroc(found, train, _best_of_features(codes, activities[N_TRAIN:, expressed])),
        **seconds,
        "reasons": recipe.get("reasons", []),
    }


def _shares(
    X: np.ndarray, activities: np.ndarray, names: tuple[str, ...], mask: np.ndarray, codes: Any
) -> dict[str, float]:
    """The same against each program's share of its cell's activity: counts over their total hold no more than that."""
    total = activities.sum(axis=1, keepdims=True)
    known = Truth({"X2": Level(np.divide(activities, total, out=np.zeros_like(activities), where=total > 0), names)})
    v = score(codes, known.take(mask), ceiling=probe(X, known, held_out=mask)).variables
    readable, hit = v["probe_abs_r"] > FOUND, v["best_abs_r"] > FOUND
    return {
        "share_ceiling": float(readable.mean()),
        "share_found": float(hit.mean()),
        "share_found_of_readable": float((hit & readable).sum() / max(1, readable.sum())),
    }


def _best_of_features(codes: Any, truth: np.ndarray) -> np.ndarray:
    """(width,) largest absolute correlation of each feature with a program."""
    values = codes.toarray().astype(np.float64)
    a, b = (x - x.mean(axis=0) for x in (values, truth.astype(np.float64)))
    scale = np.sqrt(np.square(a).sum(axis=0))[:, None] * np.sqrt(np.square(b).sum(axis=0))
    return np.abs(np.divide(a.T @ b, scale, out=np.zeros_like(scale), where=scale > 0)).max(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", default=list(WORLDS))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--auto", choices=("quick", "standard", "thorough"))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.output is None:
        name = "recipe_recovery.json" if options.auto is None else "recipe_auto.json"
        options.output = Path(__file__).parent / "results" / name
    for seed in options.seed or [11]:
        for name in options.worlds:
            row = measure(name, seed, options.auto, options.seeds, options.cache)
            rows = json.loads(options.output.read_text()) if options.output.exists() else []
            key = (name, seed, options.auto)
            rows = [r for r in rows if (r["world"], r["seed"], r.get("preset")) != key] + [row]
            options.output.write_text(json.dumps(rows, indent=1) + "\n")
            print(json.dumps({k: v for k, v in row.items() if k != "reasons"}), flush=True)


if __name__ == "__main__":
    main()
