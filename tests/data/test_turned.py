"""Matrices stored by genes, turned by cells: the same values, some at a time, and clear words of what does not fit."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from cellprism.data import turned
from cellprism.data.beyond_memory import on_disk
from cellprism.data.stored import gathered
from cellprism.errors import InputError


def by_genes(values: Any, folder: Path, name: str = "m.h5") -> Any:
    """A stored CSC matrix."""
    with h5py.File(folder / name, "w") as file:
        ad.io.write_elem(file, "X", sp.csc_matrix(values))
    return ad.io.sparse_dataset(h5py.File(folder / name)["X"])


@pytest.mark.parametrize("entries", [1, 7, 100, 10**6])
@pytest.mark.parametrize("shape", [(50, 12), (12, 50), (1, 5), (5, 1), (0, 4), (4, 0)])
def test_it_is_the_same_matrix(
    shape: tuple[int, int], entries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turned, "_ENTRIES", entries)
    rng = np.random.default_rng(shape[0])
    dense = (rng.random(shape) * (rng.random(shape) < 0.3)).astype(np.float32)
    dense[3:6], dense[:, 2:3] = 0.0, 0.0  # cells and a gene of nothing
    blocks = list(turned.turned(by_genes(dense, tmp_path), "X"))
    assert all(block.has_canonical_format and block.dtype == np.float32 for block in blocks)
    np.testing.assert_array_equal(np.concatenate([dense[:0], *(b.toarray() for b in blocks)]), dense)
    assert len(blocks) <= 65
    if entries == 7 and shape == (50, 12):
        assert len(blocks) > 10


def test_it_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two million values, 16 MB, a quarter at most is in memory at once, copies, places and buffers of files included."""
    monkeypatch.setattr(turned, "_ENTRIES", 20_000)
    values = sp.random_array((20_000, 1_000), density=0.1, format="csc", random_state=np.random.default_rng(0))
    matrix = by_genes(values, tmp_path)
    gathered(by_genes(values[:100, :50], tmp_path, "little.h5"), "X", 0)  # what is loaded once
    tracemalloc.start()
    found = gathered(matrix, "X", 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert on_disk(found)
    np.testing.assert_array_equal(found.toarray(), values.toarray().astype(np.float32))
    assert peak < 4_000_000


def _cut(group: h5py.Group, part: str) -> None:
    short, attributes = group[part][:-3], dict(group[part].attrs)
    del group[part]
    group[part] = short
    group[part].attrs.update(attributes)


def _first(group: h5py.Group, part: str, values: list[int]) -> None:
    group[part][: len(values)] = values


DAMAGE = {
    "values cut short": lambda g: _cut(g, "data"),
    "cells cut short": lambda g: _cut(g, "indices"),
    "columns cut short": lambda g: _cut(g, "indptr"),
    "a cell that there is not": lambda g: _first(g, "indices", [99]),
    "a cell below none": lambda g: _first(g, "indices", [-1]),
    "a cell twice": lambda g: _first(g, "indices", [1, 1]),
    "columns that go back": lambda g: _first(g, "indptr", [0, 9, 3]),
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("limit", [0, 2**30])
def test_what_does_not_fit_is_told(name: str, limit: float, tmp_path: Path) -> None:
    dense = np.random.default_rng(0).random((20, 8))
    by_genes(dense, tmp_path).group.file.close()
    with h5py.File(tmp_path / "m.h5", "a") as file:
        DAMAGE[name](file["X"])
    matrix = ad.io.sparse_dataset(h5py.File(tmp_path / "m.h5")["X"])
    with pytest.raises(InputError, match="Stored expression must be readable"):
        gathered(matrix, "layers['counts']", limit)
