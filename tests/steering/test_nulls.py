from __future__ import annotations

import numpy as np
import pytest

from cellprism.errors import InputError
from cellprism.steering.nulls import null_moves, random_directions


def test_covariance_matched_directions_have_the_covariance_of_the_cells() -> None:
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((500, 4)) * [10, 3, 1, 0.1] + 7
    u = random_directions("covariance", 20_000, Z, rng)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, atol=1e-5)
    drawn = rng.multivariate_normal(np.zeros(4), np.cov(Z.T), 20_000)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    np.testing.assert_allclose((u**2).mean(0), (drawn**2).mean(0), atol=0.02)


def test_pairs_never_pair_a_cell_with_itself() -> None:
    u = random_directions("pairs", 2000, np.eye(3), np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 1, atol=1e-5)


def test_moves_keep_each_cells_length_and_sign() -> None:
    move = np.array([[2.0, 0], [4, 0], [-1, 0]])
    (out,) = null_moves(move, np.array([[0.0, 1.0]]))
    np.testing.assert_allclose(out, [[0, 2], [0, 4], [0, -1]])


@pytest.mark.parametrize(("kind", "text"), [("features", "other live features"), ("isotropic", "must be covariance")])
def test_wrong_input(kind: str, text: str) -> None:
    with pytest.raises(InputError, match=text):
        random_directions(kind, 3, np.eye(3), np.random.default_rng(0))
