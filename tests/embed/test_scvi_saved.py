"""Models as scvi-tools users have them: saved folders, extra covariates, SCANVI, TOTALVI, MULTIVI."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from cli_runner import call
from helpers import counts_adata, multimodal, type_sets

from cellprism import embed, tl
from cellprism.embed.scvi import SCVIModel
from cellprism.embed.scvi_file import read_saved
from cellprism.errors import InputError
from cellprism.run import RunFolder, RunOptions, run

pytestmark = pytest.mark.filterwarnings("ignore")  # scvi-tools and lightning warn of their own affairs
N = 120


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("sprung"),)


def test_no_code_of_a_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = {
        "model_state_dict": {"w": torch.ones(2), "x": Trap()}, "var_names": np.array(["a", "b"], dtype=object),
        "attr_dict": {"registry_": {"model_name": "SCVI"}, "init_params_": {}, "history_": {"loss": pd.DataFrame({"a": [1]})}},
    }  # fmt: skip
    torch.save(content, tmp_path / "model.pt")
    found = read_saved(tmp_path)
    assert not (tmp_path / "sprung").exists()
    assert found["kind"] == "SCVI"
    assert found["var_names"].tolist() == ["a", "b"]
    assert found["state"].keys() == {"w"}
    for wrong in ({"a": 1}, {"model_state_dict": {}, "attr_dict": {}}, Trap()):
        torch.save(wrong, tmp_path / "model.pt")
        with pytest.raises(InputError):
            read_saved(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"no model")
    with pytest.raises(InputError, match="readable"):
        read_saved(tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def library() -> Any:
    scvi = pytest.importorskip("scvi", reason="scvi-tools is not installed", exc_type=ImportError)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return scvi


def cells_of(n: int = N) -> ad.AnnData:
    cells = counts_adata(n, 30, seed=1)
    rng = np.random.default_rng(0)
    cells.obs["batch"] = pd.Categorical(np.where(np.arange(n) % 3 == 0, "x", "y"))
    cells.obs["site"] = pd.Categorical(np.array(["p", "q", "r", "r"])[np.arange(n) % 4])
    cells.obs["percent"] = rng.random(n)
    cells.layers["counts"] = cells.X.copy()
    return cells


@pytest.fixture(scope="module")
def saved(library: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any, Any]]:
    """Folder, model and cells (as here) of each class, trained as its users do."""
    root, models, short = (
        tmp_path_factory.mktemp("scvi"),
        library.model,
        {"accelerator": "cpu", "enable_progress_bar": False},
    )
    made: dict[str, tuple[Path, Any, Any]] = {}

    def keep(name: str, model: Any, cells: Any) -> None:
        model.save(str(root / name))
        made[name] = (root / name, model, cells)

    cells = cells_of()
    keys = {"categorical_covariate_keys": ["site", "donor"], "continuous_covariate_keys": ["percent"]}
    models.SCVI.setup_anndata(cells, layer="counts", batch_key="batch", **keys)
    model = models.SCVI(cells, n_latent=4, n_hidden=16)
    model.train(3, **short)
    keep("SCVI", model, cells)
    semi = models.SCANVI.from_scvi_model(model, "Unknown", labels_key="cell_type")
    semi.train(1, **short)
    keep("SCANVI", semi, cells)
    linear = cells_of()
    models.LinearSCVI.setup_anndata(linear, batch_key="batch")
    model = models.LinearSCVI(linear, n_latent=4)
    model.train(2, **short)
    keep("LinearSCVI", model, linear)
    rna = cells_of()
    rng = np.random.default_rng(0)
    protein = ad.AnnData(rng.poisson(5, (N, 4)).astype("f4"), obs=pd.DataFrame(index=rna.obs_names))
    protein.var_names = list("ABCD")
    rna.obsm["protein_expression"] = protein.to_df()
    models.TOTALVI.setup_anndata(
        rna, protein_expression_obsm_key="protein_expression", batch_key="batch", categorical_covariate_keys=["site"]
    )
    model = models.TOTALVI(rna, n_latent=4)
    model.train(2, **short)
    both = multimodal(rna=rna, protein=protein)
    both.obs = rna.obs.copy()
    keep("TOTALVI", model, both)
    peaks = counts_adata(N, 8)
    peaks.var_names = [f"P{i}" for i in range(8)]
    two = multimodal(rna=cells_of(), atac=peaks)
    two.obs["batch"] = cells.obs["batch"]
    models.MULTIVI.setup_mudata(two, batch_key="batch", modalities={"rna_layer": "rna", "atac_layer": "atac"})
    model = models.MULTIVI(two, n_genes=30, n_regions=8, n_latent=4)
    model.train(2, **short)
    keep("MULTIVI", model, two)
    return made


KINDS = ["SCVI", "SCANVI", "LinearSCVI", "TOTALVI", "MULTIVI"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_folder_embeds_and_decodes_as_the_model_itself(saved: dict, kind: str, tmp_path: Path) -> None:
    folder, model, cells = saved[kind]
    found = embed.load(folder)
    Z = found.encode(cells)
    np.testing.assert_allclose(Z, model.get_latent_representation(), atol=1e-5)
    wrapped = SCVIModel.wrap(model)
    for m, values in wrapped.decode(Z, cells).items():
        np.testing.assert_allclose(found.decode(Z, cells)[m], values, rtol=1e-5)
    # and once it is a model of ours
    wrapped.save(tmp_path / "ours")
    again = embed.load(tmp_path / "ours")
    for m, values in wrapped.decode(Z[:7]).items():
        np.testing.assert_allclose(again.decode(Z[:7])[m], values, rtol=1e-5)
    assert again.reference_words() == wrapped.reference_words()


def test_totalvi_takes_cells_as_it_was_trained_on_them(saved: dict, tmp_path: Path, capsys) -> None:
    """Proteins in obsm, batch and covariate in obs: through run, steering and new cells."""
    folder, model, both = saved["TOTALVI"]
    cells = both.mod["rna"].copy()
    found = embed.load(folder)
    np.testing.assert_allclose(found.encode(cells), model.get_latent_representation(), atol=1e-5)
    cells.obsm["X_totalVI"] = model.get_latent_representation()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "sets.gmt").write_text("".join(f"{n}\t\t" + "\t".join(g) + "\n" for n, g in type_sets().items()))
    done = call(
        capsys, "run", tmp_path / "cells.h5ad", "--rep", "X_totalVI", "--gene-sets", tmp_path / "sets.gmt", "--width", 12,
        "--k", 3, "--seeds", 1, "--epochs", 20, "-o", tmp_path / "run",
    )  # fmt: skip
    assert done.code == 0, done.err
    out = RunFolder.open(tmp_path / "run")
    assert set(out.genes["modality"].astype(str)) == {"rna", "protein"}
    feature = int(out.features["feature"].iloc[0])
    steered = call(capsys, "steer", out.path, "--model", folder, "--feature", feature, "--off", "-o", tmp_path / "s")
    assert steered.code == 0, steered.err
    assert pd.read_parquet(tmp_path / "s" / "steering.parquet")["modality"].value_counts().to_dict() == {
        "rna": 30,
        "protein": 4,
    }
    coded = call(capsys, "encode", out.path, tmp_path / "cells.h5ad", "--model", folder, "-o", tmp_path / "c.npz")
    assert coded.code == 0, coded.err
    np.testing.assert_allclose(sp.load_npz(tmp_path / "c.npz").toarray(), out.codes.toarray(), atol=1e-4)
    fresh = cells.copy()
    del fresh.obsm["X_totalVI"]
    in_python = tl.encode(fresh, out.path, model=folder)
    np.testing.assert_allclose(in_python.codes.toarray(), out.codes.toarray(), atol=1e-4)


def test_decoding_with_the_cells_covariates_is_the_models_own_expression(saved: dict) -> None:
    folder, model, cells = saved["SCVI"]
    found = embed.load(folder)
    Z = found.encode(cells)
    module = model.module
    with torch.no_grad():
        cat = torch.as_tensor(np.stack([cells.obs[c].cat.codes for c in ("site", "donor")], 1).astype("i8"))
        cont = torch.as_tensor(cells.obs[["percent"]].to_numpy("f4"))
        batch = torch.as_tensor(cells.obs["batch"].cat.codes.to_numpy("i8")[:, None].copy())
        library = torch.log(torch.as_tensor(np.asarray(cells.layers["counts"].sum(1), "f4").reshape(-1, 1)))
        px = module.generative(torch.as_tensor(Z), library, batch, cont_covs=cont, cat_covs=cat)["px"]
        wanted = px.scale * torch.exp(library)
    np.testing.assert_allclose(found.decode(Z, cells)["rna"], wanted.numpy(), rtol=1e-4)


def test_where_no_cell_is_given_the_commonest_and_the_mean_are_taken_and_said(saved: dict) -> None:
    folder, model, cells = saved["SCVI"]
    found = embed.load(folder)
    assert "its cells are not known" in found.reference_words()
    found.refer(cells.obs)
    words = found.reference_words()
    assert "batch 'y' (the commonest)" in words
    assert "site 'r' (the commonest)" in words
    assert f"percent {cells.obs['percent'].mean():.3g} (the mean)" in words
    Z = found.encode(cells)[:1]
    at = cells[:1].copy()
    at.obs["batch"], at.obs["site"], at.obs["percent"] = "y", "r", cells.obs["percent"].mean()
    at.obs["donor"] = cells.obs["donor"].value_counts().index[0]
    at.layers["counts"] = at.layers["counts"] * 0
    at.layers["counts"][0, 0] = 10_000
    np.testing.assert_allclose(found.decode(Z)["rna"], found.decode(Z, at)["rna"], rtol=1e-5)
    assert SCVIModel.wrap(model).reference_words() == words


def test_what_cannot_be_wrapped_names_the_way_out(library: Any, saved: dict, tmp_path: Path) -> None:
    cells = cells_of()
    cells.obs["size"] = 1.0
    library.model.SCVI.setup_anndata(cells, size_factor_key="size")
    model = library.model.SCVI(cells, n_latent=3)
    with pytest.raises(InputError, match="untrained"):
        SCVIModel.wrap(model)
    model.train(1, accelerator="cpu", enable_progress_bar=False)
    with pytest.raises(InputError, match="`rep=KEY`"):
        SCVIModel.wrap(model)
    found = embed.load(saved["SCVI"][0])
    other = saved["SCVI"][2].copy()
    other.obs["site"] = "z"
    with pytest.raises(InputError, match="'site'"):
        found.encode(other)
    del other.obs["site"]
    with pytest.raises(InputError, match="no 'site'"):
        found.encode(other)


def test_a_run_on_the_models_embedding_is_steered_by_its_folder(saved: dict, tmp_path: Path, capsys) -> None:
    folder, model, cells = saved["SCVI"]
    cells = cells_of()
    cells.obsm["X_scVI"] = model.get_latent_representation()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "sets.gmt").write_text("".join(f"{n}\t\t" + "\t".join(g) + "\n" for n, g in type_sets().items()))
    done = run(
        RunOptions(
            data=tmp_path / "cells.h5ad",
            output=tmp_path / "run",
            rep="X_scVI",
            layer="counts",
            labels=("site",),
            gene_sets=(str(tmp_path / "sets.gmt"),),
            width=12,
            k=3,
            seeds=1,
            epochs=20,
        )
    )
    feature = int(done.features["feature"].iloc[0])
    none = call(capsys, "steer", done.path, "--feature", feature, "--off", "-o", tmp_path / "s")
    assert (none.code, "one that scvi-tools saved" in none.err) == (2, True)
    steered = call(
        capsys, "steer", done.path, "--feature", feature, "--to-quantile", 0.9, "--model", folder, "-o", tmp_path / "s"
    )
    assert steered.code == 0, steered.err
    assert "decoded at" in steered.out
    assert "site 'r' (the commonest)" in steered.out
    assert len(pd.read_parquet(tmp_path / "s" / "steering.parquet")) == 30
    coded = call(capsys, "encode", done.path, tmp_path / "cells.h5ad", "--model", folder, "-o", tmp_path / "c.npz")
    assert coded.code == 0, coded.err
    assert "Note" not in coded.out
