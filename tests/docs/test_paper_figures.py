"""The paper's figures from its own public data: the commands of benchmarks/paper on made files laid out as the published ones."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from helpers import counts_adata, multimodal, type_sets
from page_blocks import ROOT

import cellprism as prism
from cellprism.embed.dgd_config import DGDConfig
from cellprism.errors import InputError

FILES = ("given", "real", "steered", "pictures", "reproduce")
N, GENES, PEAKS = 1_300, 45, 20  # the paper's tests take the top 1 % of the cells, and want ten

FIGURES = ("kinds", "profiles", "steering", "models", "terms")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, ModuleType]:
    """The files of the commands, with places to write of their own and small dictionaries."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "paper"))
    for name in FILES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = {name: __import__(name) for name in FILES}
    monkeypatch.setattr(found["given"], "CACHE", tmp_path / "kept")
    monkeypatch.setitem(found["given"].SIZES, "quick", (40, 5))
    monkeypatch.setitem(found["given"].SIZES, "full", (60, 5))
    monkeypatch.setattr(found["real"], "MAPPED", 12)  # few enough to need no UMAP
    monkeypatch.setattr(found["reproduce"], "RESULTS", tmp_path / "results")
    monkeypatch.setattr(found["reproduce"], "FIGURES_OF_PAGE", tmp_path / "figures")
    (tmp_path / "results").mkdir()
    return found


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Cells, a model of them under the names of multiDGD's tensors, Geneformer's table, sets."""
    folder = tmp_path_factory.mktemp("published")
    rna = counts_adata(N, GENES)
    rna.obs["split"] = np.where(np.arange(N) % 5, "train", "test")
    atac = ad.AnnData(sp.csr_matrix(np.random.default_rng(1).poisson(1.0, (N, PEAKS)).astype(np.float32)))
    atac.obs_names, atac.var_names = rna.obs_names, [f"chr1:{i}" for i in range(PEAKS)]
    train = (rna.obs["split"] == "train").to_numpy()
    config = DGDConfig(latent=6, n_components=3, layers=1, hidden=10, head_layers=1)
    model = prism.embed.train(
        "dgd", multimodal(rna=rna[train].copy(), atac=atac[train].copy()), config=config, epochs=20, seed=0
    )
    state = {"representation.z": torch.as_tensor(model.z)}
    for key, value in model.net.state_dict().items():
        room, _, rest = key.partition(".")
        name = {"prior": f"gmm.{rest}", "decoder": key}[room]
        if key.startswith("decoder.heads."):
            number, _, rest = key.removeprefix("decoder.heads.").partition(".")
            name = f"decoder.out_modules.{number}.fc.{rest}"
        elif key.startswith("decoder.log_r."):
            name, value = f"decoder.out_modules.{key.rpartition('.')[2]}.distribution.log_r", value[None]
        state[name] = value
    torch.save(state, folder / "dgd.pt")
    settings = {
        "latent_dimension": 6, "n_hidden": 1, "n_units": 10, "n_hidden_modality": 1, "decoder_width": 1,
        "softball_scale": config.radius, "softball_hardness": config.hardness, "sd_mean": config.component_sd(), "sd_sd": 1,
        "dirichlet_a": 1, "modalities": ["GEX", "ATAC"], "n_features_per_modality": [GENES, PEAKS],
    }  # fmt: skip
    (folder / "dgd_hyperparameters.json").write_text(json.dumps(settings))
    obs = pd.DataFrame({"train_val_test": rna.obs["split"], "cell_type": rna.obs["cell_type"].astype(str)})
    one = ad.AnnData(sp.hstack([rna.X, atac.X], format="csr"), obs=obs)
    one.var_names = [*rna.var_names, *atac.var_names]
    one.layers["counts"] = one.X.copy()
    one.X = np.log1p(one.X)  # the counts lie in a layer, as in the published file
    one.write_h5ad(folder / "marrow.h5ad")
    two = multimodal(
        rna=ad.AnnData(rna.X, obs=obs[["cell_type"]].set_axis(["celltype"], axis=1), var=rna.var[[]]), atac=atac
    )
    two.obs["train_val_test"] = obs["train_val_test"]
    with mudata.set_options(pull_on_update=False):
        two.write_h5mu(folder / "gastrulation.h5mu")
    Z = pd.DataFrame(rna.obsm["X_emb"].astype(np.float32), columns=[str(i) for i in range(6)])
    Z.assign(cell_type=obs["cell_type"].to_numpy()).to_csv(folder / "in_order.csv")
    shuffled = np.random.default_rng(2).permutation(N)
    named = Z.assign(cell=rna.obs_names, cell_type=obs["cell_type"].to_numpy()).iloc[shuffled].reset_index(drop=True)
    named.to_csv(folder / "named.csv")
    named.drop(columns="cell").to_csv(folder / "lost.csv")
    sets = {f"{name}, {i}": genes[i : i + 12] for name, genes in type_sets(GENES).items() for i in range(4)}
    lines = ["\t".join([name, "", *genes]) for name, genes in sets.items()]
    (folder / "sets.gmt").write_text("\n".join(lines) + "\n")
    return {"folder": folder, "z": model.z, "train": train, "types": obs["cell_type"], "Z": Z.to_numpy(), "rna": rna}


def command(scripts: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch, published: Any, *words: str) -> None:
    folder = published["folder"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *words, "--weights", "dgd.pt", "--sets", "sets.gmt"])
    scripts["reproduce"].main()


FILE_OF = {"bone-marrow": "marrow.h5ad", "gastrulation": "gastrulation.h5mu", "brain": "gastrulation.h5mu"}


@pytest.mark.parametrize("data", FILE_OF)
def test_cells_come_with_their_own_representation_and_type(scripts, published, data, monkeypatch) -> None:
    kept = []
    monkeypatch.setattr(
        scripts["reproduce"], "open_cells", lambda a: kept.append(scripts["given"].open_cells(a)) or kept[0]
    )
    words = ["kinds", "--data", data, "--cells", FILE_OF[data], "--geneformer", "named.csv"]
    command(scripts, monkeypatch, published, *words)
    (given,) = kept
    rows = published["train"]
    np.testing.assert_array_equal(given.Z, published["z"])
    assert list(given.labels) == list(published["types"][rows])
    assert list(given.cells.obs_names) == list(published["rna"].obs_names[rows])
    counts = published["rna"].X[rows].toarray()
    np.testing.assert_allclose(
        given.cells.X.toarray(), np.log1p(counts / counts.sum(1, keepdims=True) * 1e4), rtol=1e-5
    )
    np.testing.assert_allclose(given.other, published["Z"][rows], rtol=1e-5)


@pytest.mark.filterwarnings("ignore::cellprism.errors.EmbeddingRemark")
@pytest.mark.parametrize("preset", [pytest.param("quick", marks=pytest.mark.slow), "full"])
def test_every_figure_of_real_cells_is_computed_and_drawn(scripts, published, preset, monkeypatch, tmp_path) -> None:
    words = ["--data", "bone-marrow", "--cells", "marrow.h5ad", "--geneformer", "named.csv", "--preset", preset]
    words += ["--source", "type 1", "--target", "type 2"]
    command(scripts, monkeypatch, published, "all", *words)
    found = {
        f: json.loads((tmp_path / "results" / "paper" / f"bone-marrow-{f}-{preset}.json").read_text()) for f in FIGURES
    }
    assert all((tmp_path / "figures" / f"bone-marrow-{f}.png").stat().st_size > 5_000 for f in FIGURES)
    n = int(published["train"].sum())
    for row in found["kinds"]["found"]:
        assert sum(row["kinds"].values()) == row["width"]
        assert sum(row["random"].values()) == row["width"] - row["kinds"].get("dead", 0)
    assert {row["seed"] for row in found["profiles"]["found"]} == {0, 42, 9307}
    for one in found["steering"]["found"]["steered"]:
        assert (one["source"], one["target"]) == ("type 1", "type 2")
        assert not [gene for gene in one["genes_up"] if gene.startswith("chr")]
    assert len(found["steering"]["found"]["embedding"]) == n
    assert found["models"]["found"]["names"] == ["multiDGD", "Geneformer"]
    for one in found["terms"]["found"]:
        assert len(one["counts"]) == one["with_terms"] <= one["features"]
        assert len(one["map"]) == len(one["ancestors"]) == min(12, one["with_terms"])
        assert min(one["counts"]) >= 1
    assert found["terms"]["found"][1]["with_terms"] > 0  # this embedding was made to hold the types


def test_what_is_there_is_left_alone(scripts, published, monkeypatch, tmp_path, capsys) -> None:
    at = tmp_path / "results" / "paper" / "bone-marrow-kinds-quick.json"
    at.parent.mkdir()
    about = {"dictionary": "x", "seed": 0, "width": 2, "l0": 1.0, "kinds": {"local": 2}, "random": {"global": 2}}
    at.write_text(json.dumps({"found": [about]}))
    before = at.read_text()
    monkeypatch.setattr(scripts["reproduce"], "open_cells", lambda _: pytest.fail("nothing is to be computed"))
    command(scripts, monkeypatch, published, "kinds", "--data", "bone-marrow")
    assert at.read_text() == before
    assert capsys.readouterr().out == "bone-marrow-kinds-quick.json\n"


def test_geneformers_table_joins_by_name_or_by_types_in_order_or_not_at_all(scripts, published) -> None:
    joined, folder = scripts["given"].geneformer, published["folder"]
    names, types = published["rna"].obs_names, published["types"].to_numpy()
    for file in ("named.csv", "in_order.csv"):
        np.testing.assert_allclose(joined(folder / file, names, types), published["Z"], rtol=1e-5)
    with pytest.raises(InputError, match="by name"):
        joined(folder / "lost.csv", names, types)
    with pytest.raises(InputError, match="--geneformer"):
        joined(None, names, types)


def test_cells_without_types_are_refused(scripts, published, monkeypatch) -> None:
    words = ["kinds", "--data", "bone-marrow", "--cells", "marrow.h5ad", "--labels", "kind_of_cell"]
    with pytest.raises(InputError, match="--labels"):
        command(scripts, monkeypatch, published, *words)
