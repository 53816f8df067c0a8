import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from sae.mixtures import best_correlation, world

from cellprism.embed import train
from cellprism.errors import InputError
from cellprism.features.stability import fit_stability
from cellprism.sae import SAE, SAEConfig, default_config, fit
from cellprism.sae.cells import split_cells
from cellprism.sae.consensus import consensus
from cellprism.sae.geometry import axes_read
from cellprism.sae.geometry.unmix import whitened
from cellprism.sae.recipe.bits import description_length, explained_signal
from cellprism.sae.recipe.candidates import PRESETS, candidates
from cellprism.sae.recipe.choice import _best, _contenders, choose_recipe, fit_auto
from cellprism.sae.scaling import AffineScaling, fit_scaling


def test_description_length_by_hand():
    scaling = AffineScaling(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    sae = SAE(SAEConfig(width=2, activation="relu", pre_bias="none", scaling="none"), scaling)
    with torch.no_grad():
        sae.encoder.copy_(torch.eye(2))
        sae.decoder.copy_(torch.eye(2))
    X = np.array([[2.0, 0], [0, 0], [0, 0], [0, 0]])
    got = description_length(sae, X, 0.1)
    rate = 1.5 / 5
    assert got["support_bits"] == pytest.approx(-(rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate)))
    assert got["value_bits"] == pytest.approx(np.log2(1 + 4 / 0.375 / 0.1) / 8)  # 3/8: variance a dimension
    assert got["residual_bits"] == pytest.approx(0, abs=1e-9)
    assert (got["l0"], got["dead_share"], got["explained_variance"]) == (0.25, 0.5, 1.0)


def test_description_length_does_not_depend_on_the_scaling():
    X = np.random.default_rng(0).normal(size=(400, 6)) * [9, 5, 3, 1, 1, 1]
    found = []
    for mode in ("global", "whiten", "wiener"):
        scaling = fit_scaling(X, mode)
        sae = SAE(SAEConfig(width=12, activation="relu", pre_bias="none", scaling=mode), scaling)
        with torch.no_grad():  # the same readouts and directions in every unit
            rows = torch.as_tensor(np.vstack([np.eye(6), -np.eye(6)]), dtype=torch.float32)
            sae.encoder.copy_(rows @ torch.as_tensor(scaling.backward).T)
            sae.decoder.copy_(rows @ torch.as_tensor(scaling.forward))
            sae.encoder_bias.zero_()
            sae.decoder_bias.zero_()
        found.append(description_length(sae, X, 0.05))
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [{"epoch": 3}, {"lr": -1}, {"device": "abacus"}, {"holdout": 1.5}, {"consensus": True}],
)
def test_bad_options_are_refused_before_anything_is_tried(options, monkeypatch):
    monkeypatch.setattr("cellprism.sae.recipe.choice._choose", None)
    with pytest.raises(InputError):
        fit(world(cells=100)[0], **options)


def test_cells_alike_are_told():
    X = np.zeros((40, 3), np.float32)
    X[split_cells(40, 0.1, 0)[0]] = 1
    for config in (None, SAEConfig(8, "topk", k=2, scaling="whiten")):
        with pytest.raises(InputError, match="the same values in all"):
            fit(X, config)


def test_readings_need_a_hundred_cells_of_all_that_they_may_see():
    default = SAEConfig(64, "topk", k=4)
    tried = [[c.method for c in candidates((100, 50), n, default, PRESETS["quick"])][:2] for n in (99, 100)]
    assert tried == [["default", "training"], ["geometry", "kinds"]]


@pytest.mark.parametrize(
    ("cells", "dimensions", "axes"), [(250, 50, 50), (249, 50, 12), (100, 512, 5), (5_000, 512, 200), (30, 50, 1)]
)
def test_few_cells_are_read_along_their_leading_axes(cells: int, dimensions: int, axes: int):
    assert axes_read(cells, dimensions) == axes


@pytest.mark.parametrize(
    ("variances", "read"),
    [
        ([1.0] * 90, 90),
        (np.geomspace(1, 9e-4, 90), 90),  # the faintest programs of the simulated worlds
        (np.geomspace(1, 1e-6, 64), 64),  # few axes are read whatever they carry
        ([*np.geomspace(1, 0.01, 70), *[1e-6] * 20], 70),  # curves of the axes before them, as in averages over tokens
        ([1e6, *np.geomspace(1, 9e-4, 89)], 90),  # a dimension that dwarfs the others is no measure for them
        ([1e6, 9e5, *np.geomspace(1, 9e-4, 88)], 90),
        ([1e6, *np.geomspace(1, 0.01, 69), *[1e-6] * 20], 70),
    ],
)
def test_axes_that_carry_next_to_nothing_are_not_read(variances: Any, read: int):
    rng = np.random.default_rng(0)
    n = len(variances)
    basis, white = np.linalg.qr(rng.normal(size=(120, n)))[0], np.linalg.qr(rng.normal(size=(700, n)))[0]
    centred = (white - white.mean(axis=0)) * np.sqrt(variances) @ basis.T
    forward, cells = whitened(centred, fit_scaling(centred, "whiten"))
    assert forward.shape == (120, read)
    assert np.allclose(cells.std(axis=0), 1)
    assert np.allclose(centred @ forward, cells)


