import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from cellprism.errors import InputError
from cellprism.recovery import Level, Truth, probe, score
from cellprism.simulate import large


def superposed(n=1_500, d=8, k=5, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, k))
    mixing = rng.standard_normal((k, d))
    return hidden, mixing, hidden @ mixing + noise * rng.standard_normal((n, d))


def test_a_superposition_is_read_exactly():
    hidden, mixing, X = superposed()
    found = probe(X, hidden)
    np.testing.assert_allclose(found.variables["r2"], 1, atol=1e-6)
    np.testing.assert_allclose(found.directions["truth"] @ mixing.T, np.eye(5), atol=1e-3)


def test_equals_scikit_learn_at_the_chosen_penalty():
    hidden, _, X = superposed(noise=1.0)
    held_out = np.arange(len(X)) % 5 == 0
    found = probe(X, hidden, held_out=held_out)
    spread = np.trace(np.cov(X[~held_out].T, bias=True)) / X.shape[1] * (~held_out).sum()
    for row, y, direction in zip(found.variables.itertuples(), hidden.T, found.directions["truth"], strict=True):
        oracle = Ridge(alpha=row.alpha * spread).fit(X[~held_out], y[~held_out])
        np.testing.assert_allclose(direction, oracle.coef_, atol=1e-5)
        assert row.r2 == pytest.approx(r2_score(y[held_out], oracle.predict(X[held_out])), abs=1e-6)
        assert row.abs_r == pytest.approx(np.corrcoef(y[held_out], oracle.predict(X[held_out]))[0, 1], abs=1e-6)


def test_the_penalty_follows_the_noise():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 100))
    y = X[:, 0] + 5 * rng.standard_normal(300)
    chosen = probe(X, y).variables["alpha"].item()
    alone = probe(X, y, alphas=[1e-6]).variables["r2"].item()
    assert chosen >= 0.1
    assert probe(X, y).variables["r2"].item() > alone


def test_noise_is_not_read():
    rng = np.random.default_rng(1)
    table = probe(rng.standard_normal((2_000, 10)), rng.standard_normal((2_000, 20))).variables
    assert table["r2"].max() < 0.05


def test_hidden_variables_are_read_where_they_show():
    adata = large(4_000, 60, n_programs=12, n_cell_types=6, seed=2)
    held_out = (adata.obs["split"] == "held_out").to_numpy()
    table = probe(adata.X, adata, held_out=held_out).variables.set_index(["level", "variable"])
    assert table.loc["X2", "r2"].min() > 0.999
    seen = table.loc["X1"].dropna(subset="r2_visible")
    assert len(seen) >= 10
    assert seen["r2_visible"].min() > 0.999
    assert seen["r2"].mean() < 0.9
    assert table.loc["A", "r2"].notna().all()


def test_the_ceiling_stands_beside_the_scores():
    hidden, _, X = superposed()
    scores = score(X, hidden, ceiling=probe(X, hidden))
    assert scores.levels["ceiling_share_over_0.95"].item() == 1
    assert scores.levels["ceiling_mean_abs_r"].item() == pytest.approx(1)
    assert scores.levels["mean_best_abs_r"].item() < 0.95
    assert {"probe_r2", "probe_abs_r", "probe_r2_visible"} <= set(scores.variables.columns)


def test_constant_variables_have_no_ceiling():
    X = np.random.default_rng(0).standard_normal((100, 3))
    truth = Truth({"x": Level(np.column_stack([X[:, 0], np.ones(100)]).astype(np.float32), ("a", "b"))})
    assert probe(X, truth).variables["r2"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    "make",
    [
        lambda: probe(np.ones((4, 2)), np.ones(5)),
        lambda: probe(np.full((50, 2), np.nan), np.ones(50)),
        lambda: probe(np.ones((6, 2)), np.ones(6)),
        lambda: probe(np.ones((60, 2)), np.ones(60), folds=1),
    ],
)
def test_refuses(make):
    with pytest.raises(InputError):
        make()
