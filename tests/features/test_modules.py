"""Modules of features that are active together, beside a null."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.errors import InputError
from cellprism.features.modules import modules


def alone(rng: np.random.Generator, cells: int = 150, width: int = 12) -> np.ndarray:
    return rng.gamma(2, 1, (cells, width)) * (rng.random((cells, width)) < 0.3)


def planted(rng: np.random.Generator) -> np.ndarray:
    """Two programmes of four and three features, two features on their own, a dead one."""
    on = rng.random((300, 2)) < 0.3
    codes = alone(rng, 300, 10) * 0.2
    codes[:, :4] += on[:, [0]] * rng.gamma(4, 0.5, (300, 4))
    codes[:, 4:7] += on[:, [1]] * rng.gamma(4, 0.5, (300, 3))
    codes[:, 9] = 0
    return codes


def test_planted_programmes_are_modules() -> None:
    codes = planted(np.random.default_rng(0))
    found = modules(sp.csr_array(codes))
    assert found.table["feature"].tolist() == list(range(9))
    assert found.table["module"].tolist() == [0] * 4 + [1] * 3 + [-1] * 2
    dense = np.corrcoef(codes[:, :4].T)
    np.testing.assert_allclose(found.table["within"][:4], (dense.sum(axis=1) - 1) / 3)
    assert found.table["within"][7:].isna().all()
    assert found.table["edges"].tolist() == [3] * 4 + [2] * 3 + [0] * 2
    assert modules(codes).table.equals(found.table)


def test_features_that_have_nothing_to_do_with_each_other_make_an_edge_one_time_in_twenty() -> None:
    rng = np.random.default_rng(1)
    any_edge = [modules(alone(rng, 80, 8), permutations=19, seed=i).correlation.nnz > 0 for i in range(200)]
    assert 0.01 <= np.mean(any_edge) <= 0.10


def test_labels_make_modules_unless_cells_are_held_within_them() -> None:
    rng = np.random.default_rng(2)
    label = np.repeat(["a", "b"], 150)
    codes = rng.gamma(2, 1, (300, 8))
    codes[:150, :4] = 0
    codes[150:, 4:] = 0
    assert (modules(codes).table["module"] >= 0).all()
    edges = [modules(codes, label, permutations=19, seed=i).correlation.nnz for i in range(5)]
    assert np.median(edges) == 0


@pytest.mark.parametrize("gap", [None, np.nan, ""])
def test_cells_without_a_label_are_left_out(gap: object) -> None:
    rng = np.random.default_rng(4)
    codes = alone(rng, 120, 6)
    label = np.repeat(np.array(["a", "b"], dtype=object), 60)
    some = label.copy()
    some[::6] = gap
    known = np.flatnonzero(np.arange(120) % 6)
    found, right = modules(codes, some), modules(codes[known], label[known])
    assert found.info["cells"] == 100
    assert found.info["threshold"] == right.info["threshold"]
    pd.testing.assert_frame_equal(found.table, right.table)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "other cells": ({"strata": ["a"] * 3}, "3 for 150 cells"),
    "no label": ({"strata": [None] * 150}, "none of any cell"),
    "few draws": ({"permutations": 9}, "at least 19 draws"),
}


@pytest.mark.parametrize(("given", "met"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(given: dict[str, Any], met: str) -> None:
    with pytest.raises(InputError, match=met):
        modules(alone(np.random.default_rng(3)), **given)
