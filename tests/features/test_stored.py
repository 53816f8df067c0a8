"""Expression that stays on disk: the same tables, never held whole, and clear words where the store is damaged."""

from __future__ import annotations

import errno
import os
import tracemalloc
import warnings
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import zarr
from helpers import counts_adata

import cellprism as prism
from cellprism.data.expression import measured_expression
from cellprism.data.stored import stored_expression
from cellprism.errors import CellsLeftOut, InputError
from cellprism.stats.expression import prepare_expression

SETS = {f"set {t}": [f"G{g}" for g in range(t, 60, 3)] for t in range(3)}


def cells(n: int = 400, state: str = "counts") -> ad.AnnData:
    """Cells of three types, with codes of twelve features that see them."""
    adata = counts_adata(n, 60, d=6)
    adata.var_names = [f"G{g}" for g in range(60)]
    rng = np.random.default_rng(1)
    adata.X = sp.csr_matrix(adata.X.multiply(rng.random(adata.shape) < 0.4), dtype=np.float32)
    if state != "counts":
        scale = sp.diags_array(1e4 / np.maximum(adata.X.sum(axis=1).A1, 1))
        adata.X = sp.csr_matrix((scale @ adata.X).astype(np.float32))
    if state == "log1p":
        adata.X.data = np.log1p(adata.X.data)
    return adata


def codes(adata: ad.AnnData) -> sp.csr_array:
    rng = np.random.default_rng(2)
    kind = adata.obs["cell_type"].cat.codes.to_numpy()
    seen = rng.random((adata.n_obs, 12)) < np.where(kind[:, None] == np.arange(12) % 3, 0.6, 0.1)
    return sp.csr_array((seen * rng.gamma(2.0, 1.0, seen.shape)).astype(np.float32))


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces so small that a few hundred cells are many of them."""
    monkeypatch.setattr("cellprism.data.stored._ENTRIES", 500)
    monkeypatch.setattr("cellprism.stats.gene_blocks._ENTRIES", 700)
    monkeypatch.setattr("cellprism.stats.expression._PIECE", 333)
    monkeypatch.setattr("cellprism.stats.pseudobulk._PIECE", 333)
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", 100)
    monkeypatch.setattr("cellprism.stats.nulls._HEIGHT_BYTES", 8 * 400 * 3)


def opened(adata: ad.AnnData, form: str, folder: Path) -> Any:
    """The matrix in a file of this form, where it lies."""
    if form == "zarr":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the format that will be written some day
            adata.write_zarr(folder / "c.zarr", chunks=(100,))
        return ad.io.sparse_dataset(zarr.open(folder / "c.zarr", mode="r")["X"])
    if form == "dense":
        adata = adata.copy()
        adata.X = adata.X.toarray()
    adata.write_h5ad(folder / "c.h5ad")
    return ad.read_h5ad(folder / "c.h5ad", backed="r").X


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=False, rtol=1e-6, atol=1e-9)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("form", ["h5ad", "dense", "zarr"])
@pytest.mark.parametrize(
    ("state", "options"),
    [
        ("counts", {}),
        ("log1p", {}),
        ("normalised", {"method": "welch"}),
        ("counts", {"strata": "donor"}),
        ("log1p", {"strata": "donor", "donor": None}),
        ("counts", {"method": "paper", "min_cells": 3}),
    ],
    ids=["ranks", "log1p", "welch", "donors", "strata", "paper"],
)
def test_tables_are_those_of_memory(form: str, state: str, options: dict[str, Any], tmp_path: Path) -> None:
    adata = cells(state=state)
    options = dict(options)
    if "strata" in options:
        adata.obs.loc[adata.obs_names[:3], "donor"] = np.nan  # who are left out of the tests
        options["strata"] = adata.obs["donor"].reset_index(drop=True)
    labels = adata.obs[["cell_type", "age"]].reset_index(drop=True)
    known: dict[str, Any] = {
        "labels": labels, "embedding": adata.obsm["X_emb"],
        "nulls": ("random", "permuted", "random_sets"), "keep": "all", "association": True,
    } | options  # fmt: skip
    stored = stored_expression(opened(adata, form, tmp_path))
    inside = measured_expression(adata).values
    tables = []
    for expression in (inside, stored):
        with pytest.warns(CellsLeftOut) if "strata" in options else nullcontext():
            tables.append(prism.annotate(codes(adata), expression, adata.var_names, SETS, **known))
    held, found = tables
    for table in ("features", "genes", "sets", "labels", "shares", "untestable"):
        same(getattr(found, table), getattr(held, table))
    assert (found.genes["qval"] < 0.05).any()


def test_a_backed_file_is_annotated_where_it_lies(tmp_path: Path) -> None:
    adata = cells()
    prism.tl.fit(adata, rep="X_emb", cfg=prism.SAEConfig(12, "topk", k=3), epochs=3)
    adata.write_h5ad(tmp_path / "c.h5ad")
    backed = ad.read_h5ad(tmp_path / "c.h5ad", backed="r")
    options: dict[str, Any] = {"labels": ["cell_type"], "nulls": ("permuted",)}
    found, held = (prism.tl.annotate(one, SETS, **options) for one in (backed, adata))
    for table in ("features", "genes", "sets", "labels", "shares"):
        same(getattr(found, table), getattr(held, table))
        same(backed.uns["prism"][table], adata.uns["prism"][table])


class Guarded:
    """A stored matrix of which no more than so many values can be had at once."""

    file = None

    def __init__(self, values: sp.csr_array, most: int) -> None:
        self._values, self.most, self.shape, self.read = values, most, values.shape, 0

    def __getitem__(self, rows: Any) -> sp.csr_array:
        part = self._values[rows]
        if part.nnz > self.most:
            raise AssertionError(f"{part.nnz:,} values at once, more than {self.most:,}")
        self.read += part.shape[0]
        return part


@pytest.mark.usefixtures("small_pieces")
def test_stored_expression_is_read_once_and_never_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.data.stored._LOOKED_AT", 20)
    values = sp.csr_array(cells().X)
    guarded = Guarded(values, 1_000)
    assert values.nnz > 15 * guarded.most
    with pytest.raises(AssertionError, match="at once"):
        guarded[:]
    prism.annotate(
        codes(cells()), stored_expression(guarded), cells().var_names, SETS, nulls=("permuted", "random_sets")
    )
    assert guarded.read == 400 + 20


def test_no_step_holds_expression_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what NumPy and SciPy hold: cells x genes five times as large takes less than a third of their values more."""
    monkeypatch.setattr("cellprism.data.stored._ENTRIES", 20_000)
    monkeypatch.setattr("cellprism.stats.gene_blocks._ENTRIES", 20_000)
    monkeypatch.setattr("cellprism.stats.expression._PIECE", 20_000)
    monkeypatch.setattr("cellprism.stats.overrep.MOST_CELLS", 500)
    rng = np.random.default_rng(0)
    peaks, sizes = [], []
    for n in (4_000, 20_000):
        values = sp.random_array((n, 400), density=0.1, format="csr", random_state=rng, dtype=np.float32)
        seen = sp.random_array((n, 8), density=0.02, format="csr", random_state=rng, dtype=np.float32)
        guarded = Guarded(values, 10**6)
        names = [f"G{g}" for g in range(400)]
        known: dict[str, Any] = {"labels": {"half": np.arange(n) % 2 == 0}, "nulls": ("permuted",)}
        tracemalloc.start()
        prism.annotate(seen, stored_expression(guarded, state="log1p"), names, {"one": names[:60]}, **known)
        peaks.append(tracemalloc.get_traced_memory()[1])
        sizes.append(8 * values.nnz)
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 3


