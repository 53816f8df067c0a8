"""Where a feature's activation lies: hand-worked cases, scikit-learn and SciPy as oracles, no dependence on order."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats
from sklearn.metrics import precision_score, recall_score

from cellprism.features.core import core_cells, core_deviates, label_location, label_means, lift
from cellprism.features.homes import label_homes, set_home_lift
from cellprism.stats.expression import prepare_expression
from cellprism.stats.setindex import index_sets


@pytest.fixture(scope="module")
def cells() -> dict:
    rng = np.random.default_rng(0)
    dense = rng.gamma(1.0, 1.0, (300, 6)) * (rng.random((300, 6)) < 0.4)
    dense[:, 5] = 0.0
    kind = rng.choice(np.array(["a", "b", "c", None], dtype=object), 300, p=[0.5, 0.2, 0.2, 0.1])
    log = np.log1p(rng.poisson(0.3 + (kind == "b")[:, None] * (np.arange(40) < 10)))
    return {"codes": sp.csc_array(dense), "kind": kind, "expression": prepare_expression(log), "log": log}


@pytest.mark.parametrize(
    ("values", "core"),
    [
        ([4.0, 3.0, 2.0, 1.0], [1, 1, 0, 0]),  # 7 of 10
        ([6.0, 3.0, 2.0, 1.0], [1, 0, 0, 0]),  # exactly half
        ([2.0, 2.0, 2.0, 0.0], [1, 1, 1, 0]),  # equal cells belong together
        ([0.0, 0.0, 0.0, 5.0], [0, 0, 0, 1]),
    ],
)
def test_the_core_is_the_fewest_cells_with_half_of_the_activation(values: list[float], core: list[int]) -> None:
    found = core_cells(sp.csc_array(np.array(values, dtype=np.float32)[:, None]))
    assert found.toarray().ravel().tolist() == core


def test_shares_are_precision_and_recall_of_core_and_active_cells(cells: dict) -> None:
    core = core_cells(cells["codes"])
    found = label_location(cells["codes"], core, cells["kind"])
    known = np.array([k is not None for k in cells["kind"]])
    assert found.categories.tolist() == ["a", "b", "c"]
    for c, name in enumerate(found.categories):
        truth = cells["kind"][known] == name
        assert found.prevalence[c] == pytest.approx(truth.mean())
        for f in range(5):
            inside = core.toarray()[known, f] > 0
            weight = cells["codes"].toarray()[known, f]
            assert found.core_precision[f, c] == pytest.approx(precision_score(truth, inside))
            assert found.core_recall[f, c] == pytest.approx(recall_score(truth, inside))
            assert found.active_recall[f, c] == pytest.approx(recall_score(truth, weight > 0))
            everywhere = np.ones(truth.size, dtype=bool)
            weighted = precision_score(truth, everywhere, sample_weight=weight)
            assert found.activation_share[f, c] == pytest.approx(weighted)
    assert (found.core_precision[5] == 0).all()


def test_order_of_cells_does_not_matter(cells: dict) -> None:
    order = np.random.default_rng(1).permutation(300)
    codes = sp.csc_array(cells["codes"].tocsr()[order])
    np.testing.assert_array_equal(core_cells(codes).toarray(), core_cells(cells["codes"]).toarray()[order])


def test_core_deviates_are_welchs_t(cells: dict) -> None:
    core = core_cells(cells["codes"])
    genes = np.tile(np.array([0, 7, 39, -1]), (6, 1))
    found = core_deviates(core, cells["expression"], genes)
    for f in range(5):
        inside = core.toarray()[:, f] > 0
        for j, g in enumerate((0, 7, 39)):
            oracle = stats.ttest_ind(cells["log"][inside, g], cells["log"][~inside, g], equal_var=False).statistic
            assert found[f, j] == pytest.approx(oracle, rel=1e-5)
    assert np.isnan(found[:, 3]).all()
    assert np.isnan(found[5]).all()


def test_means_and_homes_of_labels(cells: dict) -> None:
    difference, means = label_means(cells["expression"], cells["kind"])
    known = np.array([k is not None for k in cells["kind"]])
    for c, name in enumerate(("a", "b", "c")):
        inside = cells["kind"] == name
        np.testing.assert_allclose(means[c], cells["log"][inside].mean(axis=0), rtol=1e-6)
        rest = cells["log"][known & ~inside].mean(axis=0)
        np.testing.assert_allclose(difference[c], cells["log"][inside].mean(axis=0) - rest, rtol=1e-5, atol=1e-7)
    home = label_homes(cells["expression"], cells["kind"])
    assert (home.most[:10] == home.categories["b"]).all()


def test_home_of_a_set_is_the_category_that_its_genes_are_highest_in(cells: dict) -> None:
    genes = [f"G{i}" for i in range(40)]
    sets = index_sets({"of b": genes[:8]}, genes, np.ones(40), (2, 40), 0.0)
    in_b = sp.csc_array((cells["kind"] == "b").astype(float)[:, None])
    mixed = sp.csc_array((np.arange(300) % 2 == 0).astype(float)[:, None])
    codes = sp.csc_array(sp.hstack([in_b, mixed]))
    homes = {"kind": label_homes(cells["expression"], cells["kind"])}
    far, where = set_home_lift(homes, {"kind": cells["kind"]}, sets, codes, core_cells(codes))
    assert where[0] == (("kind", "b"),)
    assert far[0, 0] == pytest.approx(1.0)
    assert abs(far[1, 0]) < 0.15
    nowhere, none = set_home_lift({}, {}, sets, codes, core_cells(codes))
    assert np.isnan(nowhere).all()
    assert none == [()]


def test_lift_is_the_way_from_prevalence_to_one() -> None:
    got = lift(np.array([0.2, 0.6, 1.0, 0.0]), np.array([0.2, 0.2, 0.2, 0.2]))
    np.testing.assert_allclose(got, [0.0, 0.5, 1.0, -0.25])
