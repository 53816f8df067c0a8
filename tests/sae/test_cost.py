"""The cost model counts what it says, and its constants are those of the benchmark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cellprism.sae.ranks import cost
from cellprism.sae.ranks.cost import H100, H100_NODES, Machine, training_cost

RESULTS = json.loads(
    (Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "scaling.json").read_text(encoding="utf-8")
)
SHAPE: dict[str, Any] = {"cells": 10_000, "d": 100, "width": 1_000, "k": 8, "batch": 1_000}
FREE = 1e300


def test_products_are_counted() -> None:
    found = training_cost(Machine(1e9, FREE, FREE, 0.0, FREE, FREE), **SHAPE, epochs=3)
    assert found.steps == 30
    assert found.computing == pytest.approx(30 * 10 * 1_000 * 1_000 * 100 / 1e9)
    assert found.exchanging == 0
    assert found.reading == pytest.approx(0, abs=1e-200)


@pytest.mark.parametrize(
    ("processes", "shards", "sent"),
    [
        (1, 1, 0),
        (2, 1, 4 * (1_000 * 201 + 100)),  # half of the gradients, twice
        (2, 2, 4 * 1_000 * 100),  # the reconstruction, half of it twice
        (4, 2, 4 * (500 * 201 + 100) + 4 * 500 * 100),
    ],
)
def test_bytes_sent_are_those_of_rings(processes: int, shards: int, sent: float) -> None:
    machine = Machine(FREE, FREE, 1e6, 0.0, FREE, FREE)
    found = training_cost(machine, **SHAPE, processes=processes, shards=shards)
    assert found.sent == pytest.approx(sent)
    assert found.exchanging == pytest.approx(10 * sent / 1e6)


def test_constants_and_predictions_are_those_of_the_benchmark() -> None:
    assert tuple(RESULTS["constants"].values()) == (cost._CODE_PASSES, cost._PARAMETER_PASSES)
    for row in RESULTS["predicted"]:
        asked = {name: row[name] for name in ("cells", "d", "width", "k", "batch", "processes", "shards")}
        found = training_cost(H100 if row["processes"] == 8 else H100_NODES, **asked)
        assert found.hours == pytest.approx(row["hours"], abs=0.02)


def test_two_processes_cost_what_was_measured() -> None:
    for row in RESULTS["steps"]:
        assert 0.5 < row["model_over_cpu"] < 2
