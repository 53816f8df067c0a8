"""Scores and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from cellprism.evaluation.assess import Calls, auroc_parts, difference, interval, judge, mean_draws, no_better


def made(called: np.ndarray, scores: np.ndarray) -> Calls:
    none = np.zeros((len(called), 1))
    return Calls(called, scores.astype(np.float32), none.astype(np.intp), none)


def sample(seed: int, n: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.4
    scores = np.round(member * 0.8 + rng.normal(size=n), 1)
    return member[None], (scores > 0.5)[None], scores[None]


def test_scores_are_those_of_scikit_learn() -> None:
    member, called, scores = sample(0)
    known = np.ones_like(member)
    known[0, :20] = False
    folds = np.zeros(member.shape[1], dtype=np.intp)
    folds[-10:] = -1
    got = judge(made(called, scores), member, known, folds, None, np.random.default_rng(0)).value
    use = slice(20, -10)
    for measure, oracle in (("f1", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert got[measure][0] == pytest.approx(oracle(member[0, use], called[0, use]))
    assert got["auroc"][0] == pytest.approx(roc_auc_score(member[0, use], scores[0, use]))


def test_delong_variance_by_hand() -> None:
    member = np.array([True, True, True, False, False])
    scores = np.array([3.0, 2.0, 1.0, 2.0, 0.0])
    # members beat 2, 1.5 and 1 of 2 others; the others are beaten by 1.5 and 3 of 3 members
    parts = auroc_parts(scores, member, np.zeros(5, dtype=np.intp))
    assert parts.value == pytest.approx(0.75)
    variance = np.var([1, 0.75, 0.5], ddof=1) / 3 + np.var([0.5, 1], ddof=1) / 2
    assert np.square(parts.parts).sum() == pytest.approx(variance)


@pytest.mark.parametrize("measure", ["f1", "auroc"])
def test_intervals_cover_the_truth_as_often_as_they_say(measure: str) -> None:
    member, called, scores = sample(1, 200_000)
    oracle = f1_score(member[0], called[0]) if measure == "f1" else roc_auc_score(member[0], scores[0])
    inside = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        rows = rng.choice(200_000, 150)
        calls, y = made(called[:, rows], scores[:, rows]), member[:, rows]
        judged = judge(calls, y, np.ones_like(y), np.zeros(150, dtype=np.intp), None, rng)
        low, high = interval(judged.draws[measure][:, 0])
        inside.append(low <= oracle <= high)
    assert 0.9 <= np.mean(inside) <= 0.99


def test_differences_are_paired() -> None:
    member, called, scores = sample(2)
    folds = np.zeros(member.shape[1], dtype=np.intp)
    one, known = made(called, scores), np.ones_like(member)
    flipped = called.copy()
    flipped[0, :3] = ~flipped[0, :3]
    two = made(flipped, scores)
    rng = np.random.default_rng(0)
    judged = [(c, judge(c, member, known, folds, None, rng)) for c in (one, two)]
    same = difference(judged[0], judged[0], member, known, folds, None, rng)
    assert not same["f1"][1].any()
    assert not same["auroc"][1].any()
    values, draws = difference(*judged, member, known, folds, None, rng)["f1"]
    expected = f1_score(member[0], called[0]) - f1_score(member[0], flipped[0])
    assert values[0] == pytest.approx(expected)
    alone = np.ptp(interval(judged[0][1].draws["f1"][:, 0]))
    assert np.ptp(interval(draws[:, 0])) < alone / 2  # the cells that both call alike do not add to it


def test_p_values_of_equals_are_uniform() -> None:
    rng = np.random.default_rng(0)
    n, targets = 500, 400
    member = rng.random((targets, n)) < 0.3
    folds, known = np.zeros(n, dtype=np.intp), np.ones_like(member)
    judged = []
    for _ in range(2):  # both call the same share of members and of others, in cells of their own
        called = np.where(member, rng.random(member.shape) < 0.8, rng.random(member.shape) < 0.1)
        calls = made(called, called + 0.5 * rng.random(member.shape))
        judged.append((calls, judge(calls, member, known, folds, None, rng)))
    for measure, (_, draws) in difference(*judged, member, known, folds, None, rng).items():
        pvals = np.array([no_better(draws[:, t]) for t in range(targets)])
        assert kstest(pvals, "uniform").pvalue > 0.01, measure
        assert (pvals < 0.05).mean() < 0.085


def test_p_values_count_draws_that_are_not_above_zero() -> None:
    assert no_better(np.array([0.1, 0.2, 0.0, -0.1, np.nan])) == pytest.approx(3 / 5)
    assert no_better(np.ones(999)) == pytest.approx(1e-3)
    assert np.isnan(no_better(np.full(5, np.nan)))


def test_replicates_widen_intervals() -> None:
    rng = np.random.default_rng(0)
    donor = np.repeat(np.arange(6), 100)
    member = (rng.random(600) < 0.4)[None]
    called = np.where(donor % 2 == 0, member, rng.random(600) < 0.4)  # right in every other donor
    calls, folds = made(called, called.astype(float)), np.zeros(600, dtype=np.intp)
    width = {
        name: np.ptp(interval(judge(calls, member, member | True, folds, units, rng).draws["f1"][:, 0]))
        for name, units in (("cells", None), ("donors", donor))
    }
    assert width["donors"] > 2 * width["cells"]


def test_means_are_over_targets_where_they_are_many() -> None:
    rng = np.random.default_rng(0)
    exact = np.zeros((1_000, 8))
    assert np.ptp(mean_draws(np.arange(8.0), exact + np.arange(8.0), rng)) > 0
    assert np.ptp(mean_draws(np.arange(4.0), exact[:, :4] + np.arange(4.0), rng)) == 0
