import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from cellprism.errors import InputError
from cellprism.recovery import Level, Truth, score
from cellprism.simulate import large, small


@pytest.fixture(scope="module")
def cells():
    return large(3_000, 50, n_programs=20, n_cell_types=8, seed=1)


def test_worked_by_hand():
    """Two variables, four features: u, its copy, a mixture, a dead one."""
    u = np.tile([0, 0, 2, 2], 25).astype(float)
    v = np.tile([0, 1, 0, 1], 25).astype(float)  # uncorrelated with u; variances 1 and 1/4
    codes = np.column_stack([u, 3 * u, u + 2 * v, np.zeros(100)])
    scores = score(codes, np.column_stack([u, v]), permutations=0)
    table = scores.variables.set_index("variable")
    mixed = np.sqrt(0.5)  # r of u + 2 v with either
    np.testing.assert_allclose(table["best_abs_r"], [1, mixed], atol=1e-6)
    np.testing.assert_allclose(table["matched_r"], [1, mixed], atol=1e-6)
    assert table["best_feature"].tolist()[1] == 2
    assert table["n_features"].tolist() == [2, 0]
    level = scores.levels.iloc[0]
    assert level["share_over_0.95"] == 0.5
    assert level["mcc"] == pytest.approx((1 + mixed) / 2)
    assert level["n_split"] == 1  # u is in all three, v in the mixture only
    assert level["n_merged"] == 1
    assert (scores.n_features, scores.n_live, scores.n_redundant) == (4, 3, 2)
    assert scores.l0 == pytest.approx(0.5 + 0.5 + 0.75)
    assert scores.features["feature"].tolist() == [0, 1, 2]
    assert scores.features["redundant"].tolist() == [True, True, False]


def test_labels_worked_by_hand():
    label = pd.Series(np.repeat(["a", "b", "c"], 20))
    off_in_a = np.repeat([0.0, 1.0, 1.0], 20)
    scores = score(off_in_a[:, None], {"A": label}, permutations=0)
    table = scores.variables.set_index("variable")
    # a: perfect, from below. b: above the 20 cells of a, level with the 20 of c: (20 + 10) / 40.
    np.testing.assert_allclose(table["auroc"], [1, 0.75, 0.75], atol=1e-6)
    np.testing.assert_allclose(table["best_abs_r"], [1, 0.5, 0.5], atol=1e-6)
    assert scores.levels["eta2"].item() == pytest.approx(1)


def test_perfect_codes_score_one(cells):
    truth = Truth.of(cells)
    for name, level in truth.levels.items():
        scores = score(sparse.csr_array(np.abs(level.values)) if level.categorical else level.values, truth.only(name))
        row = scores.levels.iloc[0]
        assert row[["mean_best_abs_r", "mcc", "share_over_0.95"]].tolist() == pytest.approx([1, 1, 1], abs=1e-5)
        assert row["null_mean_best_abs_r"] < 0.3
        if level.categorical:
            assert row["mean_auroc"] == pytest.approx(1)
            assert row["eta2"] > 0.1


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.booleans())
def test_order_scale_and_format_of_features_do_not_matter(seed, as_sparse):
    rng = np.random.default_rng(seed)
    codes = (rng.poisson(1, (80, 9)) * (rng.random((80, 9)) < 0.5)).astype(float)
    truth = {"x": rng.standard_normal((80, 4)) + codes[:, :4], "A": pd.Series(rng.integers(3, size=80).astype(str))}
    order, scale = rng.permutation(9), rng.uniform(0.5, 4, size=9)
    changed = (codes * scale)[:, order]
    before = score(codes, truth, seed=1)
    after = score(sparse.csr_array(changed) if as_sparse else changed, truth, seed=1)
    numeric = before.levels.columns.drop("level")
    np.testing.assert_allclose(before.levels[numeric], after.levels[numeric], atol=1e-5)
    for column in ("best_abs_r", "matched_r", "auroc", "null_best_abs_r"):
        np.testing.assert_allclose(before.variables[column], after.variables[column], atol=1e-5)
    assert (before.n_live, before.n_redundant, before.l0) == (after.n_live, after.n_redundant, after.l0)


