"""Changes that leave the biology as it is: each has its exact effect on every table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.features.annotate import Annotation, annotate
from cellprism.sae import SAEConfig, fit

N, GENES, WIDTH = 300, 90, 10
KEYS = {
    "features": ["feature"],
    "genes": ["feature", "gene"],
    "sets": ["feature", "set", "direction"],
    "labels": ["feature", "column", "value"],
}
TABLES = pytest.mark.parametrize("table", KEYS)
ROUNDING = {"rtol": 2e-5, "atol": 1e-9}
"""Sums over cells are taken in float32 blocks, so that another order of cells moves their last digits."""


def data() -> dict[str, Any]:
    """Features that drive programmes of genes, sets of these programmes and of chance, two kinds of labels."""
    rng = np.random.default_rng(4)
    codes = (rng.gamma(2.0, 1.0, (N, WIDTH)) * (rng.random((N, WIDTH)) < 0.2)).astype(np.float32)
    rate = rng.uniform(0.3, 2.0, GENES) * np.ones((N, 1))
    for f in range(4):
        rate[:, 9 * f : 9 * f + 9] *= np.where(codes[:, [f]] > 0, 3.0, 1.0)
    genes = [f"G{i:02d}" for i in range(GENES)]
    sets = {f"programme {f}": genes[9 * f : 9 * f + 8] for f in range(4)}
    sets |= {f"other {i}": [str(g) for g in rng.choice(genes, 10, replace=False)] for i in range(12)}
    kind = np.select([codes[:, 0] > 0, codes[:, 1] > 0], ["first", "second"], "rest")
    return {
        "codes": codes,
        "expression": np.log1p(rng.poisson(rate)).astype(np.float32),
        "genes": genes,
        "gene_sets": sets,
        "labels": pd.DataFrame({"type": kind, "age": rng.normal(size=N)}),
    }


def tables(given: dict[str, Any], **options: Any) -> Annotation:
    return annotate(**given, nulls=(), keep="all", association=True, **options)


def rows(found: Annotation, table: str) -> pd.DataFrame:
    """A table in an order of its own: by what its rows are about."""
    shown = getattr(found, table)
    shown = shown.assign(**{c: shown[c].astype(str) for c in shown.select_dtypes("category")})
    return shown.sort_values(KEYS[table]).set_index(KEYS[table])


def same(one: Annotation, other: Annotation, table: str, *, but: tuple[str, ...] = (), **bounds: float) -> None:
    a, b = rows(one, table).drop(columns=list(but)), rows(other, table).drop(columns=list(but))
    assert len(a) > 0
    pd.testing.assert_frame_equal(a, b, **(bounds or {"check_exact": True}), check_like=True)


@pytest.fixture(scope="module")
def given() -> dict[str, Any]:
    return data()


@pytest.fixture(scope="module")
def base(given: dict[str, Any]) -> Annotation:
    return tables(given)


@pytest.fixture(scope="module")
def changed(given: dict[str, Any]) -> dict[str, Annotation]:
    """The same annotated after each change."""
    rng = np.random.default_rng(0)
    cells, genes, features = rng.permutation(N), rng.permutation(GENES), rng.permutation(WIDTH)
    sets = list(given["gene_sets"].items())
    with_zeros = np.concatenate([given["expression"], np.zeros((N, 1), np.float32)], axis=1)
    twice = [*range(N), *range(N)]
    return {
        "cells": tables(
            given
            | {"codes": given["codes"][cells], "expression": given["expression"][cells]}
            | {"labels": given["labels"].iloc[cells].reset_index(drop=True)}
        ),
        "genes": tables(
            given | {"expression": given["expression"][:, genes], "genes": [given["genes"][g] for g in genes]}
        ),
        "features": tables(given | {"codes": given["codes"][:, features]}),
        "sets": tables(given | {"gene_sets": {name: members[::-1] for name, members in reversed(sets)}}),
        "seed": tables(given, seed=9),
        "scaled codes": tables(given | {"codes": given["codes"] * np.float32(1024)}),
        "foreign set": tables(given | {"gene_sets": given["gene_sets"] | {"foreign": ["X1", "X2", "X3", "X4", "X5"]}}),
        "silent gene": tables(given | {"expression": with_zeros, "genes": [*given["genes"], "ZERO"]}),
        "sparse": tables(
            given | {"expression": sp.csr_array(given["expression"]), "codes": sp.csr_array(given["codes"])}
        ),
        "float64": tables(given | {"expression": given["expression"].astype(np.float64)}),
        "twice": tables(
            given
            | {"codes": given["codes"][twice], "expression": given["expression"][twice]}
            | {"labels": given["labels"].iloc[twice].reset_index(drop=True)}
        ),
    }


@TABLES
@pytest.mark.parametrize("change", ["cells", "genes"])
def test_order_of_cells_and_genes_means_nothing(base: Annotation, changed: Any, change: str, table: str) -> None:
    same(base, changed[change], table, **ROUNDING)


@TABLES
@pytest.mark.parametrize("change", ["sets", "seed", "foreign set", "sparse", "float64"])
def test_what_tells_nothing_new_changes_no_bit(base: Annotation, changed: Any, change: str, table: str) -> None:
    same(base, changed[change], table)


@TABLES
def test_order_of_features_renumbers_them(base: Annotation, changed: Any, table: str) -> None:
    features = np.random.default_rng(0)
    features.permutation(N), features.permutation(GENES)
    old = features.permutation(WIDTH)
    renumbered = rows(changed["features"], table).reset_index()
    renumbered["feature"] = old[renumbered["feature"]].astype(renumbered["feature"].dtype)
    renumbered = renumbered.sort_values(KEYS[table]).set_index(KEYS[table])
    pd.testing.assert_frame_equal(rows(base, table), renumbered, check_exact=True, check_like=True)


@TABLES
def test_codes_in_other_units_scale_what_is_in_these_units(base: Annotation, changed: Any, table: str) -> None:
    in_units = {"features": ("mean_active", "max_active"), "labels": ("threshold",)}.get(table, ())
    same(base, changed["scaled codes"], table, but=in_units)
    for column in in_units:
        a, b = rows(base, table)[column], rows(changed["scaled codes"], table)[column]
        np.testing.assert_array_equal(a * 1024, b)


def test_a_silent_gene_enters_the_family_and_no_more(base: Annotation, changed: Any) -> None:
    """Its p is 1, so that Benjamini-Hochberg's q grows by the size of the family alone."""
    with_it = rows(changed["silent gene"], "genes")
    silent = with_it.xs("ZERO", level="gene")
    assert (silent["pval"] == 1).all()
    assert (silent["log2fc"] == 0).all()
    rest, before = with_it.drop("ZERO", level="gene"), rows(base, "genes")
    pd.testing.assert_frame_equal(before.drop(columns="qval"), rest.drop(columns="qval"), check_exact=True)
    grown = (before["qval"] * len(with_it) / len(before)).clip(upper=1)
    np.testing.assert_allclose(rest["qval"], grown, rtol=1e-5)  # kept in float32
    for table in ("sets", "labels"):
        same(base, changed["silent gene"], table)


