"""Readers of categories: against scikit-learn, by hand, and under permuted labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, precision_recall_curve, roc_auc_score
from sklearn.preprocessing import StandardScaler

from cellprism.evaluation.assess import difference, judge
from cellprism.evaluation.probing import (
    best_features,
    best_threshold,
    few_features,
    linear_probe,
    make_folds,
    usable_targets,
)
from cellprism.evaluation.targets import Column


def cells(seed: int, n: int = 300, width: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kinds = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    codes = rng.exponential(size=(n, width)) * (rng.random((n, width)) < 0.4)
    codes[:, 0] += (kinds == "a") * rng.exponential(size=n)
    codes[:, 1] += 2 * (kinds == "c")
    return np.round(codes, 1), kinds  # rounded: ties


def by_hand(codes: np.ndarray, member: np.ndarray) -> tuple[int, float, int]:
    """Feature and threshold of the largest F1, and feature of the largest AUROC, pair by pair with scikit-learn."""
    best, at, found = -1.0, 0.0, -1
    for f in range(codes.shape[1]):
        for level in np.unique(codes[codes[:, f] > 0, f])[::-1]:
            score = f1_score(member, codes[:, f] >= level)
            if score > best + 1e-12:
                best, at, found = score, level, f
    areas = [roc_auc_score(member, codes[:, f]) for f in range(codes.shape[1])]
    return found, at, int(np.argmax(areas))


@pytest.mark.parametrize("seed", range(3))
def test_single_features_are_those_of_scikit_learn(seed: int) -> None:
    codes, kinds = cells(seed)
    folds = make_folds(len(kinds), None, seed)
    targets, left_out = usable_targets([Column.of("kind", kinds)], folds)
    assert not left_out
    calls = best_features(codes, targets, folds)
    members = np.array([column.members(c) for column, c in targets])
    judged = judge(calls, members, np.ones_like(members), folds, None, np.random.default_rng(0))
    for t, (column, category) in enumerate(targets):
        member, called, areas = column.members(category), np.zeros(len(kinds), dtype=bool), []
        for f in (0, 1):
            choose, held = folds != f, folds == f
            feature, level, ranked = by_hand(codes[choose], member[choose])
            assert calls.features[t, f] == feature
            lower = codes[choose, feature][codes[choose, feature] < level].max(initial=0)
            threshold = (level + lower) / 2 if lower else 0
            assert calls.thresholds[t, f] == pytest.approx(threshold, abs=1e-6)
            called[held] = codes[held, feature] > threshold
            areas.append(roc_auc_score(member[held], codes[held, ranked]))
        assert judged.value["f1"][t] == pytest.approx(f1_score(member, called))
        assert judged.value["auroc"][t] == pytest.approx(np.mean(areas))


def test_the_probe_is_scikit_learns() -> None:
    codes, kinds = cells(5)
    folds = make_folds(len(kinds), None, 5)
    targets = [(Column.of("kind", kinds), 2)]
    calls, member = linear_probe(codes, targets, folds), kinds == "c"
    for f in (0, 1):
        choose, held = folds != f, folds == f
        scale = StandardScaler().fit(codes[choose])
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1_000)
        model.fit(scale.transform(codes[choose]), member[choose])
        np.testing.assert_allclose(
            calls.scores[0, held], model.decision_function(scale.transform(codes[held])), rtol=2e-3, atol=2e-3
        )


@pytest.mark.parametrize("seed", range(4))
def test_thresholds_reach_the_largest_f1(seed: int) -> None:
    rng = np.random.default_rng(seed)
    member = rng.random(80) < 0.3
    scores = np.round(member + rng.normal(size=80), 1)
    precision, recall, _ = precision_recall_curve(member, scores)
    largest = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))
    assert f1_score(member, scores >= best_threshold(scores, member)) == pytest.approx(largest)


def test_perfect_features_score_one_with_any_number_of_features() -> None:
    kinds = np.repeat(["a", "b", "c"], 40)
    codes = np.stack([kinds == k for k in "abc"], axis=1).astype(float)
    graded = codes * np.random.default_rng(0).gamma(9, size=(120, 1))
    folds = make_folds(120, None, 0)
    targets, _ = usable_targets([Column.of("kind", kinds)], folds)
    members = np.array([column.members(c) for column, c in targets])
    read = {1: best_features(graded, targets, folds)} | few_features(codes, targets, folds, [2, 3, 8])
    assert set(read) == {1, 2, 3}  # there are no eight features
    for calls in read.values():
        judged = judge(calls, members, np.ones_like(members), folds, None, np.random.default_rng(0))
        for measure, values in judged.value.items():
            np.testing.assert_array_equal(values, 1, err_msg=measure)
        assert judged.draws["f1"].min() == 1


def test_two_features_read_what_one_cannot() -> None:
    rng = np.random.default_rng(0)
    one, two = (rng.random((2, 600)) < 0.25).astype(float)
    codes = np.column_stack([one, two, rng.random((600, 6)) < 0.25])
    either = np.where((one > 0) | (two > 0), "yes", "no")
    folds = make_folds(600, None, 0)
    targets = [(Column.of("either", either), 1)]
    members = np.array([either == "yes"])
    read = {1: best_features(codes, targets, folds)} | few_features(codes, targets, folds, [2])
    f1 = [judge(c, members, members | True, folds, None, rng).value["f1"][0] for c in read.values()]
    assert f1[0] < 0.8
    assert f1[1] == 1


def test_permuted_labels_score_their_null() -> None:
    areas, gaps = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        codes, kinds = cells(seed)
        folds = make_folds(len(kinds), None, seed)
        targets = [(Column.of("kind", rng.permutation(kinds)), 0)]
        members = np.array([targets[0][0].members(0)])
        known = np.ones_like(members)
        pair = []
        for part in (codes[:, :6], codes[:, 6:]):
            calls = best_features(part, targets, folds)
            pair.append((calls, judge(calls, members, known, folds, None, rng)))
        areas.append(pair[0][1].value["auroc"][0])
        values, draws = difference(*pair, members, known, folds, None, rng)["auroc"]
        gaps.append(float((draws[:, 0] < 0).mean()))
        assert values[0] == pytest.approx(pair[0][1].value["auroc"][0] - pair[1][1].value["auroc"][0])
    assert np.mean(areas) == pytest.approx(0.5, abs=0.02)  # chosen elsewhere, so without the gain of choosing
    # an interval of 95 % misses a difference of nothing about as often as it says
    assert np.mean((np.array(gaps) < 0.025) | (np.array(gaps) > 0.975)) < 0.15


def test_replicates_stay_whole_and_folds_are_even() -> None:
    donor = np.repeat([f"d{i}" for i in range(8)], [100, 90, 80, 20, 15, 10, 10, 5])
    folds = make_folds(len(donor), donor, 0, folds=3)
    assert all(len(set(folds[donor == d])) == 1 for d in set(donor))
    assert np.ptp(np.bincount(folds)) <= 20
    assert set(make_folds(50, np.repeat(["x", "y"], 25), 0)) == {0, 1}


def test_targets_without_enough_cells_are_left_out_and_named() -> None:
    kinds = np.array(["a"] * 60 + ["b"] * 40 + ["rare"] * 6)
    kept, left_out = usable_targets([Column.of("kind", kinds)], make_folds(len(kinds), None, 0))
    assert [column.target(c) for column, c in kept] == ["kind: a", "kind: b"]
    assert left_out == ["Not asked for, too few cells to choose on and to score: kind: rare."]
