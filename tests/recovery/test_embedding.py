import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import PCA

from cellprism.errors import InputError
from cellprism.recovery import Preset
from cellprism.recovery.embedding import embed
from cellprism.simulate.measurement import Measurement

TINY = Preset(
    simulation="large",
    cells={"n_cells": 300, "n_genes": 40, "n_programs": 6, "n_cell_types": 4, "held_out": 60},
    autoencoder={"latent": 5, "lr": 3e-3, "epochs": 2, "batch_size": 64},
    methods=("probe",),
)


def test_pca_sees_the_training_cells_alone():
    cells = TINY.simulate(0)
    Z, note = embed(cells, TINY, "pca")
    reference = PCA(5).fit(cells.X[:240])
    assert np.allclose(np.abs(Z), np.abs(reference.transform(cells.X)), atol=1e-3)
    assert note.startswith("5 principal components")


def test_cells_of_a_library_size_are_log_normalised_first():
    counts = TINY.simulate(0, measurement=Measurement(noise="poisson", library_size=2_000, library_sd=1.0))
    Z, _ = embed(counts, TINY, "pca")
    X = counts.X.toarray() if sparse.issparse(counts.X) else counts.X
    total = X.sum(axis=1, keepdims=True)
    reference = np.log1p(1e4 * X / np.where(total > 0, total, 1))
    scores = PCA(5).fit(reference[:240]).transform(reference)
    assert np.allclose(np.abs(Z), np.abs(scores), atol=1e-2)


def test_the_autoencoder_is_kept_and_taken_again(tmp_path):
    cells = TINY.simulate(0)
    first, _ = embed(cells, TINY, folder=tmp_path / "model")
    assert np.array_equal(embed(cells, TINY, seed=9, folder=tmp_path / "model").Z, first)


def test_refuses():
    cells = TINY.simulate(0)
    with pytest.raises(InputError, match="one of autoencoder, pca, scvi"):
        embed(cells, TINY, "umap")
    with pytest.raises(InputError, match="counts"):
        embed(cells, TINY, "scvi")
