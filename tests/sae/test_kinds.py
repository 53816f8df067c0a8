"""Kinds of cells: found where there are kinds, by two samples; none in noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from cellprism import InputError, SAEConfig, fit
from cellprism.sae.geometry import read_geometry, with_kinds
from cellprism.sae.geometry.kinds import Kinds, _clearness, _discriminants, _nodes, broad, other_sides, read_kinds


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


def stimulated(n: int = 1_600, d: int = 8, seed: int = 0):
    """Cells of four types, half of each stimulated, which parts them further than their types do."""
    rng = np.random.default_rng(seed)
    labels, stimulus = rng.integers(4, size=n), rng.random(n) < 0.5
    centres = 5.0 * np.eye(4, d)
    X = centres[labels] + rng.normal(size=(n, d))
    X[:, 6] += 12.0 * stimulus
    return X.astype(np.float32), labels, stimulus


def agreement(on: np.ndarray, wanted: np.ndarray) -> float:
    """Largest share of cells, over features, in which a feature is on where it should be."""
    return float((on == wanted[:, None]).mean(axis=0).max(initial=0.0))


def test_kinds_run_across_a_response():
    X, labels, stimulus = stimulated()
    apart, across = (kinds_of(X, across=side) > 0 for side in (None, stimulus[:, None]))
    assert min(agreement(across, labels == k) for k in range(4)) > 0.97
    assert min(agreement(apart, labels == k) for k in range(4)) < 0.95  # the tree alone holds types of one half


def test_a_response_of_all_cells_or_none_changes_nothing():
    X, _ = groups()
    for side in (np.ones((len(X), 1), dtype=bool), np.zeros((len(X), 1), dtype=bool)):
        np.testing.assert_array_equal(kinds_of(X, across=side), kinds_of(X))


def test_the_other_side_of_a_broad_program_is_a_kind():
    rng = np.random.default_rng(0)
    centred = rng.normal(size=(4_000, 3))
    thresholds = np.array([0.0, 0.5, 2.0])  # on in 50, 31 and 2 % of the cells
    programs = Kinds(np.eye(3), -thresholds)
    codes = programs.codes(centred)
    assert list(broad(codes)) == [0, 1]
    sides = other_sides(programs, centred, codes)
    np.testing.assert_allclose(sides.codes(centred), np.maximum(thresholds[:2] - centred[:, :2], 0))


def test_another_side_that_is_there_already_is_left_out():
    centred = np.random.default_rng(0).normal(size=(1_000, 2))
    programs = Kinds(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.zeros(2))
    assert len(other_sides(programs, centred, programs.codes(centred)).offset) == 0


def test_stimulated_and_unstimulated_cells_both_have_a_feature():
    X, _, stimulus = stimulated()
    programs = read_geometry(X, seed=0)
    on = with_kinds(programs, X, 40, seed=0).codes(X) > 0
    assert agreement(on, stimulus) > 0.95
    assert agreement(on, ~stimulus) > 0.95


@pytest.mark.parametrize("most", [1, 2, 7])
def test_other_sides_and_kinds_together_are_at_most_so_many(most: int):
    X, _, _ = stimulated()
    assert with_kinds(read_geometry(X, seed=0), X, most, seed=0).kinds <= most


def test_clearness_is_0_for_normal_values_and_1_for_two_points():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(200_000, 1)) + np.array([0.0, -1.0, 1.5])
    np.testing.assert_allclose(_clearness(normal, np.ones(normal.shape, dtype=bool)), 0, atol=0.01)
    points = np.repeat([-1.0, 3.0], [700, 300])[:, None]
    assert _clearness(points, np.ones(points.shape, dtype=bool))[0] == pytest.approx(1.0)


def test_clearness_is_judged_among_the_cells_above():
    rng = np.random.default_rng(0)
    u = np.concatenate([rng.normal(size=5_000), rng.normal(-50, 1, size=20_000)])[:, None]
    near = np.arange(len(u))[:, None] < 5_000
    assert _clearness(u, near)[0] == pytest.approx(_clearness(u[:5_000], near[:5_000])[0])
    assert abs(_clearness(u, near)[0]) < 0.05  # half of one normal group is no kind of it,
    assert _clearness(u, np.ones_like(near))[0] > 0.1  # however far the others are


def test_pieces_of_a_kind_are_left_out():
    X, labels = groups(2_000, d=12)
    on = kinds_of(X) > 0
    of = [np.unique(labels[column], return_counts=True) for column in on.T]
    assert all(min(count) > 0.8 * (labels == kind[0]).sum() for kind, count in of if len(kind) == 1)


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
    members, above = _nodes(points)
    sizes = sorted(member.sum() for member in members)
    assert 80 in sizes
    assert sizes.count(40) >= 3
    assert (above & members == members).all()
    assert {120, 80} <= {int(n) for n in above.sum(axis=1)}


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
