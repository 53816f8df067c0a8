from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from helpers import counts_adata, type_sets

import cellprism as prism


def fitted() -> ad.AnnData:
    cells = counts_adata(300, 60)
    prism.tl.fit(cells, "X_emb", cfg=prism.SAEConfig(16, k=3), seeds=2, epochs=30)
    return cells


def test_results_live_in_the_anndata_and_survive_a_file(tmp_path: Path) -> None:
    cells = fitted()
    prism.tl.annotate(cells, type_sets(60), labels=["cell_type"])
    cells.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert back.obsm["X_prism"].shape == (300, 16)
    sae = prism.tl.sae(back)
    assert (sae.encode(back.obsm["X_emb"]) != cells.obsm["X_prism"]).nnz == 0
    features = back.uns["prism"]["features"]
    assert {"name", "stability", "top_set", "top_label"} <= set(features.columns)
    assert features["stability"].notna().any()
    assert back.uns["prism"]["labels"].groupby("value", observed=True)["auroc"].max().max() > 0.9


@pytest.mark.parametrize(
    "config",
    [prism.SAEConfig.paper("relu", 12), prism.SAEConfig(12, k=2, matryoshka=(4,)), prism.SAEConfig(12, "gated")],
)
def test_the_config_survives_a_file(config: prism.SAEConfig, tmp_path: Path) -> None:
    """What is None too: an .h5ad file holds none."""
    cells = counts_adata(100)
    prism.tl.fit(cells, "X_emb", cfg=config, seeds=1, epochs=2)
    cells.write_h5ad(tmp_path / "a.h5ad")
    assert prism.tl.sae(ad.read_h5ad(tmp_path / "a.h5ad")).config == config


def test_one_seed_has_no_stability() -> None:
    cells = counts_adata(100)
    prism.tl.fit(cells, "X_emb", key="one", cfg=prism.SAEConfig(8, k=2), seeds=1, epochs=2)
    assert "stability" not in cells.uns["one"]
    found = prism.tl.annotate(cells, type_sets(), key="one", strata="donor")
    assert found.features["stability"].isna().all()


def test_fit_without_config_keeps_why(tmp_path: Path) -> None:
    cells = counts_adata(200)
    prism.tl.fit(cells, "X_emb", seeds=1, epochs=2, preset="quick")
    cells.write_h5ad(tmp_path / "a.h5ad")
    recipe = json.loads(ad.read_h5ad(tmp_path / "a.h5ad").uns["prism"]["recipe"])
    assert len(recipe["reasons"]) >= 3
    assert prism.pl.landscape(recipe["scouts"]).get_ylabel() in ("stability", "bits")


def test_errors_name_the_remedy() -> None:
    cells = counts_adata()
    with pytest.raises(prism.InputError, match=r"call prism\.tl\.fit"):
        prism.tl.annotate(cells, type_sets())
    with pytest.raises(prism.InputError, match="'X_emb'"):
        prism.tl.fit(cells, "X_pca")
    cells = fitted()
    with pytest.raises(prism.InputError, match="'type'"):
        prism.tl.annotate(cells, type_sets(60), labels=["type"])


def test_steering_is_read_in_genes(tmp_path: Path) -> None:
    cells = counts_adata(300, 60)
    model = prism.embed.train("pca", cells, n_components=5)
    cells.obsm["X_pca"] = model.encode(cells)
    prism.tl.fit(cells, "X_pca", cfg=prism.SAEConfig(16, k=3), seeds=1, epochs=30)
    feature = int(cells.obsm["X_prism"].sum(axis=0).argmax())
    found = prism.tl.steer(cells, feature, cells.obs_names[:50], model=model, n_null=20)
    assert found.genes["log2fc"].abs().max() > 0.1
    assert len(cells.uns["prism"]["steering"]) == 60
    model.save(tmp_path / "model")
    again = prism.tl.steer(cells, feature, np.arange(50), model=tmp_path / "model", n_null=20)
    np.testing.assert_allclose(again.genes["log2fc"], found.genes["log2fc"], rtol=1e-5)
    cells.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(prism.InputError, match="'nobody'"):
        prism.tl.steer(cells, feature, ["nobody"], model=model)


def test_everything_public_is_there() -> None:
    assert all(hasattr(prism, name) for name in prism.__all__)
    assert prism.__version__.count(".") == 2
