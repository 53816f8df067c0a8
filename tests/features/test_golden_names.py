"""Names of three real data sets, each judged by hand: by its genes and by where the activation lies.

Verdicts: right; right, weakly (true, but it says little or stands for most of the cells only); empty (genes without a
meaning, or no test); misleading. What the names rest on is kept beside them, so that the recipe that makes dictionaries
may change without moving these tables.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellprism.features.naming import Evidence, Gene, GeneSet, Label, OffLabel, feature_names

GOLDEN = Path(__file__).parent / "golden"
MOST_EMPTY = {"demo": 1, "kang": 9, "paul": 26}


def read(which: str) -> list[Evidence]:
    """Evidence of every live feature."""
    return [_evidence(one) for one in json.loads((GOLDEN / f"{which}.json").read_text(encoding="utf-8"))]


def _evidence(one: dict[str, Any]) -> Evidence:
    genes = tuple(Gene(**g) for g in one.pop("genes"))
    sets = tuple(GeneSet(**_plain(s)) for s in one.pop("sets"))
    labels = tuple(Label(**_plain(label)) for label in one.pop("labels"))
    down = tuple(Gene(**g) for g in one.pop("down"))
    off = tuple(OffLabel(**label) for label in one.pop("off"))
    return Evidence(genes=genes, sets=sets, labels=labels, down=down, off=off, **one)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Lists as tuples, null as NaN."""
    return {k: _tuple(v) if isinstance(v, list) else float("nan") if v is None else v for k, v in values.items()}


def _tuple(values: list[Any]) -> tuple[Any, ...]:
    return tuple(_tuple(v) if isinstance(v, list) else v for v in values)


def _judged(which: str) -> list[dict[str, str]]:
    with (GOLDEN / f"{which}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("which", MOST_EMPTY)
def test_names_are_the_judged_ones(which: str) -> None:
    evidence, judged = read(which), _judged(which)
    assert [str(e.feature) for e in evidence] == [row["feature"] for row in judged]
    assert feature_names(evidence) == [row["name"] for row in judged]


@pytest.mark.parametrize(("which", "most_empty"), MOST_EMPTY.items())
def test_hardly_any_name_misleads(which: str, most_empty: int) -> None:
    judged = _judged(which)
    assert all(row["why"] for row in judged)
    verdicts = [row["verdict"] for row in judged]
    assert set(verdicts) <= {"right", "right, weakly", "empty", "misleading"}
    assert verdicts.count("misleading") <= 0.03 * len(verdicts)
    assert verdicts.count("empty") <= most_empty


@pytest.mark.parametrize("which", MOST_EMPTY)
def test_what_leads_a_name_is_borne_out(which: str) -> None:
    """Whatever the verdicts: every label that leads holds half of the core cells or more, and no two names are the same."""
    evidence = {e.feature: e for e in read(which)}
    names = dict(zip(evidence, feature_names(list(evidence.values())), strict=True))
    told = [n for n in names.values() if not n.startswith(("not testable", "no evidence"))]
    assert len(told) == len(set(told))
    for feature, name in names.items():
        e = evidence[feature]
        bare = name.removeprefix(f"[{e.confound}] ")
        for label in e.labels:
            value = label.value if which != "paul" else f"cluster {label.value}"
            if bare.startswith((f"{value} ·", f"{value},", f"{value}:", f"{value} (")):
                assert label.core_precision >= 0.5
        both = [one for one in e.labels if f"{one.value} and " in bare or f" and {one.value}" in bare]
        if len(both) == 2 and "all but" not in bare:
            assert sum(label.core_precision for label in both) >= 0.75
        if "all but" in bare:
            assert e.n_active >= 0.2 * e.n_cells
            assert all(one.active_recall <= 0.5 * e.n_active / e.n_cells for one in e.off)
            assert "low: " in bare
        core = {g.name: g.core_z for g in e.genes}
        shown = [g for part in bare.split(" · ")[-1:] for g in part.split(" (")[0].split("/") if g in core]
        assert all(core[g] >= 1.0 for g in shown)


def test_names_do_not_depend_on_the_order_of_features() -> None:
    evidence = read("demo")
    order = np.random.default_rng(0).permutation(len(evidence))
    shuffled = feature_names([evidence[i] for i in order])
    assert [shuffled[i] for i in np.argsort(order)] == feature_names(evidence)
