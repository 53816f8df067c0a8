"""What a caller gives stays as it is: every public function works on arrays that cannot be written to."""

from __future__ import annotations

import hashlib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anndata as ad
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from helpers import counts_adata, multimodal, type_sets

import cellprism as prism
from cellprism.steering import __all__ as steering
from cellprism.steering.edit import moved


def arrays(thing: Any, name: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Every array that something holds."""
    if isinstance(thing, np.ndarray):
        yield name, thing
    elif sp.issparse(thing):
        for part in ("data", "indices", "indptr"):
            yield f"{name}.{part}", getattr(thing, part)
    elif isinstance(thing, dict):
        for key, value in thing.items():
            yield from arrays(value, f"{name}[{key}]")
    elif hasattr(thing, "mod"):
        for key, value in thing.mod.items():
            yield from arrays(value, f"{name}.{key}")
    elif isinstance(thing, ad.AnnData):
        yield from arrays(thing.X, f"{name}.X")
        yield from arrays(dict(thing.layers), f"{name}.layers")
        yield from arrays(dict(thing.obsm), f"{name}.obsm")


def loose(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The same matrix as other programs may leave it: zeros stored, columns in no order."""
    dense = matrix.toarray()
    rows = [np.random.default_rng(i).permutation(dense.shape[1]) for i in range(len(dense))]
    values = np.concatenate([dense[i, r] for i, r in enumerate(rows)]).astype(np.float32)
    ptr = np.arange(len(dense) + 1) * dense.shape[1]
    return sp.csr_matrix((values, np.concatenate(rows).astype(np.int32), ptr.astype(np.int32)), shape=dense.shape)


@dataclass
class World:
    """Inputs of all kinds, none of which may change."""

    tmp: Any
    cells: ad.AnnData
    Z: np.ndarray
    counts: sp.csr_matrix
    log: sp.csr_array
    codes: sp.csr_array
    labels: np.ndarray
    donor: np.ndarray
    directions: np.ndarray
    fit: Any
    model: Any
    models: dict[str, Any]
    annotation: Any
    named: ad.AnnData
    both: Any
    sets: dict[str, list[str]] = field(default_factory=dict)

    @property
    def feature(self) -> int:
        """The most active one."""
        return int(np.asarray(self.codes.sum(axis=0)).argmax())

    def given(self) -> dict[str, Any]:
        names = ("cells", "Z", "counts", "log", "codes", "labels", "donor", "directions", "both")
        return {n: getattr(self, n) for n in names} | {"named": {k: self.named.obsm[k] for k in self.named.obsm}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    cells = counts_adata(240, 60)
    cells.obs["condition"] = np.where(np.arange(240) % 2, "b", "a")
    cells.layers["counts"] = loose(cells.X)
    cells.X = loose(cells.X)
    model = prism.embed.train("pca", cells, n_components=6)
    Z = model.encode(cells)
    cells.obsm["X_pca"] = Z
    config = prism.SAEConfig(16, k=3)
    fit = prism.fit(Z, config, seeds=2, epochs=20)
    named = cells.copy()
    prism.tl.fit(named, "X_pca", cfg=config, seeds=2, epochs=20)
    annotation = prism.tl.annotate(named, type_sets(60), labels=["cell_type"])
    models = {name: prism.embed.train(name, cells, epochs=2) for name in ("autoencoder", "dgd")} | {"pca": model}
    made = World(
        tmp_path_factory.mktemp("given"), cells, Z, cells.X, prism.embed.pca.log_normalise(cells.X),
        fit.sae.encode(Z), cells.obs["cell_type"].to_numpy(dtype=object), cells.obs["donor"].to_numpy(dtype=object),
        fit.sae.decoder_directions(), fit, model, models, annotation, named,
        multimodal(rna=counts_adata(60), protein=counts_adata(60, 8)), type_sets(60),
    )  # fmt: skip
    for _, array in arrays(made.given()):
        array.flags.writeable = False
    return made


def state(world: World) -> dict[str, str]:
    return {name: hashlib.sha256(np.ascontiguousarray(a)).hexdigest()
            for name, a in arrays(world.given()) if a.dtype != object}  # fmt: skip


def expression(w: World) -> tuple[Any, list[str], dict[str, list[str]]]:
    return w.log, list(w.cells.var_names), w.sets


TWO = {"cfg": prism.SAEConfig(8, k=2), "epochs": 2}
CALLS: dict[str, Callable[[World], Any]] = {
    "annotate": lambda w: prism.annotate(
        w.codes, *expression(w), labels={"type": w.labels}, strata=w.donor, embedding=w.Z
    ),
    "choose_recipe": lambda w: prism.choose_recipe(w.Z, preset="quick"),
    "clean": lambda w: prism.clean(w.fit.sae, w.Z, w.donor, labels=w.labels, residual="equalise", codes=w.codes),
    "consensus": lambda w: prism.consensus(w.fit, w.Z, returned=0.0, share=0.0),
    "differential": lambda w: prism.differential(w.codes, np.where(np.arange(240) % 2, "b", "a"), w.donor),
    "effect": lambda w: prism.effect(
        w.fit.sae,
        w.model,
        w.Z,
        w.feature,
        to_quantile=0.9,
        adata=w.cells,
        codes=w.codes,
        labels=w.labels,
        gene_sets=w.sets,
        cells=w.labels == "type 0",
        n_null=3,
    ),
    "evaluate": lambda w: prism.evaluate(w.codes, w.Z, {"type": w.labels}, expression=w.log),
    "pl.evaluation": lambda w: prism.pl.evaluation(prism.evaluate(w.codes, w.Z, {"type": w.labels}, expression=w.log)),
    "export_sae": lambda w: prism.export_sae(w.fit.sae, w.tmp / "there", "saelens"),
    "feature_network": lambda w: prism.feature_network(w.annotation.genes, w.annotation.features),
    "feature_sets": lambda w: prism.feature_sets(w.annotation.genes, w.annotation.features),
    "fit": lambda w: prism.fit(w.Z, **TWO),
    "fit_auto": lambda w: prism.fit_auto(w.Z, seeds=1, epochs=2, preset="quick"),
    "fit_many": lambda w: prism.fit_many(w.Z, [prism.SAEConfig(8, k=2), prism.SAEConfig(8, "relu")], epochs=2),
    "match": lambda w: prism.match(w.codes, w.codes, w.directions, w.directions),
    "screen": lambda w: prism.screen(w.fit.sae, w.Z, w.labels, codes=w.codes),
    "steer": lambda w: prism.steer(w.fit.sae, w.Z, w.feature, scale=2.0, cells=np.arange(9), codes=w.codes),
    "SAE": lambda w: w.fit.sae.decode(w.fit.sae.encode(w.Z)),
    "tl.fit": lambda w: prism.tl.fit(w.named, "X_pca", "again", seeds=2, **TWO),
    "tl.annotate": lambda w: prism.tl.annotate(w.named, w.sets, labels=["cell_type"], strata="donor", layer="counts"),
    "tl.sae": lambda w: prism.tl.sae(w.named),
    "tl.steer": lambda w: prism.tl.steer(w.named, w.feature, w.labels == "type 0", model=w.model, n_null=3),
    "tl.differential": lambda w: prism.tl.differential(w.named, "condition", "donor"),
    "tl.match": lambda w: prism.tl.match(w.named, w.named),
    "tl.encode": lambda w: prism.tl.encode(w.cells.copy(), w.named, rep="X_pca"),
    "pl.cells": lambda w: prism.pl.cells(w.named, w.feature),
    "pl.feature": lambda w: prism.pl.feature(w.named, w.feature),
    "pl.feature_map": lambda w: prism.pl.feature_map(w.named),
    "pl.dotplot": lambda w: prism.pl.dotplot(w.named, "cell_type"),
    "pl.violin": lambda w: prism.pl.violin(w.named, w.feature, "cell_type"),
    "pl.panels": lambda w: prism.pl.panels(w.named, [w.feature]),
    "pl.heatmap": lambda w: prism.pl.heatmap(w.named),
    "pl.terms": lambda w: prism.pl.terms(w.named),
    "pl.modules": lambda w: prism.pl.modules(w.named),
    "pl.differential": lambda w: prism.pl.differential(CALLS["differential"](w)),
    "pl.volcano": lambda w: prism.pl.volcano(w.named, w.feature),
    "view": lambda w: prism.view(w.named),
} | {
    f"{name}.{what}": call
    for name in ("pca", "autoencoder", "dgd")
    for what, call in {
        "fit": lambda w, name=name: prism.embed.train(
            name, w.cells, **({"n_components": 4} if name == "pca" else {"epochs": 1})
        ),
        "encode": lambda w, name=name: w.models[name].encode(w.cells),
        "decode": lambda w, name=name: w.models[name].decode(w.models[name].encode(w.cells), w.cells),
        "two modalities": lambda w: prism.embed.train("dgd", w.both, epochs=1).encode(w.both),
    }.items()
}
NO_ARRAYS = {
    "DivergedError", "InputError", "Annotation", "Evaluation", "Fit", "Recipe", "RunFolder", "SAEConfig",  # results and settings
    "load", "import_sae",  # take a path
    "linked",  # needs several modalities; it is effect() on arrays that it makes itself
    "Cleaned", "Edit", "Effect", "Linked",
    "pl.landscape", "pl.recovery", "pl.steering",  # draw finished tables
}  # fmt: skip


def test_every_public_function_is_called_here() -> None:
    public = {n for n in prism.__all__ if not isinstance(getattr(prism, n), types.ModuleType)} | set(steering)
    public |= {f"{m.__name__.rsplit('.', 1)[1]}.{n}" for m in (prism.tl, prism.pl) for n in m.__all__}
    assert public - NO_ARRAYS <= set(CALLS)


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
@pytest.mark.parametrize("name", CALLS)
def test_what_is_given_stays_as_it_is(world: World, name: str) -> None:
    before = state(world)
    with mpl.rc_context({"backend": "agg"}):
        CALLS[name](world)
    after = state(world)
    assert {k: after[k] for k in before} == before


def test_values_before_an_edit_survive_it() -> None:
    """The array of activations that is turned into codes is used again for each dose."""
    rng = np.random.default_rng(0)
    before = (rng.random((30, 2)) * (rng.random((30, 2)) < 0.5)).astype(np.float32)
    directions = rng.normal(size=(5, 4)).astype(np.float32)

    class Linear:
        def encode(self, X: Any) -> Any:
            raise NotImplementedError

        def decode(self, codes: Any) -> np.ndarray:
            return np.asarray(codes @ directions)

    before.flags.writeable = False
    after = before + 1
    found = moved(Linear(), 5, np.array([1, 3]), before, after)
    np.testing.assert_allclose(found, np.broadcast_to(directions[[1, 3]].sum(0), (30, 4)), rtol=1e-5)


def test_a_stored_sae_is_not_the_fitted_one() -> None:
    cells = counts_adata(100)
    fitted = prism.tl.fit(cells, "X_emb", cfg=prism.SAEConfig(8, k=2), seeds=1, epochs=2)
    kept = {k: np.array(v) for k, v in cells.uns["prism"]["tensors"].items()}
    for parameter in fitted.sae.parameters():
        parameter.data.zero_()
    for name, value in cells.uns["prism"]["tensors"].items():
        np.testing.assert_array_equal(value, kept[name])


def test_tables_are_not_written_to(world: World) -> None:
    tables = {n: getattr(world.annotation, n) for n in ("features", "genes", "sets", "labels")}
    before = {n: t.copy(deep=True) for n, t in tables.items()}
    for name in ("feature_network", "feature_sets", "pl.feature", "view"):
        CALLS[name](world)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(table, before[name])
