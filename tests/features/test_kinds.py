from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cellprism.errors import InputError
from cellprism.features.kinds import cell_type_kinds


def test_kinds_follow_the_published_rule() -> None:
    rng = np.random.default_rng(0)
    types = np.repeat(["a", "b", "c", "d"], 50)
    codes = rng.gamma(1.0, 0.1, (200, 4))
    codes[types == "a", 0] += 1.0
    codes[np.isin(types, ["a", "b"]), 1] += 1.0
    codes[:, 3] = 0.0
    table = cell_type_kinds(codes, types)
    assert table["kind"].tolist()[:2] == ["local", "regional"]
    assert table["kind"].iloc[3] == "dead"
    assert table["types"].iloc[0] == "a"
    for f in range(3):
        n = 0
        for t in np.unique(types):
            inside, outside = codes[types == t, f], codes[types != t, f]
            n += inside.mean() - outside.mean() > 1.96 * (stats.sem(inside) + stats.sem(outside))
        assert table["n_types"].iloc[f] == n


def test_one_type_is_refused() -> None:
    with pytest.raises(InputError, match="two cell types"):
        cell_type_kinds(np.ones((5, 2)), np.array(["a"] * 5))
