import numpy as np
import pytest
from sae.cases import VARIANTS, embedding
from sklearn.metrics import r2_score

from cellprism.sae import fit
from cellprism.sae.metrics import describe, no_description


@pytest.mark.parametrize("chunk", [7, 65_536])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_explained_variance_is_scikit_learns(chunk: int, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", chunk)
    X = embedding().astype(np.float64) * [1, 5, 0.1, 3, 1] + offset
    sae = fit(X, VARIANTS["relu"], epochs=3).sae
    for rows in (None, np.arange(3, 300, 2)):
        x = X if rows is None else X[rows]
        got, codes = describe(sae, X, rows=rows), sae.encode(x)
        expected = r2_score(x, sae.decode(codes), multioutput="variance_weighted")
        assert got.explained_variance == pytest.approx(expected, abs=1e-6)
        if rows is None:
            assert describe(sae, X, codes) == pytest.approx(got)
    assert np.isnan(describe(sae, np.ones((4, 5))).explained_variance)


def test_description_counts() -> None:
    X = embedding()
    sae = fit(X, VARIANTS["relu"], epochs=3).sae
    dense = sae.encode(X).toarray()
    got = describe(sae, X)
    assert got.l0 == pytest.approx((dense > 0).sum(1).mean())
    assert got.n_live == (dense > 0).any(0).sum()
    assert got.n_live + got.n_dead == sae.width
    assert got.mse == pytest.approx(np.square(X - sae.decode(dense)).mean(), rel=1e-5)


def test_a_dictionary_that_is_worse_than_the_mean_is_told() -> None:
    assert "explained variance -3.27" in no_description(-3.27)
    assert no_description(0.0) == no_description(0.9) == no_description(float("nan")) == ""
