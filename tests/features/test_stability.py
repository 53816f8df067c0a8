import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linear_sum_assignment

from cellprism.errors import InputError
from cellprism.features.matching import match
from cellprism.features.stability import fit_matches, fit_stability, stability
from cellprism.sae import SAEConfig, fit
from cellprism.sae.correlation import code_correlation, code_moments


def sparse_codes(rng, cells, width, share):
    codes = rng.gamma(2.0, size=(cells, width)) * (rng.random((cells, width)) < share)
    return codes.astype(np.float32)


@pytest.mark.parametrize("share", [0.02, 0.4], ids=["sparse product", "dense product"])
def test_correlation_is_numpys(share):
    rng = np.random.default_rng(0)
    a, b = sparse_codes(rng, 300, 12, share), sparse_codes(rng, 300, 9, share)
    a[:, 3] = 0  # dead
    b[:, 2] = 5.0  # does not vary
    b[:, 4] = a[:, 1] * 2 + 0.1 * b[:, 4]
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.corrcoef(a.T.astype(float), b.T.astype(float))[:12, 12:]
    expected = np.where(np.isfinite(expected) & (expected > 0), expected, 0)
    np.testing.assert_allclose(code_correlation(sp.csr_array(a), b).toarray(), expected, atol=1e-6)


def test_correlation_in_blocks_is_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    a, b = sparse_codes(rng, 200, 30, 0.1), sparse_codes(rng, 200, 20, 0.1)
    whole = code_correlation(a, b).toarray()
    monkeypatch.setattr("cellprism.sae.correlation._BLOCK_ELEMENTS", 200)
    np.testing.assert_allclose(code_correlation(a, b).toarray(), whole)


def test_moments_keep_a_feature_with_a_large_mean():
    column = 1e4 + np.random.default_rng(0).normal(size=(500, 1))
    mean, sd = code_moments(column)
    np.testing.assert_allclose([mean[0], sd[0]], [column.mean(), column.std()], rtol=1e-12)


def test_one_to_one_is_the_hungarian_optimum():
    rng = np.random.default_rng(2)
    a = sparse_codes(rng, 400, 25, 0.2)
    b = np.hstack([a[:, rng.permutation(25)[:18]], sparse_codes(rng, 400, 4, 0.2)])
    b = b + sparse_codes(rng, 400, 22, 0.1)
    r = code_correlation(a, b).toarray()
    rows, columns = linear_sum_assignment(r, maximize=True)
    found = match(a, b)
    assert found.partner_correlation.sum() == pytest.approx(r[rows, columns].sum(), abs=1e-6)
    taken = found.partner[found.partner >= 0]
    assert len(set(taken)) == len(taken)
    np.testing.assert_array_equal(found.best, r.argmax(1))
    np.testing.assert_allclose(found.best_correlation, r.max(1))


def test_duplicates_share_a_best_match_but_not_a_partner():
    rng = np.random.default_rng(3)
    one = sparse_codes(rng, 500, 1, 0.3)
    found = match(np.hstack([one, one, 0 * one]), one, np.eye(3), np.array([[2.0, 0, 0]]))
    np.testing.assert_allclose(found.best_correlation, [1, 1, np.nan], atol=1e-6)
    assert sorted(found.partner.tolist()) == [-1, -1, 0]
    assert np.nansum(found.partner_correlation) == pytest.approx(1)
    assert np.isnan(found.cosine).sum() == 2


def test_stability_averages_over_siblings():
    rng = np.random.default_rng(4)
    a = sparse_codes(rng, 2000, 3, 0.2)
    a[:, 2] = 0
    other = sparse_codes(rng, 2000, 1, 0.2)
    table = stability(
        sp.csr_array(a),
        [a[:, [1, 0]], np.hstack([a[:, :1], other])],
        np.eye(3),
        [np.eye(3)[[1, 0]], np.eye(3)[[0, 1]]],
    )
    assert table.index.name == "feature"
    assert table.loc[0, ["stability", "one_to_one", "cosine", "returns"]].tolist() == pytest.approx(
        [1, 1, 1, 1], abs=1e-6
    )
    assert 0.5 <= table.loc[1, "stability"] < 0.6
    assert table.loc[1, "returns"] == 0.5
    assert table.loc[2].isna().all()


def test_stability_of_a_fit():
    rng = np.random.default_rng(5)
    X = sparse_codes(rng, 600, 6, 0.3) @ rng.normal(size=(6, 8))
    fitted = fit(X, SAEConfig(width=8, k=2), seeds=2, epochs=5)
    table = fit_stability(fitted, X)
    assert len(table) == 8
    assert table["stability"].dropna().between(0, 1).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda a: match(a, a[:-1]),
        lambda a: match(a, a, np.eye(2), np.eye(3)),
        lambda a: code_correlation(a, a, floor=1.0),
        lambda a: stability(a, [a], np.eye(3), []),
        lambda a: fit_stability(fit(a, SAEConfig(width=3, k=1), epochs=1), a),
    ],
    ids=["cells differ", "directions do not fit", "floor", "a sibling without directions", "one seed"],
)
def test_refusals(call):
    with pytest.raises(InputError):
        call(sparse_codes(np.random.default_rng(0), 50, 3, 0.5))


def test_a_feature_of_few_cells_has_no_stability():
    rng = np.random.default_rng(6)
    a, b = sparse_codes(rng, 500, 4, 0.3), sparse_codes(rng, 500, 64, 0.2)
    a[:, 1] = 0
    a[:9, 1] = 1.0  # one cell less than what it takes
    a[:, 2] = 0
    a[:10, 2] = 1.0
    table = stability(a, [b])
    assert table["stability"].isna().tolist() == [False, True, False, False]
    assert table[["error", "null"]].isna().any(axis=1).tolist() == [False, True, False, False]


def test_unrelated_dictionaries_are_as_stable_as_the_null_says():
    rng = np.random.default_rng(7)
    table = stability(sparse_codes(rng, 300, 150, 0.2), [sparse_codes(rng, 300, 64, 0.2) for _ in range(6)])
    assert table["null"].mean() > 0.1  # the best of 64 in 300 cells
    assert table["stability"].mean() == pytest.approx(table["null"].mean(), abs=0.01)


def test_the_error_is_that_of_drawing_cells():
    rng = np.random.default_rng(8)

    def draw():
        a = sparse_codes(rng, 1500, 3, 0.3)
        return stability(a, [a + sparse_codes(rng, 1500, 3, 0.3), a + sparse_codes(rng, 1500, 3, 0.5)])

    tables = [draw() for _ in range(60)]
    spread = np.std([t["stability"] for t in tables], axis=0, ddof=1)
    said = np.mean([t["error"] for t in tables], axis=0)
    # the spread of 60 draws is itself known to a tenth; the siblings' draws, which the error holds fixed, add to it here
    np.testing.assert_allclose(said, spread, rtol=0.35)


def test_stability_of_a_fit_is_that_of_all_its_cells():
    rng = np.random.default_rng(9)
    X = sparse_codes(rng, 400, 6, 0.3) @ rng.normal(size=(6, 8))
    fitted = fit(X, SAEConfig(width=8, k=2), seeds=3, epochs=5)
    summary, matches = fit_matches(fitted, X)
    expected = stability(fitted.sae.encode(X), [s.encode(X) for s in fitted.siblings])
    np.testing.assert_allclose(summary["stability"], expected["stability"])
    known = summary.index[summary["stability"].notna()]
    assert set(matches["feature"]) == set(known)
