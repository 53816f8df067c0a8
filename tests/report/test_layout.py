import numpy as np
import pytest
from scipy import sparse

from cellprism.report.layout import coactive, plane, similar


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 20)
    profiles = (np.eye(3)[group] + rng.normal(0, 0.05, (60, 3))).astype(np.float32)
    xy = plane(profiles)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(axis=1)] == group).all()
    assert np.abs(xy).max() == pytest.approx(1)


def test_same_profiles_give_the_same_map():
    profiles = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.testing.assert_array_equal(plane(profiles), plane(profiles))


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_features_have_a_map(n):
    xy = plane(np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32))
    assert xy.shape == (n, 2)
    assert np.isfinite(xy).all()


def test_one_dimension_and_equal_profiles_have_a_map():
    assert np.isfinite(plane(np.ones((20, 1), np.float32))).all()
    assert np.isfinite(plane(np.zeros((20, 3), np.float32))).all()


def test_nearest_by_cosine():
    profiles = np.array([[1, 0], [2, 0.1], [0, 1], [-1, 0]], dtype=np.float32)
    out = similar(profiles, k=2)
    assert out.ids[0].tolist() == [1, -1]  # the third is at a right angle, the last opposite: neither is alike
    assert out.cosine[0, 0] == pytest.approx(2 / np.hypot(2, 0.1), abs=1e-6)


def test_coactive_is_the_cosine_of_codes():
    dense = np.random.default_rng(1).random((50, 7)) * (np.random.default_rng(2).random((50, 7)) < 0.4)
    out = coactive(sparse.csc_array(dense.astype(np.float32)), k=3)
    unit = dense / np.linalg.norm(dense, axis=0)
    expected = unit.T @ unit - 2 * np.eye(7)
    np.testing.assert_array_equal(out.ids, np.argsort(-expected, axis=1)[:, :3])


def test_no_neighbour_of_a_single_feature():
    assert similar(np.ones((1, 3), np.float32)).ids.shape == (1, 0)
