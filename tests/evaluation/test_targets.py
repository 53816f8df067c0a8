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
