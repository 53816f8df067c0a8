"""Truth as it comes: categories, quantities, proteins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellprism import InputError
from cellprism.evaluation.targets import Column, read_truth, split_in_two

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (RNG.normal(size=400), "one group"),
        (np.ones(400), "all alike"),
        (RNG.normal(size=20), "too few"),
        (np.concatenate([RNG.normal(0, 1, 397), [9.0, 9.1, 9.2]]), "under 2 %"),
        (RNG.exponential(size=2_000), ""),
    ],
)
def test_what_is_not_two_groups_is_refused(values: np.ndarray, reason: str) -> None:
    found = split_in_two(values)
    assert found.high is None
    assert reason in found.reason


@pytest.mark.parametrize("share", [0.05, 0.3, 0.8])
def test_two_groups_are_found_at_any_share(share: float) -> None:
    rng = np.random.default_rng(1)
    high = rng.random(1_000) < share
    values = np.where(high, rng.normal(5, 1, 1_000), rng.normal(0, 0.7, 1_000))
    found = split_in_two(values)
    assert found.high is not None
    assert (found.high == high).mean() > 0.98


def test_kinds_of_truth() -> None:
    n = 200
    on = RNG.random((n, 3)) < 0.4
    counts = RNG.poisson(np.where(np.column_stack([on, np.zeros((n, 3), bool)]), 200, 10))
    truth = {
        "kind": np.where(on[:, 0], "x", None),
        "cluster": RNG.integers(0, 4, n),
        "flag": on[:, 1],
        "facs": np.where(on[:, 2], RNG.normal(4, 1, n), RNG.normal(0, 1, n)),
        "proteins": pd.DataFrame(counts, columns=["P1", "P2", "P3", "N1", "N2", "N3"]),
    }
    truth["kind"][~on[:, 0] & on[:, 1]] = "y"
    columns, refused = read_truth(truth, n)
    by_name = {c.name: c for c in columns}
    assert by_name["kind"].categories == ("x", "y")
    assert (by_name["kind"].known == (on[:, 0] | on[:, 1])).all()
    assert len(by_name["cluster"].asked) == 4
    assert by_name["facs"].categories == ("high", "low")
    assert by_name["facs"].asked == (0,)
    for i, name in enumerate(("P1", "P2", "P3")):
        assert (by_name[name].members(0) == on[:, i]).mean() > 0.95
    assert not {"N1", "N2", "N3"} & set(by_name)
    assert "N1" in " ".join(refused)


@pytest.mark.parametrize(
    ("truth", "match"),
    [
        ({"a": ["x", "y"]}, "a row a cell"),
        ({"a": ["x"] * 50}, "2 to 200 categories"),
        ({"a": [str(i) for i in range(50)]}, "2 to 200 categories"),
    ],
)
def test_wrong_truth_is_refused(truth: dict[str, list[str]], match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_truth(truth, 50)


@pytest.mark.parametrize("missing", [None, np.nan, "", pd.NA])
def test_unknown_labels_are_not_a_category(missing: object) -> None:
    column = Column.of("c", np.array(["a", "b", missing, "a"], dtype=object))
    assert column.categories == ("a", "b")
    assert column.known.tolist() == [True, True, False, True]


NUMBER = RNG.integers(0, 3, 200)
GAP = np.arange(200) % 20 == 0
TWO = np.where(NUMBER == 0, 50.5, 1.5) + RNG.normal(size=200)
TYPES = {
    "numpy": lambda v: v,
    "floats": lambda v: v.astype(float),
    "floats with gaps": lambda v: np.where(GAP, np.nan, v),
    "nullable": lambda v: pd.array(v, dtype="Float64" if v.dtype.kind == "f" else "Int64"),
    "nullable with gaps": lambda v: pd.Series(v).astype("Float64").mask(GAP),
    "objects": lambda v: v.astype(object),
    "objects with gaps": lambda v: np.where(GAP, None, v.astype(object)),
    "a column": lambda v: pd.Series(v),
    "a table's": lambda v: pd.DataFrame({"x": v})["x"],
}


@pytest.mark.parametrize("kind", TYPES)
def test_the_type_that_numbers_are_kept_in_does_not_say_what_they_are(kind: str) -> None:
    """Few whole numbers are codes, others are split, as everywhere else."""
    (codes,), _ = read_truth({"x": TYPES[kind](NUMBER)}, 200)
    assert codes.categories == ("0", "1", "2")
    kept = ~GAP if "gaps" in kind else np.ones(200, dtype=bool)
    np.testing.assert_array_equal(codes.number, np.where(kept, NUMBER, -1))
    (split,), _ = read_truth({"x": TYPES[kind](TWO)}, 200)
    assert [split.target(c) for c in split.asked] == ["x: high"]
    np.testing.assert_array_equal(split.members(split.asked[0])[kept], NUMBER[kept] == 0)
    np.testing.assert_array_equal(split.known, kept)
    table = pd.DataFrame({"P0": TYPES[kind](TWO)})
    (protein,), said = read_truth({"proteins": table}, 200)
    np.testing.assert_array_equal(protein.members(protein.asked[0])[kept], NUMBER[kept] == 0)
    np.testing.assert_array_equal(protein.known, kept)
    assert said == ([] if kept.all() else ["10 of 200 cells have no P0: neither chosen on nor scored there."])


def test_a_protein_that_some_cells_lack_costs_them_no_other() -> None:
    """The centred log ratio of a cell is of the proteins that were measured in it."""
    high = RNG.random((200, 6)) < 0.4
    counts = RNG.poisson(np.where(high, 90, 2)).astype(float)
    counts[GAP, 0] = np.nan
    table = pd.DataFrame(counts, columns=[f"P{i}" for i in range(6)])
    columns, _ = read_truth({"proteins": table}, 200)
    assert [column.name for column in columns] == list(table)
    for i, column in enumerate(columns):
        known = ~GAP if i == 0 else np.ones(200, dtype=bool)
        np.testing.assert_array_equal(column.known, known)
        assert (column.members(column.asked[0])[known] == high[known, i]).mean() > 0.95
