"""Modalities: cells joined by name, kinds known by what people call them."""

from __future__ import annotations

import itertools

import anndata as ad
import mudata as md
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from helpers import counts_adata
from helpers import multimodal as joined

from cellprism import embed
from cellprism.data.embedding import align, embedding_from_obsm
from cellprism.data.expression import measured_expression
from cellprism.data.modalities import ALIASES, modalities, renamed, with_protein
from cellprism.embed.base import split_modalities
from cellprism.errors import InputError


def part(values: list[list[float]], cells: list[str], letter: str) -> ad.AnnData:
    out = ad.AnnData(np.array(values, "f4"))
    out.obs_names = cells
    out.var_names = [f"{letter}{i}" for i in range(out.n_vars)]
    return out


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_cells_of_modalities_are_joined_by_name(order: tuple[int, ...]) -> None:
    names = ["c0", "c1", "c2"]
    rna = part([[1, 2], [3, 4], [5, 6]], names, "G")
    adt = part([[9, 1], [1, 1], [1, 3]], names, "P")[list(order)].copy()
    cells = joined(rna=rna, adt=adt)
    found = measured_expression(cells)
    scaled = np.expm1(found.values.toarray())
    at = [list(cells.obs_names).index(n) for n in names]
    np.testing.assert_allclose(scaled[at, 2:], [[9000, 1000], [5000, 5000], [2500, 7500]], rtol=1e-4)
    assert found.depth is not None
    np.testing.assert_allclose(found.depth[at], [13, 9, 15])
    for name, adata in split_modalities(cells).items():
        assert list(adata.obs_names) == list(cells.obs_names), name


def test_an_embedding_of_a_modality_is_joined_by_name() -> None:
    rna, adt = counts_adata(), counts_adata(n_genes=4)
    adt = adt[::-1].copy()
    adt.obsm["X_adt"] = np.asarray(rna[adt.obs_names].obsm["X_emb"]) + 1
    cells = joined(rna=rna, adt=adt)
    found = align(embedding_from_obsm(cells, "X_adt"), cells.obs_names)
    np.testing.assert_allclose(found, np.asarray(rna[cells.obs_names].obsm["X_emb"]) + 1)


def test_modalities_with_other_cells_are_refused_with_a_remedy_that_works() -> None:
    cells = joined(rna=part([[1, 2], [3, 4]], ["a", "b"], "G"), prot=part([[1, 2], [3, 4]], ["b", "c"], "P"))
    with pytest.raises(InputError, match="same cells") as caught:
        measured_expression(cells)
    mdata = cells
    shared = list(set.intersection(*(set(p.obs_names) for p in mdata.mod.values())))
    remedy = caught.value.remedy.split("keep the shared cells: ")[1].split(", with `shared`")[0]
    with md.set_options(pull_on_update=False):
        mended = eval(remedy, {"mudata": md, "mdata": mdata, "shared": shared})
    assert measured_expression(mended).values.shape == (1, 4)


@pytest.mark.parametrize(
    ("given", "known"),
    [(alias, kind) for kind, aliases in ALIASES.items() for alias in sorted(aliases)]
    + [("GEX", "rna"), ("Antibody_Capture", "protein"), ("ADT", "protein"), ("Peaks", "atac"), ("hto", "hto")],
)
def test_modalities_are_known_by_their_aliases(given: str, known: str) -> None:
    assert renamed([given, "other"]) == {given: known, "other": "other"}


def test_two_modalities_of_one_kind_keep_their_names() -> None:
    assert renamed(["rna", "gex", "prot"]) == {"rna": "rna", "gex": "gex", "prot": "protein"}


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("rna", "prot"), "TOTALVI"),
        (("gex", "adt"), "TOTALVI"),
        (("rna", "peaks"), "MULTIVI"),
        (("peaks",), "PEAKVI"),
        (("gex",), "SCVI"),
    ],
)
def test_the_class_is_chosen_by_the_modalities(names: tuple[str, ...], kind: str) -> None:
    from cellprism.embed.scvi import kind_for

    assert kind_for(joined(**{n: counts_adata(n_genes=5) for n in names})) == kind


@pytest.mark.parametrize("form", ["table", "array and names", "array", "sparse"])
def test_proteins_in_obsm_become_a_modality(form: str) -> None:
    cells = counts_adata()
    counts = np.random.default_rng(0).poisson(5, (cells.n_obs, 3))
    names = ["CD3", "CD4", "CD8"]
    if form == "table":
        cells.obsm["protein_expression"] = pd.DataFrame(counts, index=cells.obs_names, columns=names)
    else:
        cells.obsm["protein_expression"] = sp.csr_matrix(counts) if form == "sparse" else counts
    if form == "array and names":
        cells.uns["protein_names"] = np.array(names)
    both, said = with_protein(cells)
    assert said == "the proteins of obsm['protein_expression'] are a modality of their own"
    parts = modalities(both)
    assert list(parts) == ["rna", "protein"]
    named = form in ("table", "array and names")
    assert list(parts["protein"].var_names) == (names if named else ["protein 1", "protein 2", "protein 3"])
    found = measured_expression(both)
    assert found.modality[-3:] == ("protein",) * 3
    np.testing.assert_allclose(found.depth, np.asarray(cells.X.sum(axis=1)).ravel() + counts.sum(axis=1))
    assert list(both.obs.columns) == list(cells.obs.columns)
    assert embedding_from_obsm(both, "X_emb").values.shape == (60, 6)


@pytest.mark.parametrize(
    "values", [np.full((60, 3), np.nan), np.full((60, 3), -1.0), np.full((60, 3), 0.5), np.zeros((60, 3))]
)
def test_proteins_that_are_no_counts_stay_where_they_are(values: np.ndarray) -> None:
    cells = counts_adata()
    cells.obsm["protein_expression"] = values
    both, said = with_protein(cells)
    assert both is cells
    assert said == "obsm['protein_expression'] holds no counts and is no modality of this run"


def test_a_layer_that_one_modality_has_is_taken_from_there() -> None:
    rna, prot = counts_adata(), counts_adata(n_genes=4)
    rna.layers["counts"] = rna.X.copy()
    rna.X = rna.X * 0
    cells = joined(rna=rna, prot=prot)
    found = measured_expression(cells, layer="counts")
    assert found.states == {"rna": "counts", "protein": "counts"}
    with pytest.raises(InputError, match="none in rna, protein"):
        measured_expression(cells, layer="spliced")


@pytest.mark.parametrize("name", ["pca", "autoencoder", "dgd"])
def test_models_see_the_cells_in_one_order(name: str) -> None:
    rna, prot = counts_adata(n_genes=20), counts_adata(n_genes=6, seed=1)
    options = {
        "pca": {"n_components": 3},
        "autoencoder": {"latent": 3, "epochs": 1},
        "dgd": {"latent": 3, "epochs": 1},
    }[name]
    straight = embed.train(name, joined(rna=rna, prot=prot), **options)
    turned = joined(rna=rna, prot=prot[::-1].copy())
    assert list(turned.obs_names) == list(rna.obs_names)
    np.testing.assert_allclose(embed.train(name, turned, **options).encode(turned), straight.encode(turned), atol=1e-4)
