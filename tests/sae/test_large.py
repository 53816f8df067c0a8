"""Embeddings on disk: read in pieces, with the results of the same embedding in memory."""

import tracemalloc
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from guarded import guarded
from sae.cases import VARIANTS, embedding

from cellprism import fit, fit_many
from cellprism.data.sparse import stacked
from cellprism.errors import EmbeddingRemark
from cellprism.sae import SAE, SAEConfig
from cellprism.sae.cells import Cells
from cellprism.sae.metrics import describe
from cellprism.sae.scaling import fit_scaling

MOST = 300
OPTIONS = {"epochs": 2, "batch_size": 64, "patience": None}
CASES = {
    "topk": SAEConfig(24, "topk", k=3),
    "batchtopk": SAEConfig(24, "batchtopk", k=3),
    "relu": SAEConfig(24, "relu", l1=0.2),
    "gated": SAEConfig(24, "gated", l1=0.2),
    "jumprelu": SAEConfig(24, "jumprelu", l0=0.1),
    "matryoshka": SAEConfig(24, "topk", k=3, matryoshka=(8,)),
    "wiener": SAEConfig(24, "topk", k=3, scaling="wiener"),
}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that a thousand cells are many of them."""
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", MOST)
    monkeypatch.setattr("cellprism.sae.cells._WINDOW_BYTES", 4 * 5 * 3 * 64)
    monkeypatch.setattr("cellprism.sae.trainer._SAMPLE", MOST)
    monkeypatch.setattr("cellprism.sae.trainer._ELEMENTS", MOST * 24)
    monkeypatch.setattr("cellprism.sae.model._CHUNK_ELEMENTS", MOST * 24)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("kernel", ["dense", "sparse"])
@pytest.mark.parametrize("name", CASES)
def test_from_disk_it_learns_what_it_learns_in_memory(name: str, kernel: str, tmp_path: Path) -> None:
    X = embedding(1_100)
    options = OPTIONS | {"kernel": kernel}
    inside = fit(X, CASES[name], **options)
    mapped = guarded(X, tmp_path, MOST)
    outside = fit(mapped, CASES[name], memory_limit=0, **options)
    assert abs(outside.sae.encode(mapped) - inside.sae.encode(X)).max() < 1e-5
    assert outside.metrics == pytest.approx(inside.metrics, rel=1e-5)


@pytest.mark.usefixtures("small_pieces")
def test_nothing_of_a_fit_reads_all_cells_at_once(tmp_path: Path) -> None:
    mapped = guarded(embedding(1_100), tmp_path, MOST)
    config = SAEConfig(24, "topk", k=3)
    options = OPTIONS | {"memory_limit": 0}
    fit(mapped, config, checkpoint=tmp_path / "c", seeds=2, **options)
    fit_many(mapped, [config, config], **options)
    found = fit(mapped, config, **options)
    assert describe(found.sae, mapped).n_live > 0
    assert sum(block.shape[0] for block in found.sae.encode_blocks(mapped)) == len(mapped)


def test_the_guard_refuses_what_a_whole_pass_would_do(tmp_path: Path) -> None:
    mapped = guarded(embedding(1_100), tmp_path, MOST)
    for whole in (lambda: mapped[:], lambda: mapped - 1, lambda: np.concatenate([mapped, mapped])):
        with pytest.raises(AssertionError, match=r"all rows|at once"):
            whole()


@pytest.mark.parametrize("limit", [0, 1e9])
@pytest.mark.parametrize("first", [0, 1, 4, 5])
def test_batches_follow_the_order_wherever_the_cells_lie(limit: float, first: int, monkeypatch) -> None:
    monkeypatch.setattr("cellprism.sae.cells._WINDOW_BYTES", 4 * 5 * 2 * 9)
    X = embedding(80)
    sae = SAE(VARIANTS["topk"], fit_scaling(X, "whiten"), torch.Generator())
    cells = Cells(sae, X, np.arange(0, 80, 2), memory_limit=limit)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    batches = list(cells.batches(order, 9, first))
    assert [len(b) for b in batches] == [9, 9, 9, 9, 4][first:]
    for i, batch in enumerate(batches, first):
        torch.testing.assert_close(batch, cells.batch(order[9 * i : 9 * i + 9]), rtol=1e-5, atol=1e-5)


def test_a_reader_that_fails_ends_the_training_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr("cellprism.sae.cells.Cells._window", cut)
    with pytest.raises(OSError, match="the disk is gone"):
        fit(embedding(200), SAEConfig(24, "topk", k=3), epochs=1, memory_limit=0)


def test_maps_are_held_up_to_less_than_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.sae.training._MAPPED_MEMORY", 1_000.0)
    held: list[bool] = []
    make = Cells.__init__

    def watched(self: Cells, *args: object) -> None:
        make(self, *args)  # type: ignore[arg-type]
        held.append(self.in_memory)

    monkeypatch.setattr(Cells, "__init__", watched)
    X = embedding(1_000)
    np.save(tmp_path / "x.npy", X)
    for values in (X, np.load(tmp_path / "x.npy", mmap_mode="r")):
        fit(values, SAEConfig(24, "topk", k=3), epochs=1)
    assert held == [True, True, False, False]


@pytest.mark.parametrize("kernel", ["dense", "sparse"])
def test_memory_does_not_grow_with_the_cells(kernel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what NumPy holds; indices and their order (24 bytes a cell, and the map's pages) are all that grows."""
    for module, name, value in (
        ("data.chunks", "MOST_ROWS", 500), ("sae.cells", "_WINDOW_BYTES", 1),
        ("sae.trainer", "_SAMPLE", 500), ("sae.model", "_CHUNK_ELEMENTS", 2**13),
    ):  # fmt: skip
        monkeypatch.setattr(f"cellprism.{module}.{name}", value)
    config = SAEConfig(16, "topk", k=1)
    options = {"epochs": 1, "batch_size": 500, "memory_limit": 0, "kernel": kernel}
    fit(embedding(), config, **options)
    peaks = []
    for n in (5_000, 50_000):
        np.save(tmp_path / f"{n}.npy", np.tile(embedding(1_000, d=30), (n // 1_000, 1)))
        mapped = np.load(tmp_path / f"{n}.npy", mmap_mode="r")
        tracemalloc.start()
        fit(mapped, config, **options)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 45_000 * 30 * 4 / 2


def test_stacked_blocks_are_the_matrix() -> None:
    rng = np.random.default_rng(0)
    sae = SAE(VARIANTS["topk"], fit_scaling(embedding(), "none"), torch.Generator().manual_seed(0))
    whole = sae.encode(embedding(70, seed=1))
    cuts = np.sort(rng.choice(70, 5))
    again = stacked((whole[part] for part in np.split(np.arange(70), cuts)), whole.shape[1])
    assert (again != whole).nnz == 0
    assert again.has_canonical_format
    assert stacked([], 7).shape == (0, 7)


def test_a_reading_takes_a_sample_of_many_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("cellprism.sae.fit"), "_READ_LEAST", 400)
    monkeypatch.setattr(import_module("cellprism.sae.fit"), "_READING_BYTES", 1)
    config = SAEConfig(4, activation="jumprelu", init="geometry", pre_bias="none")
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", MOST)
    with pytest.warns(EmbeddingRemark, match="are read"):
        found = fit(guarded(embedding(1_500), tmp_path, 400), config)
    assert found.sae.width == 4
