"""Codes written to a store as they are made: the same codes, held in part, there when they are whole."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from guarded import guarded
from sae.cases import embedding

from cellprism import SAEConfig, fit
from cellprism.data.read import read_cells
from cellprism.errors import InputError
from cellprism.run.encode import encode
from cellprism.run.encode_store import encode_to_store
from cellprism.sae import SAE


@pytest.fixture(scope="module")
def sae() -> SAE:
    return fit(embedding(300), SAEConfig(24, "topk", k=3), epochs=2).sae


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.run.encode_store._ENTRIES", 200)
    monkeypatch.setattr("cellprism.sae.model._CHUNK_ELEMENTS", 24 * 50)
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", 60)


@pytest.mark.usefixtures("small_pieces")
def test_a_store_holds_the_codes(sae: SAE, tmp_path: Path) -> None:
    X = embedding(430, seed=1)
    names = tuple(f"c{i}" for i in range(430))
    features = pd.DataFrame({"feature": [2, 5], "name": ["B cells", "T cells"]})
    fit_words, misfit = encode_to_store(tmp_path / "c.zarr", sae, guarded(X, tmp_path, 60), names, features=features)
    held = encode(sae, X, names)
    found = read_cells(tmp_path / "c.zarr")
    assert (sp.csr_array(found.X) != held.codes).nnz == 0
    assert (fit_words, misfit) == (held.fit, held.misfit)
    pd.testing.assert_frame_equal(found.obs, held.anndata(features).obs)
    pd.testing.assert_frame_equal(found.var, held.anndata(features).var)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.zarr", "guarded.npy"]


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("before", [False, True], ids=["new", "old"])
def test_a_disk_that_fills_in_the_middle_leaves_no_store(
    before: bool, sae: SAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = embedding(430, seed=1)
    output = tmp_path / "c.zarr"
    if before:
        encode_to_store(output, sae, X[:100], ())
    append = type(ad.io.sparse_dataset(_store(tmp_path / "other.zarr", sae))).append
    written = 0

    def full(self: Any, part: Any) -> None:
        nonlocal written
        written += 1
        if written == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, part)

    monkeypatch.setattr(type(ad.io.sparse_dataset(_store(tmp_path / "other.zarr", sae))), "append", full)
    with pytest.raises(OSError, match="No space left"):
        encode_to_store(output, sae, X, (), overwrite=True)
    assert written == 2
    assert output.exists() == before
    assert not list(tmp_path.glob(".cellprism-*"))
    if before:
        assert read_cells(output).n_obs == 100


def _store(path: Path, sae: SAE) -> Any:
    import zarr

    if not path.exists():
        encode_to_store(path, sae, embedding(20), ())
    return zarr.open_group(path)["X"]


def test_the_command_writes_one_and_annotate_reads_it(
    sae: SAE, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sae.save(tmp_path / "sae")
    X = embedding(300)
    np.save(tmp_path / "X.npy", X)
    done = call(capsys, "encode", tmp_path / "sae", tmp_path / "X.npy", "-o", tmp_path / "c.zarr")
    assert "300 cells x 24 features" in done.out + done.err
    again = call(capsys, "encode", tmp_path / "sae", tmp_path / "X.npy", "-o", tmp_path / "c.zarr")
    assert again.code == 2
    assert "must not exist yet" in again.err
    rng = np.random.default_rng(0)
    cells = ad.AnnData(sp.csr_matrix(rng.poisson(1.0, (300, 30)).astype(np.float32)))
    cells.var_names = [f"G{i}" for i in range(30)]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "sets.gmt").write_text("one\t\t" + "\t".join(cells.var_names[:12]) + "\n")
    options = ("--gene-sets", tmp_path / "sets.gmt", "-o", tmp_path / "tables")
    assert not call(capsys, "annotate", tmp_path / "c.zarr", tmp_path / "cells.h5ad", *options).code
    assert (tmp_path / "tables" / "features.parquet").is_file()


def test_an_embedding_of_another_dictionary_is_refused(sae: SAE, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="5 embedding dimensions"):
        encode_to_store(tmp_path / "c.zarr", sae, np.ones((4, 7)) * np.arange(4)[:, None], ())
    assert not (tmp_path / "c.zarr").exists()


@pytest.mark.usefixtures("small_pieces")
def test_a_store_that_lost_a_chunk_is_not_read_as_zeros(sae: SAE, tmp_path: Path) -> None:
    encode_to_store(tmp_path / "c.zarr", sae, embedding(430), ())
    chunks = [p for p in sorted((tmp_path / "c.zarr" / "X" / "data").iterdir()) if p.name.isdigit()]
    assert len(chunks) > 2
    chunks[1].unlink()
    with pytest.raises(InputError, match=r"1 of .* chunks of values missing"):
        read_cells(tmp_path / "c.zarr")
