from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
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
    assert prism.pl.landscape(recipe["scouts"]).get_ylabel() in ("stability", "bits a cell")


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


def test_conditions_are_compared_in_the_anndata(tmp_path: Path) -> None:
    cells = fitted()
    prism.tl.annotate(cells, type_sets(60))
    found = prism.tl.differential(cells, "cell_type", "donor", conditions=("type 0", "type 1"))
    table = cells.uns["prism"]["differential"]
    assert table["pval"].is_monotonic_increasing
    assert table["name"].str.len().gt(0).all()
    assert found.info["unit"] == "donor"
    some = prism.tl.differential(cells, "cell_type", conditions=("type 0", "type 1"), within="donor != 'd0'")
    assert some.info["cells_a"] == ((cells.obs["cell_type"] == "type 0") & (cells.obs["donor"] != "d0")).sum()
    cells.write_h5ad(tmp_path / "a.h5ad")
    assert json.loads(ad.read_h5ad(tmp_path / "a.h5ad").uns["prism"]["differential_info"])["a"] == "type 0"
    with pytest.raises(prism.InputError, match="'kind'"):
        prism.tl.differential(cells, "kind")


def test_dictionaries_are_matched_by_the_names_of_cells(tmp_path: Path) -> None:
    cells = fitted()
    turned = cells[::-1].copy()
    table = prism.tl.match(cells, turned)
    assert (table["best_feature"] == table["feature"]).all()
    assert (table["partner_correlation"] > 0.999).all()
    assert len(cells.uns["prism"]["match"]) == len(table)
    other = cells[:250].copy()
    other.obs_names = [f"x{n}" for n in other.obs_names]
    with pytest.raises(prism.InputError, match="0 shared"):
        prism.tl.match(cells, other)


def test_further_cells_are_encoded_by_what_was_fitted(tmp_path: Path) -> None:
    cells = counts_adata(300, 60)
    model = prism.embed.train("pca", cells, n_components=5)
    cells.obsm["X_pca"] = model.encode(cells)
    prism.tl.fit(cells, "X_pca", cfg=prism.SAEConfig(16, k=3), seeds=1, epochs=30)
    prism.tl.annotate(cells, type_sets(60))
    own = counts_adata(300, 60)
    prism.tl.encode(own, cells, model=model)
    np.testing.assert_allclose(own.obsm["X_prism"].toarray(), cells.obsm["X_prism"].toarray(), atol=1e-5)
    new = counts_adata(120, 60, seed=5)
    found = prism.tl.encode(new, cells, model=model)
    assert found.codes.shape == (120, 16)
    assert len(new.uns["prism"]["features"]) == len(cells.uns["prism"]["features"])
    prism.tl.differential(new, "cell_type", conditions=("type 0", "type 1"))
    new.write_h5ad(tmp_path / "new.h5ad")
    assert (prism.tl.sae(ad.read_h5ad(tmp_path / "new.h5ad")).encode(found.embedding) != found.codes).nnz == 0
    far = counts_adata(100, 60)
    far.obsm["X_pca"] = 0.01 * far.obsm["X_emb"][:, :5]
    with pytest.warns(UserWarning, match="do not fit the dictionary"):
        prism.tl.encode(far, cells)


def test_what_adata_holds_is_not_written_over() -> None:
    cells = fitted()
    with pytest.raises(prism.InputError, match="embedding that they are of"):
        prism.tl.fit(cells, "X_prism", cfg=prism.SAEConfig(8, k=2), seeds=1, epochs=2)
    assert cells.uns["prism"]["rep"] == "X_emb"
    model = prism.embed.train("pca", cells, n_components=5)
    for column in ("prism_novelty", "prism_top_feature"):
        new = counts_adata(50, 60)
        new.obs[column] = "mine"
        with pytest.raises(prism.InputError, match=column):
            prism.tl.encode(new, cells, model=model)
        assert (new.obs[column] == "mine").all()
    new = counts_adata(50, 60)
    new.obsm["X_prism_embedding"] = np.zeros((50, 2))
    with pytest.raises(prism.InputError, match="X_prism_embedding"):
        prism.tl.encode(new, cells, model=model)


@pytest.mark.filterwarnings("ignore:these cells do not fit")  # another embedding, on purpose
def test_an_earlier_result_is_replaced_whole_and_nothing_of_the_users(tmp_path: Path) -> None:
    source = fitted()
    prism.tl.annotate(source, type_sets(60), nulls=())
    model = prism.embed.train("pca", source, n_components=6)
    new = counts_adata(50, 60)
    with pytest.raises(prism.InputError, match="made for"):
        prism.tl.encode(new, source, model=prism.embed.train("pca", source, n_components=5))
    assert not new.obsm.keys() - {"X_emb", "X_umap"}  # what was refused left nothing behind
    prism.tl.encode(new, source, model=model)
    assert {"prism_top_feature", "prism_top_names"} <= set(new.obs)
    new.write_h5ad(tmp_path / "new.h5ad")
    new = ad.read_h5ad(tmp_path / "new.h5ad")
    prism.tl.encode(new, source, model=model)  # over its own
    new.obs["prism_novelty"] = "mine"  # a name of ours that this result did not write
    with pytest.raises(prism.InputError, match="prism_novelty"):
        prism.tl.encode(new, source, model=model)
    assert (new.obs["prism_novelty"] == "mine").all()
    prism.tl.fit(new, "X_emb", cfg=prism.SAEConfig(8, k=2), seeds=1, epochs=2)
    assert not {"prism_top_feature", "prism_top_names"} & set(new.obs)  # of the dictionary that was there before
    assert "X_prism_embedding" not in new.obsm
    assert (new.obs["prism_novelty"] == "mine").all()
    again = counts_adata(50, 60)
    prism.tl.encode(again, source, model=model)
    prism.tl.fit(again, "X_prism_embedding", cfg=prism.SAEConfig(8, k=2), seeds=1, epochs=2)
    assert "X_prism_embedding" in again.obsm  # what is read stays


