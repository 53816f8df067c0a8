"""Label detectors and covariates against scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats
from sklearn import metrics

from cellprism.stats.contrast import check_codes
from cellprism.stats.expression import column_order
from cellprism.stats.labels import category_detectors, spearman


def _codes(rng: np.random.Generator) -> np.ndarray:
    codes = rng.gamma(1.0, 1.0, (400, 5)) * (rng.random((400, 5)) < 0.3)
    codes[:, 1] = np.round(codes[:, 1], 1)  # ties
    codes[:, 4] = rng.random(400) + 0.1  # dense
    return codes.astype(np.float32)


def test_detectors_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    codes = _codes(rng)
    labels = rng.choice(np.array(["a", "b", "c"], dtype=object), 400)
    labels[codes[:, 0] > 1.0] = "a"
    result = category_detectors(check_codes(codes), labels)
    assert result.categories.tolist() == ["a", "b", "c"]
    for f in range(5):
        for c, name in enumerate(result.categories):
            truth, score = labels == name, codes[:, f].astype(float)
            np.testing.assert_allclose(result.auroc[f, c], metrics.roc_auc_score(truth, score), rtol=1e-9)
            levels = np.unique(score[score > 0])
            best = max(metrics.f1_score(truth, score >= level) for level in levels)
            np.testing.assert_allclose(result.f1[f, c], best, rtol=1e-9)
            called = score >= result.threshold[f, c]
            np.testing.assert_allclose(result.precision[f, c], metrics.precision_score(truth, called), rtol=1e-9)
            np.testing.assert_allclose(result.recall[f, c], metrics.recall_score(truth, called), rtol=1e-9)
            oracle = stats.mannwhitneyu(score[truth], score[~truth], method="asymptotic", use_continuity=False)
            np.testing.assert_allclose(2 * stats.norm.sf(abs(result.z[f, c])), oracle.pvalue, rtol=1e-6)


def test_missing_labels_and_single_cells_are_left_out() -> None:
    labels = np.array(["a"] * 20 + ["b"] * 20 + ["lonely"] + [None, np.nan, "", pd.NA], dtype=object)
    codes = np.zeros((45, 1), dtype=np.float32)
    codes[:20] = 1.0
    codes[41:] = 5.0
    result = category_detectors(check_codes(codes), labels)
    assert result.categories.tolist() == ["a", "b"]
    assert result.auroc[0, 0] == 1.0


def test_spearman_is_scipys() -> None:
    rng = np.random.default_rng(1)
    codes = _codes(rng)
    covariate = rng.normal(size=400) + codes[:, 0]
    covariate[:7] = np.nan
    rho, attainable, _ = spearman(check_codes(codes), covariate)
    for f in range(5):
        np.testing.assert_allclose(rho[f], stats.spearmanr(codes[7:, f], covariate[7:]).statistic, rtol=1e-9)
    assert attainable[4] > 0.999
    assert attainable[0] < 0.9


@pytest.mark.parametrize("at_a_time", [1, 7, 10_000])
def test_features_some_at_a_time_are_those_of_all(monkeypatch: pytest.MonkeyPatch, at_a_time: int) -> None:
    rng = np.random.default_rng(3)
    codes = sp.csc_array(
        np.where(rng.random((60, 9)) < 0.3, rng.integers(1, 4, (60, 9)), 0) * [1, 1, 0, 1, 1, 1, 1, 1, 0]
    )
    labels = rng.choice(np.array(["a", "b", "c", None], dtype=object), 60)
    whole = category_detectors(codes, labels)
    order = column_order(codes.indptr.astype(np.int64), codes.data)
    monkeypatch.setattr("cellprism.stats.labels._AT_A_TIME", at_a_time)
    for found in (category_detectors(codes, labels), category_detectors(codes, labels, order)):
        for one, other in zip(found, whole, strict=True):
            np.testing.assert_array_equal(one, other)