def test_recipe_chooses_the_geometry_of_a_mixture_and_says_why():
    X, truth = world(programs=12, d=12, seed=4)
    fitted = fit_auto(X, preset="quick", seeds=2)
    recipe = fitted.options["recipe"]
    assert recipe["config"]["init"] == "geometry"
    assert len(recipe["reasons"]) >= 3
    chosen = [row for row in recipe["scouts"] if row["chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["agreement"] >= 0.8
    assert [row["method"] for row in recipe["scouts"] if row["stability"] is not None] == ["geometry", "kinds"]
    held = fitted.holdout
    assert (best_correlation(fitted.sae.encode(X[held]), truth[held]) > 0.95).mean() >= 0.9
    stable = fit_stability(fitted, X)["stability"]
    assert stable.median() > 0.9


def test_recipe_trains_where_there_is_no_room_to_read():
    X = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    recipe = choose_recipe(X, preset="quick")
    assert recipe.config == default_config(X)
    assert set(recipe.scouts["method"]) == {"default", "training"}
    assert "none does" in " ".join(recipe.reasons)
    assert "a hundred cells" in " ".join(recipe.reasons)


@pytest.mark.parametrize(
    ("agreement", "explained", "chosen"),
    [(0.9, 0.95, 0), (0.8, 0.9, 0), (0.79, 1.0, 1), (0.0, 1.0, 1), (1.0, 0.89, 1), (6 / 7, 0.51, 1)],
)
def test_kinds_stand_beside_programs_that_the_data_do_not_determine(agreement: float, explained: float, chosen: int):
    scouts = pd.DataFrame(
        {
            "method": ["geometry", "kinds", "default"],
            "agreement": [agreement, 0.5, np.nan],
            "explained_signal": [explained, 0.9, 0.9],
        }
    )
    assert _best(scouts) == chosen


@pytest.mark.parametrize(
    ("bits", "stability", "explained", "chosen"),
    [(80.0, 0.9, 0.8, 1), (99.0, 0.9, 0.8, 0), (80.0, 0.51, 0.8, 0), (80.0, 0.9, 0.6, 0)],
    ids=["beaten in all", "bits alike", "no steadier", "more error"],
)
def test_without_a_reading_the_default_stands_unless_beaten_in_all(
    bits: float, stability: float, explained: float, chosen: int
):
    scouts = pd.DataFrame(
        {
            "method": ["default", "training", "training"],
            "stability": [0.5, stability, 0.2],
            "bits": [100.0, bits, 70.0],
            "explained_signal": [0.7, explained, 0.9],
        }
    )
    assert _best(scouts) == chosen


def test_second_seeds_are_only_spent_where_they_matter():
    scouts = pd.DataFrame(
        {
            "method": ["geometry", "kinds", "default", "training", "training", "training"],
            "agreement": [0.2, 0.9, np.nan, np.nan, np.nan, np.nan],
            "bits": [190.0, 180.0, 100.0, 80.0, 99.0, 70.0],
            "explained_signal": [0.9, 0.9, 0.7, 0.8, 0.9, 0.6],
        }
    )
    assert _contenders(scouts) == []
    assert _contenders(scouts[2:].reset_index(drop=True)) == [0, 1]


def test_noise_does_not_count_as_signal():
    rng = np.random.default_rng(0)
    X = np.concatenate([3 * rng.standard_normal((4_000, 1)), rng.standard_normal((4_000, 9))], axis=1).astype(
        np.float32
    )
    above = fit_scaling(X, "wiener").forward
    sae = SAE(SAEConfig(2, "relu", pre_bias="none", scaling="none"), fit_scaling(X, "none"))
    with torch.no_grad():  # the first axis, both ways, and nothing of the others
        for weights in (sae.encoder, sae.decoder):
            weights.zero_()
            weights[:, 0] = torch.tensor([1.0, -1.0])
    assert 1 - np.square(X[:, 1:]).sum() / np.square(X).sum() == pytest.approx(0.5, abs=0.03)
    assert explained_signal(sae, X, above) > 0.95


def test_fit_without_config_is_the_recipe_and_repeats():
    X, _ = world(programs=6, d=6, cells=600, seed=7)
    first, again = (fit(X, preset="quick", seed=3, epochs=5) for _ in range(2))
    np.testing.assert_array_equal(first.sae.encode(X).toarray(), again.sae.encode(X).toarray())
    rows = first.options["recipe"]["scouts"]
    assert {"method", "width", "k", "l0", "explained_variance", "bits", "stability", "dead_share", "chosen"} <= set(
        rows[0]
    )
    json.dumps(first.options["recipe"], allow_nan=False)
    assert fit(X, SAEConfig(width=4, k=2), epochs=1).options.get("recipe") is None


def test_fit_with_consensus_gives_its_table():
    X, _ = world(seed=8, cells=1_500)
    config = SAEConfig(width=10, activation="jumprelu", init="geometry", pre_bias="none")
    fitted = fit(X, config, seeds=2, consensus=True)
    assert fitted.consensus is not None
    assert len(fitted.consensus) == fitted.sae.width <= 10
    assert fitted.metrics["n_live"] == fitted.sae.width


def test_consensus_keeps_what_returns():
    X, _ = world(seed=5)
    fitted = fit(X, SAEConfig(width=10, activation="jumprelu", init="geometry", pre_bias="none"), seeds=3)
    agreed = consensus(fitted, X)
    source = agreed.table["source"].to_numpy()
    np.testing.assert_allclose(
        agreed.sae.encode(X).toarray(), fitted.sae.encode(X).toarray()[:, source], rtol=1e-4, atol=1e-4
    )
    assert (agreed.table["returns"] > 0.5).all()


def test_consensus_of_trained_features_fires_as_before():
    X, _ = world(seed=6, cells=1_000)
    fitted = fit(X, SAEConfig(width=12, k=4), seeds=2, epochs=30)
    agreed = consensus(fitted, X, returned=0.3)
    source = agreed.table["source"].to_numpy()
    new, old = agreed.sae.encode(X).toarray(), fitted.sae.encode(X).toarray()[:, source]
    both = (new > 0) & (old > 0)
    np.testing.assert_allclose(new[both], old[both], rtol=1e-3, atol=1e-3)
    # The moved bias rounds differently; no code of the held-out cells lies on the threshold.
    held = fitted.holdout
    np.testing.assert_array_equal(new[held] > 0, old[held] > 0)


def test_prefixes_of_a_consensus_hold_the_features_they_held():
    X, _ = world(seed=6, cells=1_000)
    fitted = fit(X, SAEConfig(width=16, k=4, matryoshka=(6, 12)), seeds=2, epochs=30)
    agreed = consensus(fitted, X, returned=0.3)
    source = agreed.table["source"].to_numpy()
    assert len(source) < 16
    assert agreed.sae.config.prefixes == tuple(sorted({int((source < m).sum()) for m in (6, 12, 16)} - {0}))


@pytest.mark.parametrize(
    "call",
    [
        lambda X: choose_recipe(X, preset="slow"),
        lambda X: SAEConfig(width=8, k=2, init="geometry"),
        lambda X: consensus(fit(X, SAEConfig(width=4, k=2), epochs=1), X),
        lambda X: consensus(fit(X, SAEConfig(width=4, k=2, activation="topk"), epochs=1, seeds=2), X),
    ],
    ids=["preset", "geometry is jumprelu", "consensus of one", "consensus of topk"],
)
def test_refusals(call):
    with pytest.raises(InputError):
        call(world(cells=100)[0])


def share_on(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the live features that is on, in each of the 2 % of cells farthest from the mean and in all cells."""
    codes = fit(X.astype(np.float32), seed=0).sae.encode(X.astype(np.float32))
    on = np.diff(codes.indptr) / (codes.max(axis=0).toarray() > 0).sum()
    away = np.linalg.norm(X - X.mean(axis=0), axis=1)
    return on[away >= np.quantile(away, 0.98)], on


@pytest.mark.filterwarnings("ignore::cellprism.errors.EmbeddingRemark")
@pytest.mark.parametrize("far", [1, 6, 20])
def test_cells_far_out_do_not_fire_nearly_all_features(far: float) -> None:
    """A threshold that holds for typical cells is passed by everything where activations are many times as large."""
    rng = np.random.default_rng(0)
    programmes = (rng.random((1_000, 12)) < 0.2) * rng.gamma(2, 1, (1_000, 12))
    X = programmes @ rng.normal(size=(12, 10)) + 0.2 * rng.normal(size=(1_000, 10))
    X[:20] = (X[:20] - X.mean(axis=0)) * far + X.mean(axis=0)
    away, _ = share_on(X)
    assert away.mean() < 0.5
    assert away.max() < 0.9


@pytest.mark.slow
def test_cells_far_out_fire_as_many_features_as_others_on_kang(shared_data: Path) -> None:
    cells = ad.read_h5ad(shared_data / "kang2018_ifnb_muscat.h5ad")
    away, all_cells = share_on(train("pca", cells, seed=0, n_components=30).encode(cells))
    assert away.mean() == pytest.approx(np.median(all_cells), abs=0.06)
    assert away.max() < 0.5
