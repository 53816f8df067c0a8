"""Features that follow genes: the direction that a gene is read along, where no feature says the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats
from sklearn.linear_model import LinearRegression

import cellprism as prism
from cellprism.errors import InputError
from cellprism.sae import Fit, guided
from cellprism.sae.guided import _gene_readouts

N, D = 600, 6
READING = prism.SAEConfig(12, "jumprelu", init="geometry", pre_bias="none", kinds=6)


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of cells, and log expression: eight genes along directions of the embedding, eight of noise, one silent."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, D)) + 4 * np.eye(3, D)[rng.integers(3, size=N)]
    told = X @ rng.normal(size=(D, 8))
    genes = np.hstack([told + rng.normal(size=told.shape), rng.normal(size=(N, 8)), np.zeros((N, 1))])
    return X.astype(np.float32), np.maximum(genes - genes.min(axis=0), 0)


@pytest.fixture(scope="module")
def fits() -> tuple[Fit, Fit]:
    X, genes = world()
    return prism.fit(X, READING, seeds=2), prism.fit(X, READING, seeds=2, guide=sp.csr_array(genes))


def test_readouts_and_shares_are_those_of_a_linear_regression() -> None:
    X, genes = world()
    X[:, 3] = X[:, 2] * 2 + 1  # an axis twice
    columns, readout, read = _gene_readouts(X.astype(np.float64), sp.csr_array(genes, dtype=np.float32))
    assert set(range(8)) <= set(columns) <= set(range(16))
    assert (np.diff(read) <= 0).all()
    for column, one, share in zip(columns, readout, read, strict=True):
        oracle = LinearRegression().fit(X, genes[:, column])
        r2 = oracle.score(X, genes[:, column])
        assert share == pytest.approx(1 - (1 - r2) * (N - 1) / (N - (D - 1) - 1), abs=1e-4)
        assert np.corrcoef(X @ one, oracle.predict(X))[0, 1] == pytest.approx(1, abs=1e-5)
        assert (X @ one).std() == pytest.approx(1, abs=1e-4)


def test_one_noise_gene_in_a_thousand_is_read() -> None:
    rng = np.random.default_rng(3)
    columns, _, _ = _gene_readouts(rng.normal(size=(150, 30)), sp.csr_array(1 + rng.random(size=(150, 4_000))))
    assert stats.binomtest(len(columns), 4_000, 1e-3).pvalue > 1e-3


def test_each_gene_that_is_read_has_a_feature_and_noise_has_none(fits: tuple[Fit, Fit]) -> None:
    X, genes = world()
    fit = fits[1]
    columns, n = fit.options["guide"]["columns"], fit.sae.config.guided
    assert 0 < n == len(columns) <= 8 == len({*columns, *range(8)})
    codes = fit.sae.encode(X).toarray()
    for i, column in enumerate(columns):
        predicted = LinearRegression().fit(X, genes[:, column]).predict(X)
        above = np.maximum(predicted - predicted.mean(), 0)
        assert np.corrcoef(codes[:, fit.sae.width - n + i], above)[0, 1] > 0.99
    nearest = [max(np.corrcoef(f, genes[:, g])[0, 1] for f in codes.T if f.any()) for g in range(8)]
    assert min(nearest) > 0.6


def test_the_features_that_were_there_are_on_in_the_same_cells(fits: tuple[Fit, Fit]) -> None:
    X, _ = world()
    for before, after in zip((fits[0].sae, *fits[0].siblings), (fits[1].sae, *fits[1].siblings), strict=True):
        a, b = (sae.encode(X).toarray() for sae in (before, after))
        same = (a > 0) == (b[:, : before.width] > 0)
        assert same.mean() > 0.9999  # but where rounding decides
        assert after.config.kinds == before.config.kinds
        assert after.width == before.width + after.config.guided


def test_more_of_the_embedding_is_explained(fits: tuple[Fit, Fit]) -> None:
    assert fits[1].metrics["explained_variance"] >= fits[0].metrics["explained_variance"] - 1e-3


def test_a_gene_that_stands_twice_is_followed_once() -> None:
    X, genes = world()
    once, twice = (
        prism.fit(X, READING, guide=g).options["guide"]["columns"] for g in (genes, np.hstack([genes, genes]))
    )
    assert twice == once


def test_unread_genes_leave_the_fit_as_it_is() -> None:
    X, genes = world()
    plain, fit = prism.fit(X, READING), prism.fit(X, READING, guide=genes[:, 8:])
    assert fit.options["guide"] == {"columns": [], "read": []}
    assert (fit.sae.encode(X) != plain.sae.encode(X)).nnz == 0


def test_it_is_kept_with_the_sae(fits: tuple[Fit, Fit], tmp_path: Path) -> None:
    X, _ = world()
    fits[1].sae.save(tmp_path / "sae")
    again = prism.load(tmp_path / "sae")
    assert again.config == fits[1].sae.config
    assert (again.encode(X) != fits[1].sae.encode(X)).nnz == 0


def test_a_consensus_knows_which_features_follow_genes(fits: tuple[Fit, Fit]) -> None:
    found = prism.consensus(fits[1], world()[0], returned=0.5)
    first = fits[1].sae.width - fits[1].sae.config.guided
    assert found.sae.config.guided == int((found.table["source"] >= first).sum())
    assert found.sae.config.guided + found.sae.config.kinds <= found.sae.width


def test_where_nothing_is_read_off_nothing_is_added() -> None:
    X, genes = world()
    fit = prism.fit(X[:80], guide=genes[:80], preset="quick", epochs=2)
    assert fit.sae.config.guided == 0
    assert "nothing was read off" in fit.options["guide"]["reason"]


@pytest.mark.parametrize(
    ("guide", "config", "match"),
    [
        (np.ones((N - 1, 3)), READING, "599 rows for 600 cells"),
        (np.full((N, 3), np.nan), READING, "finite"),
        (np.ones(N), READING, "a row a cell"),
        (np.full((N, 2), "a"), READING, "real numbers"),
        (np.ones((N, 3)), prism.SAEConfig(8, "topk", k=2), "a trained SAE"),
    ],
)
def test_refused(guide: np.ndarray, config: prism.SAEConfig, match: str) -> None:
    with pytest.raises(InputError, match=match):
        prism.fit(world()[0], config, guide=guide)


@pytest.mark.parametrize("most", [0, 2])
def test_no_more_than_so_many(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided, "MOST_GUIDED", most)
    X, genes = world()
    fit = prism.fit(X, READING, guide=genes)
    assert len(fit.options["guide"]["columns"]) == fit.sae.config.guided == most