def test_twice_the_data_is_the_same_effect_with_more_evidence(given: Any, base: Annotation, changed: Any) -> None:
    once, twice = rows(base, "genes"), rows(changed["twice"], "genes")
    np.testing.assert_allclose(twice["log2fc"], once["log2fc"], rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(twice["spearman"], once["spearman"], rtol=2e-5, atol=2e-6)
    # z = (|U| - 1/2) / sd; of twice the data U is 4 times as large, and sd^2 = n1 n2 / 12 (n + 1 - ties / n (n - 1)).
    z, active = once["statistic"], once.index.get_level_values("feature").map(rows(base, "features")["n_active"])
    spread = {}
    for name, column in zip(given["genes"], given["expression"].T, strict=True):
        t = np.unique(column, return_counts=True)[1].astype(float)
        spread[name] = [k * N + 1 - ((k * t) ** 3 - k * t).sum() / (k * N * (k * N - 1)) for k in (1, 2)]
    of_gene = np.array([spread[g] for g in once.index.get_level_values("gene")])
    sd = [np.sqrt(k**2 * active * (N - active) / 12 * of_gene[:, k - 1]) for k in (1, 2)]
    told = z != 0
    expected = (4 * (z.abs() * sd[0] + 0.5) - 0.5) / sd[1] * np.sign(z)
    np.testing.assert_allclose(twice["statistic"][told], expected[told], rtol=1e-5, atol=1e-5)
    assert (twice["statistic"][~told].abs() <= (1.5 / sd[1])[~told]).all()
    labels = ["auroc", "f1", "precision", "recall", "threshold", "spearman"]
    a, b = rows(base, "labels"), rows(changed["twice"], "labels")
    np.testing.assert_allclose(a[labels].astype(float), b[labels].astype(float), rtol=1e-5, atol=1e-6)
    both = rows(base, "features"), rows(changed["twice"], "features")
    np.testing.assert_array_equal(both[0]["n_active"] * 2, both[1]["n_active"])
    np.testing.assert_allclose(both[0]["mean_active"], both[1]["mean_active"], rtol=1e-6)


EMBEDDING = np.random.default_rng(2).normal(size=(240, 6)) @ np.diag([5, 4, 3, 2, 1, 1])
MODELS = {
    "topk": SAEConfig(width=16, activation="topk", k=3),
    "batchtopk": SAEConfig(width=16, activation="batchtopk", k=3),
    "relu": SAEConfig(width=16, activation="relu"),
}


def codes_of(X: np.ndarray, cfg: SAEConfig) -> np.ndarray:
    out: np.ndarray = fit(X, cfg, epochs=30, seed=1).sae.encode(X).toarray()
    return out


@pytest.fixture(scope="module")
def first() -> dict[str, np.ndarray]:
    return {name: codes_of(EMBEDDING.astype(np.float32), cfg) for name, cfg in MODELS.items()}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("scale", "shift", "bound"),
    [(1024.0, 0.0, 0.0), (2.0**-20, 0.0, 0.0), (7.0, 0.0, 1e-2), (7.0, 3.0, 1e-2), (1.0, 100.0, 1e-2)],
)
def test_an_embedding_in_other_units(first: Any, model: str, scale: float, shift: float, bound: float) -> None:
    moved = codes_of((EMBEDDING.astype(np.float32) * scale + shift).astype(np.float32), MODELS[model])
    unit = np.median(moved[moved > 0]) / np.median(first[model][first[model] > 0])
    assert np.abs(moved / unit - first[model]).max() <= bound * first[model].max(), unit


@pytest.mark.parametrize("model", MODELS)
def test_a_float64_embedding_is_trained_on_as_float32(first: Any, model: str) -> None:
    np.testing.assert_array_equal(codes_of(EMBEDDING, MODELS[model]), first[model])


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_tables_do_not_depend_on_the_number_of_threads(
    given: Any, base: Annotation, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellprism.stats.parallel._n_threads", lambda: threads)
    found = tables(given)
    for table in KEYS:
        same(base, found, table)
