from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse, stats

from cellprism import embed
from cellprism.embed.dgd import DGDModel
from cellprism.embed.dgd_config import DGDConfig
from cellprism.errors import InputError

SMALL = DGDConfig(latent=5, n_components=3, hidden=24, head_layers=2)
TRAINING = {"epochs": 60, "batch_size": 64, "lr": 3e-3}


@pytest.fixture(scope="module", autouse=True)
def todays_mudata():
    with mudata.set_options(pull_on_update=False):
        yield


def made(n: int = 240, seed: int = 0, features: tuple[int, ...] = (50, 80), prefix: str | None = None) -> mudata.MuData:
    """Three cell types and two batches; each modality's counts follow type and batch."""
    truth = np.random.default_rng(100)
    rng = np.random.default_rng(seed)
    kind, batch = rng.integers(0, 3, n), rng.integers(0, 2, n)
    parts = {}
    for name, g in zip(("rna", "atac"), features, strict=True):
        level = truth.gamma(0.5, 1.0, (3, g))[kind] * np.exp(0.6 * truth.standard_normal((2, g)))[batch]
        level *= rng.uniform(2, 6, (n, 1))
        parts[name] = ad.AnnData(
            sparse.csr_matrix(rng.poisson(level).astype(np.float32)),
            obs=pd.DataFrame(index=[f"{prefix or seed}c{i}" for i in range(n)]),
            var=pd.DataFrame(index=[f"{name}{i}" for i in range(g)]),
        )
    out = mudata.MuData(parts)
    out.obs["type"] = pd.Categorical(kind.astype(str))
    out.obs["batch"] = pd.Categorical(np.asarray(["x", "y"])[batch])
    return out


@pytest.fixture(scope="module")
def cells() -> mudata.MuData:
    torch.set_num_threads(1)
    return made()


@pytest.fixture(scope="module")
def model(cells) -> DGDModel:
    return DGDModel.fit(cells, batch="batch", config=SMALL, **TRAINING)


def separation(Z: np.ndarray, labels: np.ndarray) -> float:
    """Share of variance of Z between labels."""
    means = np.stack([Z[labels == v].mean(0) for v in np.unique(labels)])
    between = sum(
        (labels == v).sum() * ((m - Z.mean(0)) ** 2).sum() for v, m in zip(np.unique(labels), means, strict=True)
    )
    return between / ((Z - Z.mean(0)) ** 2).sum()


def test_training_climbs_and_types_come_apart_but_batches_do_not(cells, model) -> None:
    assert model.history[-1]["train"] < model.history[0]["train"]
    Z = model.encode(cells)
    assert Z.shape == (240, 5)
    assert separation(Z, cells.obs["type"].to_numpy()) > 0.5
    assert separation(Z, cells.obs["batch"].to_numpy()) < 0.1
    agreement = pd.crosstab(model.components(Z), cells.obs["type"].to_numpy())
    assert agreement.max(0).sum() > 0.8 * 240


def test_counts_are_better_told_by_their_own_batch_and_place(cells, model) -> None:
    own = model.log_likelihood(cells)
    Z = model.encode(cells)
    assert own.mean() > model.log_likelihood(cells, Z[::-1].copy()).mean() + 10
    wrong = cells.copy()
    wrong.obs["batch"] = np.where(cells.obs["batch"] == "x", "y", "x")
    assert own.mean() > model.log_likelihood(wrong, Z).mean() + 1


def test_likelihood_is_scipys_negative_binomial(cells, model) -> None:
    some = cells[:5].copy()
    Z = model.encode(some)
    means = model.decode(Z, some)
    total = np.zeros(5)
    for name, log_r in zip(("rna", "atac"), model.net.decoder.log_r, strict=True):
        r = np.exp(log_r.numpy()) + 1
        total += stats.nbinom.logpmf(some[name].X.toarray(), r, r / (r + means[name])).sum(1)
    np.testing.assert_allclose(model.log_likelihood(some, Z), total, rtol=1e-3)


def test_decoding_has_the_cells_library_and_batch(cells, model) -> None:
    Z = model.encode(cells)
    out = model.decode(Z, cells)
    for name in ("rna", "atac"):
        np.testing.assert_allclose(out[name].sum(1), np.asarray(cells[name].X.sum(1)).ravel(), rtol=1e-4)
    np.testing.assert_allclose(model.decode(Z)["rna"].sum(1), 1e4, rtol=1e-4)
    correlation = np.corrcoef(out["rna"].ravel(), cells["rna"].X.toarray().ravel())[0, 1]
    assert correlation > 0.8


