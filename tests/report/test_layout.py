import numpy as np
import pytest

from cellprism.report.layout import plane


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
