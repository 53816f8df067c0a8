"""p values of strange cells: uniform where nothing is strange, small where something is, and worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cellprism.stats.novelty import cross_conformal, depth_trend


def test_p_counts_reference_cells_as_strange_by_the_model_of_their_fold() -> None:
    reference, fold = np.array([1.0, 2.0, 3.0, 10.0]), np.array([0, 0, 1, 1])
    scores = np.array([[1.5, 2.0, 9.0, np.nan], [11.0, 3.0, 0.0, 1.0]])
    # 2.0 of fold 0; 2.0 of fold 0 and both of fold 1 (ties count); both of fold 1
    np.testing.assert_allclose(cross_conformal(scores, reference, fold), [2 / 5, 4 / 5, 3 / 5, np.nan])


@pytest.mark.parametrize("n", [100, 1000])
def test_it_is_uniform_for_cells_like_those_of_the_reference(n: int) -> None:
    """Models that score differently by fold, a score that goes with depth, few cells or many."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(4000 // (n // 10)):
        depth = rng.lognormal(7, 0.6, n + n // 10)
        score = 3 * np.log(depth) + depth**0.1 * rng.gamma(2, 1, depth.size)
        fold, shift = rng.permutation(n) % 5, rng.normal(size=5)
        reference, new = score[:n] + shift[fold], score[None, n:] + shift[:, None]
        trend = depth_trend(reference, depth[:n])
        standard = np.stack([trend.standardise(one, depth[n:]) for one in new])
        found.append(cross_conformal(standard, trend.standardise(reference, depth[:n]), fold))
    pval = np.concatenate(found)
    for level in (0.01, 0.05, 0.5):
        expected = np.floor(level * (n + 1)) / (n + 1)
        assert (
            abs(np.mean(pval <= level) - expected)
            < 4 * np.sqrt(level * (1 - level) * (1 / len(pval) + 1 / 4000)) + 0.004
        )
    assert (
        stats.kstest(pval + np.random.default_rng(1).uniform(-0.5, 0.5, len(pval)) / (n + 1), "uniform").statistic
        < 0.04
    )


def test_a_trend_takes_the_depth_out_and_goes_no_further_than_its_cells() -> None:
    rng = np.random.default_rng(0)
    depth = rng.lognormal(7, 0.6, 3000)
    score = 2 + np.log(depth) ** 2 + np.log(depth) * rng.normal(size=3000)
    trend = depth_trend(score, depth)
    left = trend.standardise(score, depth)
    assert abs(stats.spearmanr(left, depth).statistic) < 0.05
    halves = [np.abs(left[part]).mean() for part in (depth < np.median(depth), depth >= np.median(depth))]
    np.testing.assert_allclose(halves, 1, atol=0.05)
    deepest = depth.max()
    np.testing.assert_array_equal(
        trend.standardise(np.ones(2), np.array([deepest, 1e9]))[0],
        trend.standardise(np.ones(1), np.array([deepest]))[0],
    )


def test_scores_that_are_all_the_same_are_not_strange() -> None:
    trend = depth_trend(np.full(50, 4.0), np.full(50, 100.0))
    np.testing.assert_allclose(trend.standardise(np.full(3, 4.0), np.array([100.0, 1.0, 0.0])), 0, atol=1e-9)
