import numpy as np
import pytest
from scipy import sparse

from cellprism.report.alike import coactive, similar


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


def test_no_neighbour_where_no_cell_is_shared():
    out = coactive(sparse.csc_array(np.eye(4, dtype=np.float32)), k=2)
    assert (out.ids == -1).all()
    assert (out.cosine == 0).all()


def test_many_features_are_compared_within_nearby_groups():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(40, 12))
    profiles = (centres[rng.integers(0, 40, 3000)] + rng.normal(0, 0.4, (3000, 12))).astype(np.float32)
    chosen = np.arange(len(profiles)) % 3 > 0
    for many in (10**6, 1000):
        ids = similar(profiles, k=8, among=chosen, many=many).ids
        assert chosen[ids[ids >= 0]].all()
    exact, quick = similar(profiles, k=8), similar(profiles, k=8, many=1000)
    shared = [len(set(a) & set(b)) / 8 for a, b in zip(exact.ids, quick.ids, strict=True)]
    assert np.mean(shared) > 0.98
    assert (quick.ids != np.arange(3000)[:, None]).all()
    unit = profiles / np.linalg.norm(profiles, axis=1, keepdims=True)
    np.testing.assert_allclose(quick.cosine[:, 0], np.einsum("fd,fd->f", unit, unit[quick.ids[:, 0]]), atol=1e-5)
