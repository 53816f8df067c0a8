import numpy as np
import pytest
from scipy import sparse, stats
from sklearn.metrics import roc_auc_score

from cellprism.recovery.correlate import MIN_CELLS, auroc, correlations, eta_squared, largest_other


def drawn(density, n=200, features=17, seed=0):
    rng = np.random.default_rng(seed)
    codes = rng.poisson(2, (n, features)) * (rng.random((n, features)) < density)
    return codes.astype(np.float32), rng.standard_normal((n, 6)) + codes[:, :6], rng


FORMS = [("dense", 0.6), ("csc", 0.6), ("csc", 0.04)]  # the last stays sparse inside


def shaped(codes, form):
    return sparse.csc_array(codes) if form == "csc" else codes


@pytest.mark.parametrize(("form", "density"), FORMS)
def test_correlations_equal_numpy(form, density):
    codes, values, _ = drawn(density)
    expected = np.corrcoef(codes.T, values.T)[:17, 17:] if codes.std(axis=0).all() else None
    r = correlations(shaped(codes, form), values)
    assert expected is not None
    np.testing.assert_allclose(r, expected, atol=1e-6)


@pytest.mark.parametrize(("form", "density"), FORMS)
def test_visible_correlations_equal_numpy_among_these_cells(form, density):
    codes, values, rng = drawn(density)
    visible = rng.random(values.shape) < 0.5
    r = correlations(shaped(codes, form), values, visible)
    for v in range(values.shape[1]):
        rows = visible[:, v]
        for f in range(codes.shape[1]):
            constant = codes[rows, f].std() == 0
            expected = 0 if constant else np.corrcoef(codes[rows, f], values[rows, v])[0, 1]
            assert r[f, v] == pytest.approx(expected, abs=1e-6)


def test_large_offsets_do_not_cost_precision():
    codes, values, _ = drawn(0.6)
    np.testing.assert_allclose(correlations(codes + 1e4, values - 1e5), correlations(codes, values), atol=1e-4)


def test_constants_and_too_few_cells():
    codes, values, _ = drawn(0.6)
    codes[:, 3], values[:, 2] = 7, 5
    visible = np.ones(values.shape, dtype=bool)
    visible[MIN_CELLS - 1 :, 4] = False
    r = correlations(codes, values, visible)
    assert np.isnan(r[:, [2, 4]]).all()
    assert (r[3, [0, 1, 3, 5]] == 0).all()


@pytest.mark.parametrize(("form", "density"), FORMS)
def test_auroc_equals_scikit_learn(form, density):
    codes, _, rng = drawn(density)
    label = rng.integers(4, size=len(codes))
    indicators = (label[:, None] == np.arange(5)).astype(np.float32)
    area = auroc(shaped(codes, form), indicators)
    for f in range(codes.shape[1]):
        for k in range(4):
            assert area[f, k] == pytest.approx(roc_auc_score(label == k, codes[:, f]), abs=1e-6)
    assert np.isnan(area[:, 4]).all()


@pytest.mark.parametrize(("form", "density"), FORMS)
def test_eta_squared_follows_from_the_f_test(form, density):
    codes, _, rng = drawn(density)
    label = rng.integers(3, size=len(codes))
    eta = eta_squared(shaped(codes, form), (label[:, None] == np.arange(3)).astype(np.float32))
    for f in range(codes.shape[1]):
        F = stats.f_oneway(*(codes[label == k, f] for k in range(3))).statistic * 2
        assert eta[f] == pytest.approx(F / (F + len(codes) - 3), abs=1e-6)


@pytest.mark.parametrize("form", ["dense", "csc"])
def test_a_feature_is_not_redundant_with_itself(form):
    a, b = np.arange(40.0), np.tile([1.0, 0.0], 20)
    codes = np.column_stack([a, b, 2 * a + 1])
    np.testing.assert_allclose(largest_other(shaped(codes, form)), [1, abs(np.corrcoef(a, b)[0, 1]), 1], atol=1e-6)
    assert largest_other(shaped(codes[:, :1], form)) == [0]
