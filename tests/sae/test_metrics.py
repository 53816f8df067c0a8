import numpy as np
import pytest
from sae.cases import VARIANTS, embedding
from sklearn.metrics import r2_score

from cellprism.sae import fit
from cellprism.sae.metrics import describe, explained_variance


def test_explained_variance_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    X, X_hat = rng.standard_normal((2, 50, 4)) * [1, 5, 0.1, 3] + 2
    expected = r2_score(X, X_hat, multioutput="variance_weighted")
    assert explained_variance(X, X_hat) == pytest.approx(expected)
    assert np.isnan(explained_variance(np.ones((4, 2)), np.ones((4, 2))))


def test_description_counts() -> None:
    X = embedding()
    sae = fit(X, VARIANTS["relu"], epochs=3).sae
    dense = sae.encode(X).toarray()
    got = describe(sae, X)
    assert got.l0 == pytest.approx((dense > 0).sum(1).mean())
    assert got.n_live == (dense > 0).any(0).sum()
    assert got.n_live + got.n_dead == sae.width
    assert got.mse == pytest.approx(np.square(X - sae.decode(dense)).mean(), rel=1e-5)