def test_noise_scores_its_null(cells):
    noise = np.random.default_rng(0).standard_normal((cells.n_obs, 200))
    levels = score(noise, cells, permutations=3).levels
    np.testing.assert_allclose(levels["mean_best_abs_r"], levels["null_mean_best_abs_r"], atol=0.012)
    np.testing.assert_allclose(levels["mcc"], levels["null_mcc"], atol=0.012)
    labels = levels[levels["level"].isin(["A", "B"])]
    np.testing.assert_allclose(labels["mean_auroc"], labels["null_mean_auroc"], atol=0.02)
    assert (levels["share_over_0.95"] == 0).all()


def test_hidden_programs_score_among_the_cells_that_show_them(cells):
    table = score(cells.obsm["X2_truth"], cells, permutations=1).variables
    hidden = table[(table["level"] == "X1") & table["best_abs_r_visible"].notna()]
    assert len(hidden) > 15
    np.testing.assert_allclose(hidden["best_abs_r_visible"], 1, atol=1e-5)  # there X1 is X2
    assert (hidden["best_abs_r"] < 0.95).any()
    assert (hidden["null_best_abs_r_visible"] < 0.5).all()


def test_programs_no_cell_expresses_are_left_out():
    adata = large(500, 30, n_programs=30, n_cell_types=2, p_type_program=0.3, seed=0)
    absent = adata.uns["simulation"]["programs"]["n_types"].to_numpy() == 0
    assert 0 < absent.sum() < 30
    scores = score(adata.obsm["X2_truth"], adata)
    x2 = scores.variables[scores.variables["level"] == "X2"]
    np.testing.assert_array_equal(x2["best_abs_r"].isna(), absent)
    row = scores.levels.set_index("level").loc["X2"]
    assert row["n_variables"] == (~absent).sum()
    assert row["share_over_0.95"] == 1


def test_the_small_simulation_scores():
    adata = small(2_000, held_out=500)
    scores = score(adata.obsm["T_truth"], adata, cells=adata.obs["split"] == "held_out")
    assert scores.levels["level"].tolist() == ["Y", "T", "A", "B"]
    assert scores.levels.set_index("level").loc["T", "mcc"] == pytest.approx(1)


def test_all_dead_codes_score_nothing(cells):
    scores = score(sparse.csr_array((cells.n_obs, 10)), cells)
    assert scores.n_live == 0
    assert (scores.levels["mean_best_abs_r"] == 0).all()
    assert scores.levels["mcc"].max() == 0


def test_truth_is_read_from_what_users_have():
    frame = pd.DataFrame({"x": [0.0, 1, 2], "type": ["a", "b", "a"], "flag": [True, False, True]})
    truth = Truth.of(frame)
    assert {name: level.names for name, level in truth.levels.items()} == {
        "truth": ("x",),
        "type": ("a", "b"),
        "flag": ("False", "True"),
    }
    assert Truth.of({"s": sparse.csr_array(np.eye(3))}).levels["s"].values.shape == (3, 3)
    assert Truth.of(np.arange(3.0)).levels["truth"].names == ("v0",)


@pytest.mark.parametrize(
    "make",
    [
        lambda: score(np.ones((4, 2)), np.ones((5, 1))),
        lambda: score(np.full((5, 2), np.nan), np.ones((5, 1))),
        lambda: score(np.ones((2, 2)), np.ones((2, 1))),
        lambda: Truth.of({"x": np.ones(3), "y": np.ones(4)}),
        lambda: Truth.of({}),
        lambda: Truth.of({"x": np.array([1.0, np.inf])}),
        lambda: Truth.of({"x": pd.Series(["a", None])}),
        lambda: Truth.of({"x": np.ones((2, 2), dtype=complex)}),
        lambda: Truth({"x": Level(np.ones((2, 1), dtype=np.float32), ("a",))}).only("y"),
        lambda: Level(np.ones((2, 2), dtype=np.float32), ("a",)),
        lambda: Level(np.ones((2, 1), dtype=np.float32), ("a",), np.ones((1, 1), dtype=bool)),
    ],
)
def test_refuses(make):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError):
            make()
