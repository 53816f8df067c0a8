import numpy as np
import pytest
from sae.cases import embedding

from cellprism.sae.scaling import fit_scaling


@pytest.mark.parametrize("mode", ["none", "global", "standard", "whiten"])
def test_there_and_back(mode: str) -> None:
    X = embedding(200).astype(np.float64)
    s = fit_scaling(X, mode)
    scaled = (X - s.mean) @ s.forward
    np.testing.assert_allclose(scaled @ s.backward + s.mean, X, rtol=1e-4, atol=1e-4)
    if mode == "none":
        np.testing.assert_array_equal(scaled, X)
    else:
        assert np.square(scaled).mean() == pytest.approx(1, rel=1e-4)
        np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
    if mode == "standard":
        np.testing.assert_allclose(scaled.std(0), 1, rtol=1e-4)
    if mode == "whiten":
        np.testing.assert_allclose(np.cov(scaled.T, bias=True), np.eye(5), atol=1e-3)


def test_whitening_by_half_gives_the_root_of_each_axis_spread() -> None:
    X = embedding(200).astype(np.float64)
    s = fit_scaling(X, "whiten", 0.5)
    spread = ((X - s.mean) @ s.forward).std(0)
    root = np.sqrt(np.sqrt(np.linalg.eigvalsh(np.cov(X.T, bias=True))))
    np.testing.assert_allclose(spread / np.sqrt(np.mean(spread**2)), root / np.sqrt(np.mean(root**2)), rtol=1e-4)


def test_directions_without_variance() -> None:
    X = np.column_stack([embedding(100).astype(np.float64), np.full(100, 7.0)])
    assert fit_scaling(X, "whiten").forward.shape == (6, 5)
    standard = fit_scaling(X, "standard")
    assert np.isfinite(standard.forward).all()
    np.testing.assert_allclose(((X - standard.mean) @ standard.forward)[:, 5], 0, atol=1e-5)


def test_chunks_do_not_change_the_scaling(monkeypatch: pytest.MonkeyPatch) -> None:
    X = embedding(100)
    whole = fit_scaling(X, "whiten")
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", 13)
    for a, b in zip(whole, fit_scaling(X, "whiten"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
