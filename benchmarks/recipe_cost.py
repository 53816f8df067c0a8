"""What the automatic recipe costs, in fits of the fixed default: both sides in one run.

python benchmarks/recipe_cost.py pbmc --preset quick --preset standard
python benchmarks/recipe_cost.py 20000x100 --preset standard
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine

from cellprism.demo import demo_cells
from cellprism.sae import default_config, fit
from cellprism.sae.recipe import choose_recipe


def embedding(name: str) -> np.ndarray:
    """The demo's cells, or a random mixture of gated programs of a shape such as 20000x100."""
    if name == "pbmc":
        return np.asarray(demo_cells().obsm["X_pca"], dtype=np.float32)
    n, d = map(int, name.split("x"))
    rng = np.random.default_rng(0)
    gate = rng.random((40, d)) < 0.3
    programs = rng.poisson(1 + 0.1 * np.arange(d), (n, d)) * gate[rng.integers(40, size=n)]
    return np.asarray(programs @ rng.normal(size=(d, d)) + rng.normal(size=(n, d)), dtype=np.float32)


def timed(call: Any) -> tuple[Any, float, float]:
    """Result, wall-clock and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["pbmc", "3000x30", "20000x100"])
    parser.add_argument("--preset", action="append")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "recipe_cost.json")
    options = parser.parse_args()
    rows = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    for name in options.names:
        X = embedding(name)
        choose_recipe(X[:500], preset="quick")  # loads what both sides have compiled
        _, wall, cpu = timed(lambda X=X: fit(X, default_config(X)))
        for preset in options.preset or ["quick", "standard"]:
            recipe, wall_choice, cpu_choice = timed(lambda X=X, p=preset: choose_recipe(X, preset=p))
            # The fit that follows costs one fit of the default, or one reading, which is within the choice's own cost.
            row = {
                "embedding": name,
                "preset": preset,
                "candidates": len(recipe.scouts),
                "one_fit": {"wall": wall, "cpu": cpu},
                "choice": {"wall": wall_choice, "cpu": cpu_choice},
                "choice_and_fit_over_one_fit": {"wall": wall_choice / wall + 1, "cpu": cpu_choice / cpu + 1},
            }
            rows = [r for r in rows if (r["embedding"], r["preset"]) != (name, preset)] + [row]
            options.output.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