def test_no_argument_of_encode_is_ignored() -> None:
    cells = counts_adata(300, 60)
    model = prism.embed.train("pca", cells, n_components=5)
    cells.obsm["X_pca"] = model.encode(cells)
    prism.tl.fit(cells, "X_pca", cfg=prism.SAEConfig(16, k=3), seeds=1, epochs=5)
    new = cells[:80].copy()
    del new.uns["prism"], new.obsm["X_prism"]
    new.layers["counts"], new.X = new.X.copy(), new.X[::-1].copy()
    np.testing.assert_allclose(
        prism.tl.encode(new.copy(), cells, model=model, layer="counts").embedding, cells.obsm["X_pca"][:80], atol=1e-4
    )
    with pytest.raises(prism.InputError, match="nothing"):
        prism.tl.encode(new.copy(), cells, model=model, layer="nothing")
    for also in ({"model": model}, {"layer": "counts"}):
        with pytest.raises(prism.InputError, match="leave one of them out"):
            prism.tl.encode(new.copy(), cells, rep="X_pca", **also)
    with pytest.raises(prism.InputError, match="leave one of them out"):  # the embedding's key is that of the source
        prism.tl.encode(new.copy(), cells, layer="counts")


def test_steered_cells_are_chosen_by_mask_name_or_condition() -> None:
    cells = counts_adata(300, 60)
    model = prism.embed.train("pca", cells, n_components=5)
    cells.obsm["X_pca"] = model.encode(cells)
    prism.tl.fit(cells, "X_pca", cfg=prism.SAEConfig(16, k=3), seeds=1, epochs=5)
    feature = int(cells.obsm["X_prism"].sum(axis=0).argmax())
    mine = (cells.obs["cell_type"] == "type 0").to_numpy()
    for chosen in (mine, mine.astype(str), cells.obs_names[mine], np.flatnonzero(mine), "cell_type == 'type 0'"):
        found = prism.tl.steer(cells, feature, chosen, model=model, n_null=2)
        assert found.cells.tolist() == np.flatnonzero(mine).tolist()


def test_results_are_shown_in_two_lines() -> None:
    cells = counts_adata(300, 60)
    model = prism.embed.train("pca", cells, n_components=5)
    cells.obsm["X_pca"] = Z = model.encode(cells)
    fit = prism.tl.fit(cells, "X_pca", cfg=prism.SAEConfig(16, k=3), seeds=2, epochs=10)
    codes = fit.sae.encode(Z)
    feature = int(np.asarray(codes.sum(axis=0)).argmax())
    shown = [
        fit,
        prism.tl.annotate(cells, type_sets(60)),
        prism.tl.steer(cells, feature, model=model, n_null=3),
        prism.match(codes, codes),
        prism.tl.differential(cells, "cell_type", conditions=("type 0", "type 1")),
        prism.tl.encode(counts_adata(50, 60, seed=1), cells, model=model),
    ]
    for result in shown:
        lines = repr(result).splitlines()
        assert len(lines) == 2, lines
        assert max(map(len, lines)) < 130
    assert repr(fit.sae) == "SAE(16 features of 5 dimensions, batchtopk, k 3)"


def test_what_else_comes_back_is_as_short() -> None:
    """Tables and arrays of it would fill a page where it is the last line of a cell."""
    from cellprism.data.embedding import Embedding
    from cellprism.evaluation.planted import PlantedBenchmark
    from cellprism.recovery import Benchmark
    from cellprism.steering.linked import Linked

    cells = counts_adata(300, 60)
    model = prism.embed.train("pca", cells, n_components=5)
    Z = model.encode(cells)
    fit = prism.fit(Z, prism.SAEConfig(16, k=3), epochs=5)
    effect = prism.effect(fit.sae, model, Z, int(fit.sae.encode(Z).indices[0]), off=True, n_null=3)
    tables = pd.DataFrame({"method": ["a", "b"] * 50}), pd.DataFrame({"method": ["a", "b"]})
    batch = np.arange(300) % 2
    shown = [
        (
            prism.evaluate(fit.sae, Z, {"type": cells.obs["cell_type"]}, rivals=["random", "pca"]),
            "on 3 targets beside 2",
        ),
        (prism.choose_recipe(Z, preset="quick"), "candidates"),
        (prism.embed.train("autoencoder", cells, latent=4, epochs=1), "60 genes in 4 dimensions"),
        (model, "PCAModel(60 genes in 5 dimensions)"),
        (Benchmark(*tables), "Benchmark of 2 methods, 100 scores"),
        (PlantedBenchmark(tables[0], tables[1].assign(round=0)), "of 2 dictionaries in 1 rounds, 100 scores"),
        (Embedding(Z, None, "emb.csv"), "Embedding(300 x 5, from emb.csv)"),
        (prism.clean(fit.sae, Z, batch), "300 cells x 5 dimensions"),
        (prism.simulate.plant(cells.X, [prism.simulate.Programme(5)]), "1 programmes in 300 cells x 60 genes"),
        (Linked(effect.genes, pd.DataFrame({"feature": [1, 2], "chosen": [True, False]}), effect), "by 1 of 2 tried"),
    ]
    for result, says in shown:
        assert says in repr(result)
        assert len(repr(result).splitlines()) <= 2
        assert max(map(len, repr(result).splitlines())) < 130
