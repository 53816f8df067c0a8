"""A chunk of a dense Zarr store that is gone reads as zeros: refused where zeros are not to be believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from cellprism.data.stored import gathered
from cellprism.errors import InputError

CELLS, GENES = 120, 60


def written(folder: Path, values: np.ndarray, *, empty: bool = False, chunks: tuple[int, int] = (40, 20)) -> Any:
    with zarr.config.set({"array.write_empty_chunks": empty}):
        array = zarr.create_array(folder / "a.zarr", shape=values.shape, chunks=chunks, dtype="float32", fill_value=0)
        array[:] = values
    return zarr.open_array(folder / "a.zarr", mode="r")


def counts(rate: float = 1.0) -> np.ndarray:
    return np.random.default_rng(0).poisson(rate, (CELLS, GENES)).astype(np.float32)


@pytest.mark.parametrize(("i", "j"), [(0, 0), (1, 2), (2, 1)])
def test_a_chunk_of_some_genes_that_is_gone_is_refused(i: int, j: int, tmp_path: Path) -> None:
    written(tmp_path, counts())
    (tmp_path / "a.zarr" / "c" / str(i) / str(j)).unlink()
    places = rf"cells {40 * i} to {40 * i + 39} and columns {20 * j} to {20 * j + 19} of X"
    with pytest.raises(InputError, match=places):
        gathered(zarr.open_array(tmp_path / "a.zarr", mode="r"), "X")


def test_a_row_of_chunks_that_is_gone_is_refused(tmp_path: Path) -> None:
    written(tmp_path, counts())
    for j in range(3):
        (tmp_path / "a.zarr" / "c" / "1" / str(j)).unlink()
    with pytest.raises(InputError, match="cells 40 to 79 of X"):
        gathered(zarr.open_array(tmp_path / "a.zarr", mode="r"), "X")


def test_zeros_that_were_written_are_believed(tmp_path: Path) -> None:
    values = counts()
    values[40:80, 20:40] = 0
    found = gathered(written(tmp_path, values, empty=True), "X")
    assert (found.toarray() == values).all()


@pytest.mark.parametrize(
    "values", [counts(0.01), counts() * (np.arange(GENES) < 20)], ids=["few values", "genes of zeros"]
)
def test_chunks_that_may_well_be_zeros_pass(values: np.ndarray, tmp_path: Path) -> None:
    stored = written(tmp_path, values, chunks=(10, 20))
    assert stored.nchunks_initialized < stored.nchunks
    assert (gathered(stored, "X").toarray() == values).all()