def test_new_cells_are_embedded_beside_their_type(cells, model) -> None:
    new = made(60, seed=5)
    Z, trained = model.encode(new), model.encode(cells)
    nearest = ((Z[:, None] - trained[None]) ** 2).sum(-1).argmin(1)
    assert (cells.obs["type"].to_numpy()[nearest] == new.obs["type"].to_numpy()).mean() > 0.9
    np.testing.assert_array_equal(Z, model.encode(new))
    longer = model.log_likelihood(new, model.encode(new, steps=1000)).mean()
    assert model.log_likelihood(new, Z).mean() == pytest.approx(longer, abs=0.5)


def test_cells_of_an_unknown_batch_are_embedded_but_not_decoded(cells, model) -> None:
    new = made(20, seed=5)
    new.obs["batch"] = "z"
    assert np.isfinite(model.encode(new)).all()
    with pytest.raises(InputError, match="must be one the model knows"):
        model.decode(np.zeros((20, 5)), new)


def test_a_cell_with_a_training_cells_name_but_other_counts_is_new(cells, model) -> None:
    new = made(240, seed=6, prefix="0")
    assert list(new.obs_names) == list(cells.obs_names)
    assert not np.array_equal(model.encode(new), model.encode(cells))


def test_the_same_seed_gives_the_same_model(cells) -> None:
    kwargs = {"config": SMALL, "epochs": 3}
    a, b, c = (DGDModel.fit(cells, seed=s, **kwargs).encode(cells) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_saving_and_loading(cells, model, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {"model.json", "model.safetensors"}
    back = embed.load(tmp_path)
    assert isinstance(back, embed.EmbeddingModel)
    assert back.modalities == ("rna", "atac")
    new = made(10, seed=7)
    np.testing.assert_array_equal(back.encode(cells), model.encode(cells))
    np.testing.assert_array_equal(back.encode(new), model.encode(new))
    for name, expected in model.decode(back.encode(new), new).items():
        np.testing.assert_array_equal(back.decode(back.encode(new), new)[name], expected)
    assert json.loads((tmp_path / "model.json").read_text())["settings"]["categories"] == ["x", "y"]


def test_one_modality_by_name_without_hold_out_from_zero(cells) -> None:
    model = embed.train(
        "dgd", cells["rna"], latent=4, n_components=2, start="zero", layer=None, epochs=5, holdout=0.0, progress=True
    )
    assert model.modalities == ("rna",)
    assert len(model.history) == 5
    assert model.encode(cells["rna"]).shape == (240, 4)


def test_training_stops_when_held_out_cells_gain_no_more(cells) -> None:
    model = DGDModel.fit(cells["rna"], config=SMALL, epochs=500, lr=3e-2, patience=3, holdout=0.2)
    held = [h["held_out"] for h in model.history]
    assert len(held) < 500
    assert np.argmin(held) >= len(held) - 12


WRONG = {
    "not counts": (lambda c, m: DGDModel.fit(ad.AnnData(np.full((9, 4), 0.5)), epochs=1), "raw counts"),
    "unknown training option": (lambda c, m: DGDModel.fit(c, epoch=3), "must be among"),
    "unknown option by name": (lambda c, m: embed.train("dgd", c, epoch=3), "among"),
    "unknown start": (lambda c, m: DGDModel.fit(c, start="ica"), "pca or zero"),
    "no such batch column": (lambda c, m: DGDModel.fit(c, batch="donor"), "must be in obs"),
    "batch column missing at decode": (lambda c, m: m.decode(np.zeros((240, 5)), without_batch(c)), "must be in obs"),
    "modality missing": (lambda c, m: m.encode(c["rna"]), "modalities"),
    "genes missing": (lambda c, m: m.encode(made(20, features=(49, 80))), "1 of 50 missing"),
    "width": (lambda c, m: m.decode(np.zeros((3, 4))), "5 dimensions"),
    "cells without a batch": (
        lambda c, m: DGDModel.fit(some_without_batch(c), batch="batch"),
        "7 of 240 cells without",
    ),
}


def without_batch(c: mudata.MuData) -> mudata.MuData:
    out = c.copy()
    del out.obs["batch"]
    return out


def shuffled(c: mudata.MuData) -> object:
    return SimpleNamespace(
        mod={"rna": c["rna"], "atac": c["atac"][::-1]}, obs_names=c.obs_names, obs=c.obs, n_obs=c.n_obs
    )


def some_without_batch(c: mudata.MuData) -> mudata.MuData:
    out = c.copy()
    out.obs["batch"] = out.obs["batch"].astype(object).where(np.arange(c.n_obs) >= 7, None)
    return out


def test_cells_of_modalities_are_joined_by_name(cells, model) -> None:
    np.testing.assert_allclose(model.encode(shuffled(cells)), model.encode(cells), atol=1e-5)


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(cells, model, case: str) -> None:
    call, text = WRONG[case]
    with pytest.raises(InputError, match=text):
        call(cells, model)
