from importlib import import_module

import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding

from cellprism.data.checks import check_embedding
from cellprism.errors import EmbeddingRemark, InputError
from cellprism.sae import SAE, SAEConfig
from cellprism.sae.cells import Cells, split_cells
from cellprism.sae.scaling import fit_scaling

training = import_module("cellprism.sae.fit")  # the package has a function of this name


def with_holes() -> np.ndarray:
    X = embedding(40)
    X[7, 2] = np.nan
    X[7, 3] = np.inf
    X[31, 0] = -np.inf
    return X


BAD = {
    "NaN": (with_holes(), "3 NaN or infinite values in 2 cells, the first in row 7"),
    "one cell": (embedding(1), "at least two cells; met 1"),
    "no cell": (np.zeros((0, 3)), "at least two cells; met 0"),
    "constant": (np.ones((5, 3)), "must vary between cells"),
    "one dimension": (np.zeros(5), r"\(cells, dimensions\); met shape \(5,\)"),
    "no dimension": (np.zeros((5, 0)), r"met shape \(5, 0\)"),
    "text": (np.array([["a"], ["b"]]), "holds numbers"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("chunk", [5, 65_536])
def test_bad_embeddings_are_refused(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", chunk)
    X, message = BAD[name]
    with pytest.raises(InputError, match=message):
        check_embedding(X)


def test_lists_and_integers_pass() -> None:
    assert check_embedding([[1, 2], [3, 4]]).shape == (2, 2)


def test_split_is_a_partition_that_follows_the_seed() -> None:
    held, kept = split_cells(101, 0.1, seed=3)
    assert len(held) == 10
    np.testing.assert_array_equal(np.sort(np.concatenate([held, kept])), np.arange(101))
    np.testing.assert_array_equal(split_cells(101, 0.1, seed=3)[0], held)
    assert not np.array_equal(split_cells(101, 0.1, seed=4)[0], held)
    assert [len(part) for part in split_cells(2, 0.9, seed=0)] == [0, 2]


@pytest.mark.parametrize("limit", [0, 1e9])
def test_batches_are_scaled_rows_in_memory_or_not(limit: float) -> None:
    X = embedding(60)
    sae = SAE(VARIANTS["topk"], fit_scaling(X, "whiten"), torch.Generator())
    rows = np.arange(0, 60, 2)
    cells = Cells(sae, X, rows, memory_limit=limit)
    assert cells.in_memory == bool(limit)
    scaled = ((X - X.mean(0)) @ sae.forward_map.numpy())[rows]
    picked = torch.tensor([4, 0, 29])
    np.testing.assert_allclose(cells.batch(picked).numpy(), scaled[picked], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(torch.cat(list(cells.chunks(7))).numpy(), scaled, rtol=1e-4, atol=1e-4)
    assert len(cells.some(10, torch.Generator())) == 10
    np.testing.assert_allclose(cells.some(99, torch.Generator()).numpy(), scaled, rtol=1e-4, atol=1e-4)


def test_cells_are_scaled_chunk_by_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1_000, 6)).astype(np.float32)
    sae = SAE(VARIANTS["topk"], fit_scaling(X, "whiten"), torch.Generator())
    rows = np.arange(0, 1_000, 3)
    whole = Cells(sae, X, rows).all()
    most = 0
    scale = sae.scale

    def watched(values: torch.Tensor) -> torch.Tensor:
        nonlocal most
        most = max(most, len(values))
        return scale(values)

    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", 100)
    monkeypatch.setattr(sae, "scale", watched)
    torch.testing.assert_close(Cells(sae, X, rows).all(), whole)
    assert most == 100


def test_of_many_cells_a_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).normal(size=(2_000, 4)).astype(np.float32)
    seen: list[int] = []
    read = training.read_geometry

    def watched(train: np.ndarray, **options: object) -> object:
        seen.append(len(train))
        return read(train, **options)

    monkeypatch.setattr(training, "read_geometry", watched)
    config = SAEConfig(4, activation="jumprelu", init="geometry", pre_bias="none")
    training.fit_config(X, config)
    monkeypatch.setattr(training, "_READ_LEAST", 500)
    monkeypatch.setattr(training, "_READING_BYTES", 6 * 8 * 4 * 700)
    with pytest.warns(EmbeddingRemark, match="700 of 1,800 training cells"):
        first, again = (training.fit_config(X, config, seeds=2) for _ in range(2))
    assert seen == [1_800, 700, 700, 700, 700]
    np.testing.assert_array_equal(first.sae.decoder_directions(), again.sae.decoder_directions())
