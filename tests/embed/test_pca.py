from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from sklearn.decomposition import PCA

from cellprism import embed
from cellprism.embed.pca import PCAModel, log_normalise
from cellprism.errors import InputError


def made_cells(n: int = 120, g: int = 40, seed: int = 0) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    programmes = rng.gamma(1.0, 1.0, (n, 4)) @ rng.gamma(0.5, 1.0, (4, g))
    counts = rng.poisson(programmes * rng.uniform(1, 4, (n, 1))).astype(np.float32)
    names = [f"g{i}" for i in range(g)]
    return ad.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame(index=[f"c{i}" for i in range(n)]),
        var=pd.DataFrame(index=names),
    )


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    return made_cells()


@pytest.fixture(scope="module")
def model(cells: ad.AnnData) -> PCAModel:
    return PCAModel.fit(cells, n_components=5)


def scanpy_normalised(cells: ad.AnnData) -> np.ndarray:
    other = cells.copy()
    sc.pp.normalize_total(other, target_sum=1e4)
    sc.pp.log1p(other)
    return other.X.toarray()


def test_normalisation_is_scanpys(cells: ad.AnnData) -> None:
    np.testing.assert_allclose(log_normalise(cells.X).toarray(), scanpy_normalised(cells), rtol=1e-5)


def test_scores_are_scikit_learns(cells: ad.AnnData, model: PCAModel) -> None:
    expected = PCA(5, svd_solver="full").fit_transform(scanpy_normalised(cells).astype(float))
    np.testing.assert_allclose(np.abs(model.encode(cells)), np.abs(expected), atol=1e-3)


def test_decoding_is_scikit_learns_inverse_with_the_cells_library(cells: ad.AnnData) -> None:
    L = scanpy_normalised(cells).astype(float)
    oracle = PCA(5, svd_solver="full").fit(L)
    expected = np.expm1(np.maximum(oracle.inverse_transform(oracle.transform(L)), 0))
    model = PCAModel.fit(cells, n_components=5)
    Z = model.encode(cells)
    np.testing.assert_allclose(model.decode(Z)["rna"], expected, rtol=1e-3, atol=0.05)
    library = cells.X.toarray().sum(1, keepdims=True)
    np.testing.assert_allclose(model.decode(Z, cells)["rna"], expected * library / 1e4, rtol=1e-3, atol=0.05)


def test_highly_variable_genes_make_the_space_and_all_genes_are_decoded(cells: ad.AnnData) -> None:
    model = PCAModel.fit(cells, n_components=5, n_top_genes=20)
    chosen = (model.components != 0).any(0)
    assert chosen.sum() == 20
    Z = model.encode(cells).astype(float)
    L = scanpy_normalised(cells)
    oracle = np.linalg.lstsq(Z, L - L.mean(0), rcond=None)[0]
    np.testing.assert_allclose(model.loadings, oracle, atol=1e-3)


def test_new_cells_are_matched_by_gene_name(cells: ad.AnnData, model: PCAModel) -> None:
    order = np.random.default_rng(0).permutation(cells.n_vars)
    extra = ad.concat([cells, made_cells(seed=3)[:, :2].copy()], axis=0, join="outer", index_unique="-")
    assert extra.n_vars == cells.n_vars
    np.testing.assert_allclose(model.encode(cells[:, order].copy()), model.encode(cells), atol=1e-5)


def test_the_same_seed_gives_the_same_model(cells: ad.AnnData, model: PCAModel) -> None:
    again = embed.train("pca", cells, n_components=5, seed=0)
    np.testing.assert_array_equal(again.encode(cells), model.encode(cells))


@pytest.mark.parametrize("kind", ["matrix", "layer", "log1p", "mudata"])
def test_other_inputs(cells: ad.AnnData, model: PCAModel, kind: str) -> None:
    if kind == "matrix":
        other = PCAModel.fit(cells.X, list(cells.var_names), n_components=5)
        Z = other.encode(cells)
    elif kind == "layer":
        moved = ad.AnnData(sparse.csr_matrix(cells.shape), obs=cells.obs, var=cells.var, layers={"raw": cells.X})
        Z = PCAModel.fit(moved, n_components=5, layer="raw").encode(moved)
    elif kind == "log1p":
        logged = ad.AnnData(sparse.csr_matrix(log_normalise(cells.X)), obs=cells.obs, var=cells.var)
        other = PCAModel.fit(logged, n_components=5)
        assert other.scale == "log1p"
        Z = other.encode(logged)
    else:
        import mudata

        with mudata.set_options(pull_on_update=False):
            Z = PCAModel.fit(mudata.MuData({"rna": cells}), n_components=5).encode(cells)
    np.testing.assert_allclose(np.abs(Z), np.abs(model.encode(cells)), atol=1e-3)


def test_saving_and_loading(cells: ad.AnnData, model: PCAModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert {f.name for f in (tmp_path / "model").iterdir()} == {"model.json", "model.safetensors"}
    back = embed.load(tmp_path / "model")
    assert isinstance(back, embed.EmbeddingModel)
    assert back.modalities == ("rna",)
    assert back.genes == {"rna": list(cells.var_names)}
    np.testing.assert_array_equal(back.encode(cells), model.encode(cells))
    np.testing.assert_array_equal(
        back.decode(back.encode(cells), cells)["rna"], model.decode(model.encode(cells), cells)["rna"]
    )


WRONG = {
    "unknown model": (lambda c, m, p: embed.train("pcaa", c), "must be one of .*pca"),
    "unknown option": (lambda c, m, p: embed.train("pca", c, components=3), "must be among"),
    "too many components": (lambda c, m, p: embed.train("pca", c, n_components=40), "n_components=39"),
    "scaled": (lambda c, m, p: PCAModel.fit(c.X.toarray() - 1.0), "after scaling"),
    "no such layer": (lambda c, m, p: PCAModel.fit(c, layer="raw"), "layer must exist"),
    "not cells": (lambda c, m, p: m.encode([1, 2]), "AnnData or MuData"),
    "missing genes": (lambda c, m, p: m.encode(c[:, 3:]), "3 of 40 missing"),
    "log values for a count model": (
        lambda c, m, p: m.encode(ad.AnnData(log_normalise(c.X).toarray(), var=c.var)),
        "fitted on counts",
    ),
    "width": (lambda c, m, p: m.decode(np.zeros((3, 4))), "5 dimensions"),
    "rows": (lambda c, m, p: m.decode(np.zeros((3, 5)), c), "3 rows for 120 cells"),
    "not finite": (lambda c, m, p: m.decode(np.full((3, 5), np.nan)), "finite"),
    "no model there": (lambda c, m, p: embed.load(p), "must hold an embedding model"),
    "names for a matrix": (lambda c, m, p: PCAModel.fit(c.X, ["a"]), "1 names, 40 columns"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(cells: ad.AnnData, model: PCAModel, tmp_path: Path, case: str) -> None:
    call, text = WRONG[case]
    with pytest.raises(InputError, match=text):
        call(cells, model, tmp_path)


def test_a_foreign_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(InputError, match="this package wrote"):
        embed.load(tmp_path)
