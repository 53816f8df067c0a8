"""Which pairs of feature and item a table keeps: the same as those of a whole sort."""

from __future__ import annotations

import numpy as np
import pytest

from cellprism.features.tables import keep_pairs


@pytest.mark.parametrize("keep", ["significant", "all"])
@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize(("items", "top", "limit"), [(400, 10, 3.5), (400, 10, 0.2), (12, 100, 9.0), (1, 1, 9.0)])
@pytest.mark.parametrize("digits", [9, 1])  # with one digit many scores are equal
def test_the_best_come_first_and_none_better_is_left_out(
    keep: str, two_sided: bool, items: int, top: int, limit: float, digits: int
) -> None:
    score = np.round(np.random.default_rng(0).standard_normal((70, items)), digits).astype(np.float32)
    score[3] = np.nan
    rows, columns = keep_pairs(score, limit, keep, top=top, two_sided=two_sided)
    strength = np.abs(score) if two_sided else score
    assert (np.diff(rows) >= 0).all()
    for f in range(len(score)):
        mine = columns[rows == f]
        if f == 3:
            assert mine.size == 0
            continue
        best = np.sort(strength[f])[::-1]
        n = items if keep == "all" else min(items, max(top, int((best >= limit).sum())))
        assert len(set(mine.tolist())) == n
        np.testing.assert_array_equal(strength[f, mine], best[:n])
