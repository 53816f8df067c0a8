"""Embeddings that say next to nothing: what is told fits the cause, and so does the remedy."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import cellprism as prism
from cellprism.cli.words import in_options
from cellprism.errors import EmbeddingRemark, InputError

N = 160
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (np.full((N, 6), 0.3, np.float32), "An embedding must vary between cells; met the same values in every cell"),
        (np.full((N, 6), 0.1), "must vary between cells"),
        (RNG.normal(size=(N, 6)) * 1e-42, "Remedy: rescale it"),
        (RNG.normal(size=(N, 6)).astype(np.float32) * np.float32(1e-30), "Remedy: rescale it"),
    ],
    ids=["constant in float32", "constant", "1e-42", "1e-30"],
)
def test_what_cannot_be_fitted(X: np.ndarray, told: str) -> None:
    with pytest.raises(InputError, match=told):
        prism.fit(X)


def test_one_cell_apart_from_equal_ones_is_told_and_fitted() -> None:
    X = np.full((N, 6), 0.3, np.float32)
    X[7] += 1
    with pytest.warns(EmbeddingRemark, match="row 7"):
        fit = prism.fit(X, preset="quick", epochs=2)
    codes = fit.sae.encode(X).toarray()
    assert np.isfinite(codes).all()


@pytest.mark.parametrize("genes", [1, 2])
def test_components_are_refused_with_a_number_that_can_be_given(genes: int) -> None:
    cells = ad.AnnData(sp.csr_matrix(RNG.poisson(2, (N, genes)).astype(np.float32)))
    with pytest.raises(InputError) as refused:
        prism.embed.train("pca", cells, n_components=2)
    assert "at most 0" not in str(refused.value)
    assert ("`n_components=1` at most" if genes == 2 else "give more cells and genes") in str(refused.value)


def test_a_consensus_names_options_of_the_command_that_was_typed() -> None:
    with pytest.raises(InputError) as refused:
        prism.fit(RNG.normal(size=(N, 6)), prism.SAEConfig(8, "batchtopk", k=2), consensus=True)
    assert in_options(str(refused.value), {"--seeds"}).endswith("Remedy: fit with --seeds 3.")
