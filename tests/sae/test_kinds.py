"""Kinds of cells: found where there are kinds, by two samples; none in noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cellprism import InputError, SAEConfig, fit
from cellprism.sae.geometry.kinds import _discriminants, _nodes, read_kinds


def groups(n: int = 1_200, d: int = 8, apart: float = 8.0, seed: int = 0):
    """Cells of four kinds, two and two of which lie close to each other, and their labels."""
    rng = np.random.default_rng(seed)
    centres = np.zeros((4, d))
    centres[:2, 0], centres[2:, 0] = apart, -apart
    centres[[0, 2], 1], centres[[1, 3], 1] = apart / 2, -apart / 2
    labels = rng.integers(4, size=n)
    return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def kinds_of(X: np.ndarray, there: np.ndarray | None = None, **options):
    there = np.zeros((len(X), 0)) if there is None else there
    mean = X.mean(axis=0, dtype=np.float64)
    found = read_kinds(X, mean, options.pop("most", 100), there, **options)
    return np.maximum((X - mean) @ found.readout.T + found.offset, 0)


def test_broad_and_narrow_kinds_are_found():
    X, labels = groups()
    on = kinds_of(X) > 0
    for wanted in [*(labels == k for k in range(4)), labels < 2]:
        agreement = np.maximum((on == wanted[:, None]).mean(axis=0), (on == ~wanted[:, None]).mean(axis=0))
        assert agreement.max() > 0.97


def test_broad_kinds_come_first():
    share = (kinds_of(groups()[0]) > 0).mean(axis=0)
    assert (np.diff(share) <= 1e-12).all()


def test_noise_has_no_kinds():
    X = np.random.default_rng(0).normal(size=(3_000, 30)).astype(np.float32)
    assert kinds_of(X).shape[1] == 0


def test_what_is_there_already_is_left_out():
    X, _ = groups()
    there = kinds_of(X)
    assert kinds_of(X, there).shape[1] < 0.5 * there.shape[1]


def test_at_most_so_many():
    X, _ = groups()
    assert kinds_of(X, most=2).shape[1] == 2


@pytest.mark.parametrize("n", [1, 5, 19, 30])
def test_few_cells_have_no_kinds_or_some_but_no_error(n: int):
    X = np.random.default_rng(1).normal(size=(n, 3)).astype(np.float32)
    assert kinds_of(X).shape[0] == n


def test_readouts_are_fishers_discriminants():
    X, labels = groups(600)
    member = labels == 1
    centred = X - X.mean(axis=0, dtype=np.float64)
    L = np.linalg.cholesky(np.linalg.inv(centred.T @ centred / len(X)))
    weights, offset = _discriminants(centred @ L, member[None])
    u = centred @ L @ weights[0] + offset[0]
    fisher = LinearDiscriminantAnalysis().fit(centred, member).coef_[0]
    direction = L @ weights[0]
    cosine = direction @ fisher / np.linalg.norm(direction) / np.linalg.norm(fisher)
    assert cosine == pytest.approx(1.0, abs=1e-6)
    assert u.std() == pytest.approx(1.0, abs=1e-6)
    assert u[member].mean() == pytest.approx(-u[~member].mean(), abs=1e-6)  # zero is midway


def test_members_are_those_of_the_tree():
    points = np.repeat([[0.0, 0.0], [0.0, 5.0], [50.0, 0.0]], 40, axis=0)
    points += np.random.default_rng(0).normal(scale=0.1, size=points.shape)
    sizes = sorted(member.sum() for member in _nodes(points))
    assert 80 in sizes
    assert sizes.count(40) >= 3


def test_kinds_belong_to_the_reading():
    with pytest.raises(InputError, match="kinds"):
        SAEConfig(width=8, k=2, kinds=4)
    with pytest.raises(InputError, match="kinds"):
        SAEConfig(width=8, activation="jumprelu", init="geometry", pre_bias="none", kinds=9)


def test_a_fit_with_kinds_is_as_wide_as_what_is_found():
    X, labels = groups()
    config = SAEConfig(width=60, activation="jumprelu", init="geometry", pre_bias="none", kinds=50)
    fitted = fit(X, config, seeds=2)
    sae = fitted.sae
    assert sae.width == sae.config.width < 60
    assert 0 < sae.config.kinds < sae.width
    assert fitted.metrics["n_live"] == sae.width
    on = sae.encode(X).toarray()[:, -sae.config.kinds :] > 0
    assert max((on == (labels == 2)[:, None]).mean(axis=0)) > 0.95
