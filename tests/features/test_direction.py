"""A gene of which ranks and means disagree is neither up nor down, wherever genes are called so."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from helpers import counts_adata, type_sets

from cellprism import pl, tl
from cellprism.features.direction import direction
from cellprism.features.export import feature_network, feature_sets
from cellprism.pl.style import DOWN, GREY, UP
from cellprism.report.deciles import decile_means
from cellprism.report.evidence import gather
from cellprism.report.from_anndata import source_of
from cellprism.run.steering import targets_of

TORN = "G7"
"""The gene that is higher by rank and lower by mean, as one that few of the inactive cells express strongly."""


@pytest.fixture(scope="module")
def adata() -> Any:
    cells = counts_adata(200, 40, seed=3)
    tl.fit(cells, "X_emb", seeds=1, epochs=5)
    tl.annotate(cells, type_sets(40), nulls=())
    genes = cells.uns["prism"]["genes"]
    torn = genes["gene"].astype(str) == TORN
    genes.loc[torn, ["statistic", "log2fc", "qval", "pval", "logpval"]] = [30.0, -0.5, 1e-30, 1e-32, np.log(1e-32)]
    return cells


@pytest.mark.parametrize(
    ("z", "fold", "way"),
    [(3, 1, 1), (-3, -1, -1), (3, -1, 0), (-3, 1, 0), (0, 0, 0), (3, 0, 0), (np.nan, 1, 0), (np.nan, np.nan, 0)],
)
def test_both_must_go_one_way(z: float, fold: float, way: int) -> None:
    assert direction([z], pd.Series([fold])).tolist() == [way]


def test_exports_call_it_neither(adata: Any) -> None:
    genes = adata.uns["prism"]["genes"]
    network = feature_network(genes, level=1)
    assert TORN not in set(network["target"])
    assert (np.sign(network["weight"]) == np.sign(network["statistic"])).all()
    assert all(TORN not in members for members in feature_sets(genes, level=1).values())


def test_it_is_no_target_of_steering(adata: Any) -> None:
    genes = adata.uns["prism"]["genes"]
    for feature in genes["feature"].unique():
        found = targets_of(SimpleNamespace(genes=genes), feature, SimpleNamespace(genes={"rna": list(adata.var_names)}))
        assert TORN not in (found or [])


def test_figures_call_it_neither(adata: Any) -> None:
    genes = adata.uns["prism"]["genes"]
    feature = int(genes["feature"].iloc[0])
    ax = pl.volcano(adata, feature)
    grey, up, down = ax.collections[:3]
    for points, colour in ((grey, GREY), (up, UP), (down, DOWN)):
        np.testing.assert_allclose(points.get_facecolor()[0], mpl.colors.to_rgba(colour))
    torn = [-0.5, 32.0]
    assert np.isclose(grey.get_offsets(), torn, atol=0.1).all(axis=1).any()
    assert not np.isclose(down.get_offsets(), torn, atol=0.1).all(axis=1).any()
    assert (up.get_offsets()[:, 0] > 0).all()
    shown = pl.heatmap(adata, [feature], genes=40)
    assert TORN not in [tick.get_text() for tick in shown.get_xticklabels()]


def test_the_page_calls_it_neither(adata: Any) -> None:
    source = replace(source_of(adata), expression=sp.csc_array(adata.X), expression_genes=list(adata.var_names))
    evidence = gather(source, 60)
    heat = decile_means(source, evidence, 0, len(source.features))
    assert len(heat["heat_gene"])
    assert evidence.genes.index(TORN) not in set(heat["heat_gene"])
