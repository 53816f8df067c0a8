from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cellprism import embed
from cellprism.embed.scvi import SCVIModel, kind_for
from cellprism.embed.scvi_kinds import KINDS
from cellprism.errors import InputError

scvi = pytest.importorskip("scvi", reason="scvi-tools is not installed", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")  # scvi-tools and lightning warn of their own affairs

N = 120


def made(seed: int = 0) -> mudata.MuData:
    truth, rng = np.random.default_rng(1), np.random.default_rng(seed)
    kind, batch = rng.integers(0, 2, N), rng.integers(0, 2, N)
    parts = {}
    for name, g in (("rna", 40), ("atac", 60), ("protein", 8)):
        level = truth.gamma(0.8, 2.0, (2, g))[kind] * rng.uniform(1, 3, (N, 1))
        counts = rng.poisson(level).astype(np.float32)
        parts[name] = ad.AnnData(
            sparse.csr_matrix(np.minimum(counts, 1) if name == "atac" else counts),
            obs=pd.DataFrame(index=[f"c{i}" for i in range(N)]),
            var=pd.DataFrame(index=[f"{name}{i}" for i in range(g)]),
        )
    with mudata.set_options(pull_on_update=False):
        out = mudata.MuData(parts)
    out.obs["batch"] = np.asarray(["x", "y"])[batch]
    out.obs["type"] = np.where(rng.random(N) < 0.2, "Unknown", np.asarray(["A", "B"])[kind])
    out.obs["truth"] = kind
    return out


def view(cells: mudata.MuData, kind: str) -> Any:
    if len(KINDS[kind]) > 1:
        return cells
    part = cells[KINDS[kind][0]].copy()
    part.obs = cells.obs.copy()
    return part


@pytest.fixture(scope="module")
def cells() -> mudata.MuData:
    return made()


@pytest.fixture(scope="module")
def models(cells) -> dict[str, SCVIModel]:
    return {
        kind: SCVIModel.fit(
            view(cells, kind),
            kind=kind,
            batch="batch",
            labels="type" if kind == "SCANVI" else None,
            n_latent=4,
            epochs=3,
            n_hidden=16,
        )
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_trained_saved_loaded_embedding_new_cells_and_decoding(cells, models, kind: str, tmp_path: Path) -> None:
    model, own = models[kind], view(cells, kind)
    Z = model.encode(own)
    assert Z.shape == (N, 4)
    assert model.modalities == KINDS[kind]
    decoded = model.decode(Z, own)
    for name, values in decoded.items():
        assert values.shape == (N, len(model.genes[name]))
        assert (values >= 0).all()
        if name != "protein":
            np.testing.assert_allclose(values.sum(1), np.asarray(cells[name].X.sum(1)).ravel(), rtol=1e-3)
    model.save(tmp_path / kind)
    back = embed.load(tmp_path / kind)
    new = view(made(seed=5), kind)
    np.testing.assert_allclose(back.encode(new), model.encode(new), atol=1e-5)
    for name, values in back.decode(Z, own).items():
        np.testing.assert_allclose(values, decoded[name], rtol=1e-4)


def test_decoding_the_own_latent_is_the_models_own_expression(cells, models) -> None:
    own = view(cells, "SCVI")
    Z = models["SCVI"].encode(own)
    ours = models["SCVI"].decode(Z, own)["rna"]
    from cellprism.embed.scvi_kinds import table

    inner = models["SCVI"].model
    X = table(
        "SCVI", models["SCVI"].genes, [own.X], ["x", "y"], (own.obs["batch"] == "y").to_numpy().astype(int), [], None
    )
    size = np.asarray(own.X.sum(1)).ravel()
    scale = inner.get_normalized_expression(X, n_samples=200, return_mean=True, library_size=1).to_numpy()
    assert np.corrcoef((ours / size[:, None]).ravel(), scale.ravel())[0, 1] > 0.95


def test_batch_changes_the_decoding_and_an_unknown_one_is_refused(cells, models) -> None:
    own = view(cells, "SCVI")
    Z = models["SCVI"].encode(own)
    other = own.copy()
    other.obs["batch"] = np.where(own.obs["batch"] == "x", "y", "x")
    assert not np.allclose(models["SCVI"].decode(Z, other)["rna"], models["SCVI"].decode(Z, own)["rna"])
    other.obs["batch"] = "z"
    for call in (lambda: models["SCVI"].decode(Z, other), lambda: models["SCVI"].encode(other)):
        with pytest.raises(InputError, match="must be one the model knows"):
            call()
    np.testing.assert_allclose(models["SCVI"].decode(Z)["rna"].sum(1), 1e4, rtol=1e-3)


@pytest.mark.parametrize("kind", ["SCVI", "LinearSCVI", "PEAKVI"])
def test_a_model_trained_elsewhere_is_taken_over(cells, kind: str) -> None:
    own = view(cells, kind)
    cls = getattr(scvi.model, kind)
    cls.setup_anndata(own, batch_key="batch")
    theirs = cls(own, n_latent=3)
    theirs.train(max_epochs=2, logger=False, enable_progress_bar=False)
    ours = SCVIModel.wrap(theirs)
    np.testing.assert_allclose(ours.encode(view(cells, kind)), theirs.get_latent_representation(), atol=1e-5)
    assert ours.decode(np.zeros((2, 3)))[ours.modalities[0]].shape == (2, own.n_vars)


def test_the_same_seed_gives_the_same_model_and_global_states_stay(cells) -> None:
    own = view(cells, "SCVI")
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = (embed.train("scvi", own, n_latent=3, epochs=1, seed=4).encode(own) for _ in range(2))
    np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_encoding_and_decoding_leave_global_states_alone(cells, models) -> None:
    before, drawn = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    for kind, model in models.items():
        model.decode(model.encode(view(cells, kind)))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), drawn)


def test_the_kind_follows_from_the_modalities(cells) -> None:
    assert kind_for(view(cells, "SCVI")) == "SCVI"
    for kind in ("TOTALVI", "MULTIVI", "PEAKVI"):
        with mudata.set_options(pull_on_update=False):
            assert kind_for(mudata.MuData({m: cells[m] for m in KINDS[kind]})) == kind


WRONG = {
    "kind": (lambda c, m: SCVIModel.fit(c, kind="VAE"), "one of SCVI"),
    "labels without SCANVI": (lambda c, m: SCVIModel.fit(view(c, "SCVI"), labels="type"), "SCANVI"),
    "SCANVI without labels": (lambda c, m: SCVIModel.fit(view(c, "SCVI"), kind="SCANVI"), "needs them"),
    "modalities": (lambda c, m: SCVIModel.fit(view(c, "SCVI"), kind="TOTALVI"), "rna, protein"),
    "counts": (lambda c, m: SCVIModel.fit(ad.AnnData(np.full((5, 3), 0.5))), "raw counts"),
    "width": (lambda c, m: m["SCVI"].decode(np.zeros((2, 9))), "4 dimensions"),
    "genes": (lambda c, m: m["SCVI"].encode(view(c, "SCVI")[:, 1:]), "1 of 40 missing"),
    "wrapping something else": (lambda c, m: SCVIModel.wrap(3), "trained SCVI"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(cells, models, case: str) -> None:
    call, text = WRONG[case]
    with pytest.raises(InputError, match=text):
        call(cells, models)
