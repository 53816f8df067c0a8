from __future__ import annotations

import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cellprism import embed
from cellprism.embed.drvi import DRVIModel
from cellprism.errors import InputError

N, GENES, D = 150, 40, 6


def made(seed: int = 0) -> ad.AnnData:
    """Two kinds of cells in two batches, the kinds with genes of their own."""
    truth, rng = np.random.default_rng(1), np.random.default_rng(seed)
    kind, batch = rng.integers(0, 2, N), rng.integers(0, 2, N)
    level = truth.gamma(0.8, 2.0, (2, GENES))[kind] * np.exp(0.5 * truth.standard_normal((2, GENES)))[batch]
    counts = rng.poisson(level * rng.uniform(1, 4, (N, 1))).astype(np.float32)
    obs = pd.DataFrame({"batch": np.asarray(["x", "y"])[batch], "truth": kind}, index=[f"c{i}" for i in range(N)])
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=[f"g{i}" for i in range(GENES)]))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "drvi", None)  # as where it is not installed
    (tmp_path / "model.json").write_text('{"format": 1, "model": "drvi", "settings": {}}')
    for call in (lambda: embed.train("drvi", made()), lambda: embed.load(tmp_path)):
        with pytest.raises(InputError, match=r"DRVI needs drvi-py.*cellprism\[drvi\]"):
            call()


@pytest.fixture(scope="module")
def drvi() -> object:
    return pytest.importorskip("drvi", reason="drvi-py is not installed", exc_type=ImportError)


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    return made()


@pytest.fixture(scope="module")
def model(drvi: object, cells: ad.AnnData) -> DRVIModel:
    training = {"batch_size": 32, "plan_kwargs": {"lr": 5e-3}}
    return embed.train(
        "drvi", cells, batch="batch", n_latent=D, epochs=60, training=training, encoder_dims=[16], decoder_dims=[16]
    )


pytestmark = pytest.mark.filterwarnings("ignore")  # drvi, scvi-tools and lightning warn of their own affairs


def test_cells_are_embedded_and_decoded_and_the_model_kept(cells: ad.AnnData, model: DRVIModel, tmp_path: Path) -> None:
    Z = model.encode(cells)
    assert Z.shape == (N, model.d) == (N, D)
    assert isinstance(model, embed.EmbeddingModel)
    found = model.decode(Z, cells)["rna"]
    totals = np.asarray(cells.X.sum(1)).ravel()
    assert found.shape == (N, GENES)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(1), totals, rtol=1e-3)
    np.testing.assert_allclose(model.decode(Z)["rna"].sum(1), 1e4, rtol=1e-3)
    model.save(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {"model.json", "model.safetensors"}
    back, new = embed.load(tmp_path), made(seed=5)[:, ::-1]  # genes are found by name
    np.testing.assert_allclose(back.encode(new), model.encode(made(seed=5)), atol=1e-5)
    np.testing.assert_allclose(back.decode(Z, cells)["rna"], found, rtol=1e-4)


def test_expected_counts_are_those_of_the_package(cells: ad.AnnData, model: DRVIModel) -> None:
    """Its own public decoding of the same points: log of the means."""
    Z, totals = model.encode(cells), np.asarray(cells.X.sum(1), dtype=np.float32).ravel()
    batch = (cells.obs["batch"] == "y").to_numpy().astype(np.int64)
    theirs = model.model.decode_latent_samples(Z, lib=totals, batch_values=batch, return_in_log_space=False)
    np.testing.assert_allclose(model.decode(Z, cells)["rna"], theirs, rtol=1e-4)


def test_decoding_follows_the_kind_of_cell_and_the_batch(cells: ad.AnnData, model: DRVIModel) -> None:
    Z, kind = model.encode(cells), cells.obs["truth"].to_numpy()
    share = np.asarray(cells.X.toarray()) / np.asarray(cells.X.sum(1))
    found = model.decode(Z)["rna"] / 1e4
    apart = share[kind == 1].mean(0) - share[kind == 0].mean(0)
    assert np.corrcoef(apart, found[kind == 1].mean(0) - found[kind == 0].mean(0))[0, 1] > 0.8
    other = cells.copy()
    other.obs["batch"] = np.where(cells.obs["batch"] == "x", "y", "x")
    assert not np.allclose(model.decode(Z, other)["rna"], model.decode(Z, cells)["rna"], rtol=1e-2)
    other.obs["batch"] = "z"
    for call in (lambda: model.decode(Z, other), lambda: model.encode(other)):
        with pytest.raises(InputError, match="must be one the model knows"):
            call()


def test_the_same_seed_gives_the_same_model_and_global_states_stay(drvi: object, cells: ad.AnnData) -> None:
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, same, other = (embed.train("drvi", cells, n_latent=3, epochs=1, seed=seed).encode(cells) for seed in (4, 4, 5))
    np.testing.assert_allclose(one, same, atol=1e-6)
    assert not np.allclose(one, other, atol=1e-3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("likelihood", ["pnb", "nb", "poisson"])
def test_every_likelihood_of_counts_decodes_to_the_totals(drvi: object, cells: ad.AnnData, likelihood: str) -> None:
    model = embed.train("drvi", cells, n_latent=3, epochs=1, gene_likelihood=likelihood)
    found = model.decode(model.encode(cells), cells)["rna"]
    np.testing.assert_allclose(found.sum(1), np.asarray(cells.X.sum(1)).ravel(), rtol=1e-3)


WRONG = {
    "a likelihood of no counts": (lambda c, m: DRVIModel.fit(c, gene_likelihood="normal"), "pnb, nb, poisson"),
    "values that are no counts": (lambda c, m: DRVIModel.fit(ad.AnnData(np.full((5, 3), 0.5))), "raw counts"),
    "width": (lambda c, m: m.decode(np.zeros((2, 9))), f"{D} dimensions"),
    "genes": (lambda c, m: m.encode(c[:, 1:]), f"1 of {GENES} missing"),
    "no such batch column": (lambda c, m: DRVIModel.fit(c, batch="donor"), "must be in obs"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(cells: ad.AnnData, model: DRVIModel, case: str) -> None:
    call, text = WRONG[case]
    with pytest.raises(InputError, match=text):
        call(cells, model)
