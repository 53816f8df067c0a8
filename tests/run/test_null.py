"""Cells of one type through the whole run: next to nothing may be named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from annotation_end_to_end_null import named_share

import cellprism as prism
from cellprism.run.nulls import null_codes


def test_cells_of_one_type_are_not_named() -> None:
    """Three repeats of the benchmark at a small size; twenty stand in docs/statistics.md."""
    options = {"seeds": 1, "width": 32, "k": 4, "epochs": 10}
    rows = [named_share(300, 150, seed, **options) for seed in range(3)]
    assert np.mean([row["named"] for row in rows]) <= 0.05
    assert min(row["features"] for row in rows) >= 10


def test_the_largest_seed_serves_all_random_choices() -> None:
    X, largest = np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32), 2**31 - 1
    fitted = prism.fit(X, prism.SAEConfig(8, "batchtopk", k=2), seed=largest, seeds=2, epochs=1)
    codes = fitted.sae.encode(X)
    assert set(null_codes(("untrained", "shuffled"), fitted, X, codes, seed=largest)) == {"untrained", "shuffled"}
    assert not prism.evaluate(fitted.sae, X, preset="full", rivals=(), seed=largest, epochs=1).table.empty