def _cut_h5(folder: Path, name: str, length: int) -> Any:
    with h5py.File(folder / "c.h5ad", "a") as file:
        short = file["X"][name][:length]
        attributes = dict(file["X"][name].attrs)
        del file["X"][name]
        file["X"][name] = short
        file["X"][name].attrs.update(attributes)
    return ad.io.sparse_dataset(h5py.File(folder / "c.h5ad")["X"])


def _lost_chunk(folder: Path, name: str) -> Any:
    chunk = next(p for p in sorted((folder / "c.zarr" / "X" / name).rglob("*")) if p.is_file() and p.name[0].isdigit())
    chunk.unlink()
    return ad.io.sparse_dataset(zarr.open(folder / "c.zarr", mode="r")["X"])


def _half_chunk(folder: Path, name: str) -> Any:
    chunk = next(p for p in sorted((folder / "c.zarr" / "X" / name).rglob("*")) if p.is_file() and p.name[0].isdigit())
    chunk.write_bytes(chunk.read_bytes()[:100])
    return ad.io.sparse_dataset(zarr.open(folder / "c.zarr", mode="r")["X"])


DAMAGE = {
    "values cut short": ("h5ad", lambda f: _cut_h5(f, "data", 100), "fit each other|must be readable"),
    "columns cut short": ("h5ad", lambda f: _cut_h5(f, "indices", 100), "fit each other|must be readable"),
    "a chunk of values lost": ("zarr", lambda f: _lost_chunk(f, "data"), "holds all its chunks"),
    "a chunk of columns lost": ("zarr", lambda f: _lost_chunk(f, "indices"), "a column twice in a row"),
    "half a chunk of values": ("zarr", lambda f: _half_chunk(f, "data"), "must be readable"),
    "half a chunk of columns": ("zarr", lambda f: _half_chunk(f, "indices"), "must be readable"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_store_is_refused(name: str, tmp_path: Path) -> None:
    form, damage, message = DAMAGE[name]
    opened(cells(), form, tmp_path)
    with pytest.raises(InputError, match=message):
        prepare_expression(stored_expression(damage(tmp_path)))


BAD = {
    "negative values": (lambda X: X - 1.0, "must not be negative"),
    "NaN": (lambda X: np.where(X > 0, np.nan, X), "must be finite"),
    "fractions late": (lambda X: np.where(np.arange(len(X))[:, None] == 399, X * 1.3, X), "whole numbers in all cells"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_values_are_met_where_they_lie(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.data.stored._LOOKED_AT", 1)
    change, message = BAD[name]
    counts = cells().X.toarray()
    values = counts if name == "fractions late" else change(counts)
    first = sp.csr_array(np.vstack([counts[:1], change(counts)[1:]]) if name == "fractions late" else values)
    with pytest.raises(InputError, match=message):
        prepare_expression(stored_expression(Guarded(first, 10**6)))


def test_expression_stored_by_genes_is_refused(tmp_path: Path) -> None:
    adata = cells()
    adata.X = adata.X.tocsc()
    adata.write_h5ad(tmp_path / "c.h5ad")
    with pytest.raises(InputError, match="by genes"):
        stored_expression(ad.read_h5ad(tmp_path / "c.h5ad", backed="r").X)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.posix_fallocate", full)
    stored = stored_expression(Guarded(sp.csr_array(cells().X), 10**6))
    with pytest.raises(InputError, match=r"No space left.*TMPDIR"):
        prepare_expression(stored)
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fills_while_it_is_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing to /dev/full fails as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    full = Path("/dev/full")
    monkeypatch.setattr("cellprism.data.scratch.tempfile.TemporaryFile", partial(full.open, "r+b", 0))
    with pytest.raises(InputError, match=r"No space left.*TMPDIR"):
        prepare_expression(stored_expression(Guarded(sp.csr_array(cells().X), 10**6)))
