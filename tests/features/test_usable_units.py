"""Strata and donors that cannot carry a test change nothing but a note."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellprism as prism
from cellprism.errors import CellsLeftOut, InputError
from cellprism.features.annotate import Annotation, annotate
from cellprism.stats.units import MIN_DONOR_CELLS, usable_replicates, usable_units

N, GENES = 240, 40
pytestmark = pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")


def study(seed: int = 0) -> dict[str, Any]:
    """Six features, of which the first raises ten genes."""
    rng = np.random.default_rng(seed)
    codes = (rng.random((N, 6)) * (rng.random((N, 6)) < 0.4)).astype(np.float32)
    rate = 1.0 + 3.0 * (codes[:, [0]] > 0) * (np.arange(GENES) < 10)
    return {
        "codes": codes,
        "expression": np.log1p(rng.poisson(rate)).astype(np.float32),
        "genes": [f"G{i}" for i in range(GENES)],
        "nulls": (),
        "keep": "all",
    }


def without(data: dict[str, Any], cells: np.ndarray) -> dict[str, Any]:
    """The study without some cells."""
    return data | {"codes": data["codes"][~cells], "expression": data["expression"][~cells]}


def assert_same_tests(found: Annotation, wanted: Annotation) -> None:
    assert found.info["unit"] == wanted.info["unit"]
    pd.testing.assert_frame_equal(found.genes, wanted.genes)
    pd.testing.assert_frame_equal(found.untestable, wanted.untestable)


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, ""])
@pytest.mark.parametrize("n_donors", [2, 4])
def test_cells_without_a_stratum_are_left_out_and_counted(gap: Any, n_donors: int) -> None:
    data = study()
    strata = np.array([f"b{i % n_donors}" for i in range(N)], dtype=object)
    gone = np.arange(N) < 20
    found = annotate(**data, strata=np.where(gone, gap, strata))
    assert_same_tests(found, annotate(**without(data, gone), strata=strata[~gone]))
    assert found.info["unit"] == ("cell" if n_donors == 2 else "donor")
    role = "stratum" if n_donors == 2 else "donor"
    assert found.info["notes"] == [f"20 of 240 cells without a {role}: left out of the tests of genes and gene sets"]
    assert found.features["n_active"].tolist() == (data["codes"] > 0).sum(axis=0).tolist()


@pytest.mark.parametrize(("n_donors", "unit"), [(2, "cell"), (4, "donor")])
def test_one_stray_cell_changes_nothing_but_a_note(n_donors: int, unit: str) -> None:
    data = study()
    strata = np.array([f"b{i % n_donors}" for i in range(N)], dtype=object)
    stray = np.arange(N) == 7
    found = annotate(**data, strata=np.where(stray, "b9", strata))
    assert_same_tests(found, annotate(**without(data, stray), strata=strata[~stray]))
    assert found.info["unit"] == unit
    least = 2 if unit == "cell" else MIN_DONOR_CELLS
    role = "stratum" if unit == "cell" else "donor"
    assert found.info["notes"] == [
        f"1 of 240 cells of the {role} 'b9', which has fewer than {least} cells: left out of the tests of genes and gene sets"
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 10, MIN_DONOR_CELLS - 1])
def test_a_third_donor_that_is_too_small_does_not_turn_the_unit(size: int) -> None:
    data = study()
    strata = np.where(np.arange(N) < size, "b3", np.where(np.arange(N) % 2, "b1", "b2"))
    found = annotate(**data, strata=strata)
    plain = annotate(**data, strata=np.where(np.arange(N) % 2, "b1", "b2"))
    assert found.info["unit"] == "cell"
    assert len(found.untestable) == len(plain.untestable) == 0
    passing = [(t.genes["qval"] < 0.05).sum() for t in (found, plain)]
    assert passing[0] >= 0.8 * passing[1] > 0


def test_small_donors_are_left_out_of_tests_over_donors() -> None:
    data = study()
    donor = np.array([f"d{i % 4}" for i in range(N)], dtype=object)
    small = np.arange(N) < 12
    donor[small] = "d9"
    found = annotate(**data, donor=donor)
    assert_same_tests(found, annotate(**without(data, small), donor=donor[~small]))


def test_who_is_left_out_is_warned_of() -> None:
    strata = np.where(np.arange(N) < 20, None, np.where(np.arange(N) % 2, "b1", "b2"))
    with pytest.warns(CellsLeftOut, match="20 of 240 cells without a stratum"):
        annotate(**study(), strata=strata)


def test_two_donors_make_cells_the_unit_and_it_is_said() -> None:
    donor = np.where(np.arange(N) % 2, "p", "q")
    found = annotate(**study(), donor=donor)
    assert found.info["unit"] == "cell"
    assert found.info["notes"] == [
        "cells are the unit of the tests, compared within donors: 2 of them have 20 cells, fewer than 3"
    ]


@pytest.mark.parametrize("n_donors", [2, 4])
def test_a_feature_of_cells_that_are_left_out_is_shown_with_its_reason(n_donors: int) -> None:
    data = study()
    strata = np.array([f"b{i % n_donors}" for i in range(N)], dtype=object)
    gone = np.arange(N) < 3
    codes = data["codes"].copy()
    codes[:, 5] = np.where(gone, 1.0, 0.0)
    found = annotate(**data | {"codes": codes}, strata=np.where(gone, None, strata))
    row = found.features.set_index("feature").loc[5]
    assert (row["n_active"], row["untestable"]) == (3, "active in no cell that is tested")
    assert row["name"] == "not testable (active in no cell that is tested)"
    assert dict(zip(found.untestable["feature"], found.untestable["reason"], strict=True)) == {5: row["untestable"]}


def test_donors_within_strata_lose_cells_without_either() -> None:
    data = study()
    donor = np.array([f"d{i % 4}" for i in range(N)], dtype=object)
    batch = np.array([f"b{i // 4 % 2}" for i in range(N)], dtype=object)
    gone = np.isin(np.arange(N), (3, 50))
    found = annotate(
        **data, donor=np.where(np.arange(N) == 3, None, donor), strata=np.where(np.arange(N) == 50, None, batch)
    )
    assert_same_tests(found, annotate(**without(data, gone), donor=donor[~gone], strata=batch[~gone]))


@pytest.mark.parametrize("strata", [[f"b{i}" for i in range(N)], np.array([None] * N, dtype=object), np.full(N, "one")])
def test_strata_that_divide_nothing_are_refused(strata: np.ndarray) -> None:
    with pytest.raises(InputError, match="two levels"):
        annotate(**study(), strata=strata)


def test_the_level_under_the_null_holds_with_donors_of_unequal_size() -> None:
    """P values over donors of 20 to 300 cells, with slopes that differ between donors: at most 5 % below 0.05."""
    rng = np.random.default_rng(3)
    small = []
    for _ in range(30):
        donor = np.repeat(np.arange(6), [300, 200, 100, 50, 30, 20])
        codes = (rng.random((donor.size, 4)) < 0.5).astype(np.float32)
        slope = rng.normal(0, 0.5, (6, 50))
        rate = np.exp(1.0 + slope[donor] * codes[:, [0]])
        found = annotate(
            codes[:, [0]], np.log1p(rng.poisson(rate)).astype(np.float32), [f"G{i}" for i in range(50)], donor=donor,
            nulls=(), keep="all",
        )  # fmt: skip
        assert found.info["unit"] == "donor"
        small.append((found.genes["pval"] < 0.05).mean())
    assert np.mean(small) < 0.05 + 3 * np.std(small) / np.sqrt(len(small))


NUMBERS = {
    "floats": np.random.default_rng(0).normal(size=N),
    "objects": np.random.default_rng(0).normal(size=N).astype(object),
    "nullable": pd.array(np.arange(N) / 7, dtype="Float64"),
    "with gaps": np.where(np.arange(N) < 9, np.nan, np.arange(N) / 7),
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_with_fractions_are_no_units_in_any_role(kind: str) -> None:
    """An age or a pseudotime would make each cell a donor of its own."""
    values, data = NUMBERS[kind], study()
    arms = np.where(np.arange(N) % 2, "a", "b")
    X = np.random.default_rng(1).normal(size=(N, 6))
    counts = np.random.default_rng(2).poisson(2, (N, 30))
    calls: dict[str, Callable[[Any], object]] = {
        "trata": lambda v: annotate(**data, strata=v),
        "onors": lambda v: annotate(**data, donor=v),
        "onors ": lambda v: prism.differential(data["codes"], arms, v),
        "eplicates": lambda v: prism.evaluate(data["codes"], X, {"arm": arms}, replicate=v, rivals=()),
        "egions": lambda v: prism.simulate.plant(counts, [prism.simulate.Programme(5)], regions=v),
    }
    for role, call in calls.items():
        with pytest.raises(InputError, match=f"{role.strip()} are categories; met numbers with fractions"):
            call(values)


@pytest.mark.parametrize(
    ("sizes", "usable"),
    [
        ([250, 250, 1], 2), ([250, 250], 2), ([499, 1], 1), ([300, 100, 20], 3), ([300, 100, 12], 2), ([2] * 250, 250),
        ([2] * 250 + [20, 20], 252), ([2] * 250 + [1], 251), ([500], 1), ([], 0),
    ],
)  # fmt: skip
def test_replicates_are_as_large_as_a_donor_or_half_of_the_others(sizes: list[int], usable: int) -> None:
    values = np.repeat([f"r{i}" for i in range(len(sizes))], sizes)
    assert usable_replicates(values).names.size == usable


def test_units_are_counted() -> None:
    units = usable_units(np.array(["a"] * 30 + ["b"] * 3 + ["c"] + [None] * 6, dtype=object), "donor", 20)
    assert units.names.tolist() == ["a"]
    assert units.kept.sum() == 30
    assert units.text()[[0, 31]].tolist() == ["a", ""]
    assert units.notes == (
        "6 of 40 cells without a donor",
        "4 of 40 cells of 2 donors ('b', 'c'), which have fewer than 20 cells",
    )
    with pytest.raises(InputError, match="3 values for 4 cells"):
        usable_units(["a", "b", "c"], "donor", 1, 4)
