"""Leading axes are those of scikit-learn's estimator, without what it says of a variance that is none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import TruncatedSVD

from cellprism.stats.decompositions import leading_axes

DENSE = np.random.default_rng(0).random((30, 40))
SPARSE = sp.csr_array(sp.random_array((80, 50), density=0.2, random_state=0))


@pytest.mark.parametrize("matrix", [DENSE, SPARSE, SPARSE.astype(np.float32)], ids=["dense", "sparse", "single"])
@pytest.mark.parametrize("d", [1, 7])
def test_they_are_scikit_learns(matrix: np.ndarray | sp.csr_array, d: int) -> None:
    peer = TruncatedSVD(d, random_state=3)
    scores = peer.fit_transform(matrix)
    found, axes = leading_axes(matrix, d, 3)
    np.testing.assert_allclose(axes, peer.components_, atol=1e-6)
    np.testing.assert_allclose(found, scores, atol=1e-5)


def test_rows_that_are_all_alike_are_no_warning() -> None:
    for matrix in (sp.csr_array((6, 5)), sp.csr_array(np.ones((6, 5)))):
        assert np.isfinite(leading_axes(matrix, 2, 0)[0]).all()
