"""A run whose expression stays on disk: the same folder as from memory, never held whole, and clear words of what is damaged."""

from __future__ import annotations

import errno
import os
import shutil
import tracemalloc
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism.data import stored as reading
from cellprism.data.beyond_memory import Gathering, changed, on_disk, row_blocks, rows_of
from cellprism.data.read import read_cells
from cellprism.data.stored import gathered
from cellprism.data.thin import thin
from cellprism.embed.pca import PCAModel
from cellprism.errors import InputError
from cellprism.folder import verify
from cellprism.genesets.gmt import write_gmt
from cellprism.run import RunFolder, RunOptions, run
from cellprism.run.map import drawn

TABLES = ("features", "genes", "sets", "labels", "cells", "gene_sets", "matches", "evaluation", "training")
CHOSEN: dict[str, Any] = {"width": 12, "k": 3, "seeds": 2, "epochs": 20, "labels": ("cell_type",)}


def cells(n: int = 300, genes: int = 60) -> ad.AnnData:
    """Sparse counts with mitochondrial genes among them."""
    made = counts_adata(n, genes)
    made.X = sp.csr_matrix(made.X.multiply(np.random.default_rng(1).random(made.shape) < 0.6), dtype=np.float32)
    made.X.eliminate_zeros()
    made.var_names = [*made.var_names[:-2], "MT-1", "MT-2"]
    return made


def stored(made: ad.AnnData, form: str, folder: Path) -> Path:
    """The cells in a file of this form."""
    made = made.copy()
    if "dense" in form:
        made.X = made.X.toarray()
    if "layer" in form:
        made.layers["counts"] = made.X.copy()
        made.X = None
    path = folder / f"cells.{form.split()[-1]}"
    if path.suffix == ".h5ad":
        made.write_h5ad(path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the format that will be written some day
            made.write_zarr(path, chunks=(100,) if sp.issparse(made.X) else (50, 60))
    return path


def go(data: Path, output: Path, **options: Any) -> RunFolder:
    """A short run that makes its embedding."""
    sets = output.with_name("sets.gmt")
    if not sets.exists():
        write_gmt(type_sets(60), sets)
    given = {"embed": "pca", "components": 5} | CHOSEN | options
    return run(RunOptions(data=data, output=output, gene_sets=(str(sets),), **given))


def small_blocks(patch: pytest.MonkeyPatch) -> None:
    """Blocks so small that a few hundred cells are many of them."""
    patch.setattr("cellprism.data.beyond_memory._ENTRIES", 700)
    patch.setattr("cellprism.data.stored._ENTRIES", 500)
    patch.setattr("cellprism.data.turned._ENTRIES", 600)
    patch.setattr("cellprism.stats.gene_blocks._ENTRIES", 900)


def same(one: RunFolder, other: RunFolder) -> None:
    """Tables to 1e-6, codes and embedding to 1e-5."""
    np.testing.assert_allclose(one.embedding, other.embedding, atol=1e-5)
    np.testing.assert_allclose(one.codes.toarray(), other.codes.toarray(), atol=1e-5)
    for name in TABLES:
        a, b = (pd.read_parquet(folder.path / f"{name}.parquet") for folder in (one, other))
        pd.testing.assert_frame_equal(a, b, check_exact=False, rtol=1e-6, atol=1e-6)
    assert one.info["shares"] == other.info["shares"]


@pytest.mark.parametrize("form", ["h5ad", "zarr", "dense h5ad", "dense zarr", "layer zarr"])
def test_the_folder_is_that_of_memory(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"layer": "counts"} if "layer" in form else {}
    held = go(stored(cells(), "h5ad", tmp_path), tmp_path / "held")
    data = stored(cells(), form, tmp_path)
    small_blocks(monkeypatch)
    found = go(data, tmp_path / "found", memory_limit=0, **options)
    same(found, held)
    assert found.info["thinned"] is True
    assert "mitochondrial share" in found.cells
    assert verify(found.path)[1] == []


@pytest.mark.parametrize("given", [{"thin": False}, {"strata": "donor"}, {"embed": None, "components": None}])
def test_other_runs_are_those_of_memory_too(
    given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = given | ({"rep": "X_emb"} if "embed" in given else {})
    data = stored(cells(), "zarr", tmp_path)
    held = go(data, tmp_path / "held", **given)
    small_blocks(monkeypatch)
    said: list[str] = []
    sets = (str(tmp_path / "sets.gmt"),)
    chosen = {"embed": "pca", "components": 5} | CHOSEN | given
    options = RunOptions(data=data, output=tmp_path / "found", gene_sets=sets, memory_limit=0, **chosen)
    same(run(options, said.append), held)
    assert any("stay on disk" in line for line in said)


def test_other_commands_leave_expression_where_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`annotate` and `encode` of a stored file give what they give of memory; `fit` asks for the embedding alone."""
    folder = go(stored(cells(), "h5ad", tmp_path), tmp_path / "made")
    data = stored(cells(), "zarr", tmp_path)
    codes = folder.path / "codes.npz"
    common = ["--gene-sets", tmp_path / "sets.gmt", "--labels", "cell_type", "--rep", "X_emb"]
    assert call(capsys, "annotate", codes, data, *common, "-o", tmp_path / "held").code == 0
    small_blocks(monkeypatch)
    found = call(capsys, "annotate", codes, data, *common, "--memory-limit", 0, "-o", tmp_path / "found")
    assert found.code == 0, found.err
    assert "stay on disk" in " ".join(found.err.split())
    for name in ("features", "genes", "sets", "labels"):
        a, b = (pd.read_parquet(tmp_path / where / f"{name}.parquet") for where in ("held", "found"))
        pd.testing.assert_frame_equal(a, b, check_exact=False, rtol=1e-6, atol=1e-6)
    assert call(capsys, "encode", folder.path, data, "-o", tmp_path / "codes.npz").code == 0
    again = sp.load_npz(tmp_path / "codes.npz")
    np.testing.assert_allclose(again.toarray(), folder.codes.toarray(), atol=1e-5)
    for reader in ("beyond_memory.Gathering", "sparse.check_sparse"):  # an embedding needs no expression
        monkeypatch.setattr(f"cellprism.data.{reader}", None)
    done = call(capsys, "fit", data, "--rep", "X_emb", "--width", 8, "--k", 2, "--epochs", 2, "-o", tmp_path / "sae")
    assert done.code == 0, done.err


def test_a_run_never_holds_its_expression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what NumPy and SciPy hold: five times the cells take less than a third of their values more; held, far more."""
    small_blocks(monkeypatch)
    for module in ("beyond_memory", "stored"):
        monkeypatch.setattr(f"cellprism.data.{module}._ENTRIES", 20_000)
    monkeypatch.setattr("cellprism.stats.gene_blocks._ENTRIES", 20_000)
    monkeypatch.setattr("cellprism.stats.expression._PIECE", 20_000)
    monkeypatch.setattr("cellprism.stats.overrep.MOST_CELLS", 500)
    monkeypatch.setattr("cellprism.stats.enrichment._SPREAD_CELLS", 500)
    monkeypatch.setattr("cellprism.data.chunks.MOST_ROWS", 500)
    monkeypatch.setattr("cellprism.embed.principal_axes.CHUNK_BYTES", 2**19)
    monkeypatch.setattr("cellprism.run.evaluation.MOST_CELLS", 500)
    monkeypatch.setattr("cellprism.run.evaluation._FEWEST_CELLS", 500)
    monkeypatch.setattr("cellprism.run.novelty._MOST_CELLS", 500)
    monkeypatch.setattr("cellprism.features.stability._MOST_CELLS", 500)
    monkeypatch.setattr("cellprism.run.write._LARGEST_COPY", 1_000)
    (tmp_path / "first").mkdir()
    go(stored(counts_adata(300, 600), "zarr", tmp_path / "first"), tmp_path / "out", epochs=2, width=4, k=1)  # imports
    peaks: dict[float, list[int]] = {0.0: [], 1e12: []}
    sizes = []
    for n in (1_000, 5_000):
        made = counts_adata(n, 600)
        sizes.append(8 * made.X.nnz)
        data = stored(made, "zarr", tmp_path)
        for limit in peaks:
            tracemalloc.start()
            go(data, tmp_path / "out", memory_limit=limit, overwrite=True, epochs=2, width=4, k=1)
            peaks[limit].append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        shutil.rmtree(data)
    on_files, held = (after - before for before, after in peaks.values())
    assert on_files < (sizes[1] - sizes[0]) / 3 < held / 3, peaks


def test_no_block_read_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    read, most = reading._read, []

    def guarded(*arguments: Any) -> sp.csr_array:
        block = read(*arguments)
        most.append(block.nnz)
        return block

    monkeypatch.setattr(reading, "_read", guarded)
    data = stored(cells(), "zarr", tmp_path)
    go(data, tmp_path / "out", memory_limit=0)
    total = cells().X.nnz
    assert sum(most) == total, "each value is read once"
    assert max(most) < total / 10


def test_blocks_split_as_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = np.random.default_rng(0).poisson(2.0, (200, 30)).astype(np.float32)
    dense[17] = 0
    counts = sp.csr_array(dense)
    whole = thin(counts, 0.5, seed=4)
    for entries in (1, 50, 700, 10**6):
        monkeypatch.setattr("cellprism.data.beyond_memory._ENTRIES", entries)
        parts = thin(filed(counts), 0.5, seed=4)
        for part, other in zip(parts, whole, strict=True):
            assert on_disk(part)
            np.testing.assert_array_equal(part.toarray(), other.toarray())


def filed(values: sp.csr_array) -> sp.csr_array:
    """The same matrix in temporary files."""
    with Gathering(values.shape[1], 0) as out:
        for block in row_blocks(values):
            out.add(block)
        return out.matrix()


def test_what_lies_in_files_is_walked_changed_and_chosen_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.data.beyond_memory._ENTRIES", 100)
    values = sp.random_array(
        (90, 40), density=0.2, format="csr", random_state=np.random.default_rng(0), dtype=np.float32
    )
    values.sort_indices()
    there = filed(values)
    assert on_disk(there)
    assert not on_disk(values)
    assert there.indices.dtype == there.indptr.dtype == np.int32
    rows = np.array([0, 3, 4, 50, 89])
    for found, wanted in ((changed(there, lambda b: b * 2), values * 2), (rows_of(there, rows), values[rows])):
        assert on_disk(found)
        np.testing.assert_array_equal(found.toarray(), wanted.toarray())
    assert max(block.shape[0] for block in row_blocks(there, most=2)) == 2
    np.testing.assert_array_equal(sp.vstack([*row_blocks(there, most=2)]).toarray(), values.toarray())


def test_what_fits_is_held(tmp_path: Path) -> None:
    made = cells()
    X = read_cells(stored(made, "zarr", tmp_path), whole=False).X
    for limit, filed_away in ((8 * made.X.nnz, False), (8 * made.X.nnz - 1, True)):
        found = gathered(X, "X", limit)
        assert on_disk(found) is filed_away
        np.testing.assert_array_equal(found.toarray(), made.X.toarray())


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_expression_by_genes_is_turned(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cells()
    made.X = made.X.tocsc()
    held = go(stored(cells(), "h5ad", tmp_path), tmp_path / "held")
    data = stored(made, form, tmp_path)
    small_blocks(monkeypatch)
    same(go(data, tmp_path / "found", memory_limit=0), held)


@pytest.mark.parametrize("proteins", [False, True])
def test_modalities_stay_in_their_file(proteins: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One, and several beside each other, of which one is in another order."""
    made = cells()
    parts = {"rna": made}
    if proteins:
        counts = np.random.default_rng(2).poisson(3.0, (made.n_obs, 6)).astype(np.float32)
        named = pd.DataFrame(index=[f"P{i}" for i in range(6)])
        parts["protein"] = ad.AnnData(sp.csr_matrix(counts), obs=made.obs[[]], var=named)[::-1].copy()
    with mudata.set_options(pull_on_update=False):
        mudata.MuData(parts).write(tmp_path / "cells.h5mu")
    held = go(tmp_path / "cells.h5mu", tmp_path / "held")
    small_blocks(monkeypatch)
    monkeypatch.setattr("mudata.read_h5mu", None)
    found = go(tmp_path / "cells.h5mu", tmp_path / "found", memory_limit=0)
    same(found, held)
    assert set(found.genes["modality"]) == set(parts)


def test_predicted_expression_is_decoded_into_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stored(cells(), "zarr", tmp_path)
    held = go(data, tmp_path / "held", expression="predicted")
    small_blocks(monkeypatch)
    monkeypatch.setattr("cellprism.run.prepare._DECODED", 2_000)
    decoded: list[int] = []
    decode = PCAModel.decode

    def counted(self: PCAModel, Z: np.ndarray, adata: Any = None) -> Any:
        decoded.append(len(Z))
        return decode(self, Z, adata)

    monkeypatch.setattr(PCAModel, "decode", counted)
    same(go(data, tmp_path / "found", expression="predicted", memory_limit=0), held)
    assert decoded[:3] == [33, 33, 33]


def test_of_many_cells_some_are_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.run.map._ALL", 300)
    monkeypatch.setattr("cellprism.run.map._LAID_OUT", 200)
    monkeypatch.setattr("cellprism.run.map._umap", lambda X, seed: X[:, :2] * 3)
    made = counts_adata(400)
    del made.obsm["X_umap"]
    X = made.obsm["X_emb"]
    said: list[str] = []
    places, source = drawn(made, X, 0, said.append)
    assert "200" in source
    assert "200" in said[0]
    own = np.isclose(places, X[:, :2] * 3, atol=1e-5).all(axis=1)
    assert own.sum() >= 200
    known = X[own]
    for i in np.flatnonzero(~own)[:20]:
        nearest = np.argsort(((known - X[i]) ** 2).sum(axis=1))[:5]
        np.testing.assert_allclose(places[i], 3 * known[nearest][:, :2].mean(axis=0), rtol=1e-4, atol=1e-4)


def test_many_cells_are_evaluated_by_a_draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.run.evaluation.MOST_CELLS", 260)
    monkeypatch.setattr("cellprism.run.evaluation._FEWEST_CELLS", 250)
    monkeypatch.setattr("cellprism.run.evaluation._MOST_VALUES", 10)
    found = go(stored(cells(), "zarr", tmp_path), tmp_path / "found", memory_limit=0)
    assert any("250 of 300 cells" in note for note in found.info["evaluation"]["notes"])


def _cut(path: Path, name: str) -> None:
    with h5py.File(path, "a") as file:
        short, attributes = file["X"][name][:100], dict(file["X"][name].attrs)
        del file["X"][name]
        file["X"][name] = short
        file["X"][name].attrs.update(attributes)


def _chunk(path: Path, name: str) -> Path:
    return next(p for p in sorted((path / "X" / name).rglob("*")) if p.is_file() and p.name[0].isdigit())


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


DAMAGE = {
    "values cut short": ("h5ad", lambda p: _cut(p, "data"), "fit each other"),
    "columns cut short": ("h5ad", lambda p: _cut(p, "indices"), "fit each other"),
    "file cut short": ("h5ad", lambda p: p.write_bytes(p.read_bytes()[:-5_000]), "must be readable"),
    "a chunk of values lost": ("zarr", lambda p: _chunk(p, "data").unlink(), "holds all its chunks"),
    "a chunk of columns lost": ("zarr", lambda p: _chunk(p, "indices").unlink(), "a column twice in a row"),
    "half a chunk of values": ("zarr", lambda p: _halve(_chunk(p, "data")), "must be readable"),
    "a chunk lost, dense": ("dense zarr", lambda p: _chunk(p, "").unlink(), "holds all its chunks"),
    "half a chunk, dense": ("dense zarr", lambda p: _halve(_chunk(p, "")), "must be readable"),
}


@pytest.mark.parametrize("limit", [0, 2**30])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_store_leaves_nothing(name: str, limit: float, tmp_path: Path) -> None:
    form, damage, message = DAMAGE[name]
    data = stored(cells(), form, tmp_path)
    damage(data)
    with pytest.raises(InputError, match=message):
        go(data, tmp_path / "out", memory_limit=limit)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stored(cells(), "zarr", tmp_path)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.posix_fallocate", full)
        with pytest.raises(InputError, match=r"No space left.*TMPDIR"):
            go(data, tmp_path / "out", memory_limit=0)
    assert not (tmp_path / "out").exists()
    if Path("/dev/full").exists():
        monkeypatch.setattr("cellprism.data.scratch.tempfile.TemporaryFile", partial(Path("/dev/full").open, "r+b", 0))
        with pytest.raises(InputError, match=r"No space left.*TMPDIR"):
            go(data, tmp_path / "other", memory_limit=0)
        assert not (tmp_path / "other").exists()


def test_columns_beyond_a_square_are_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to principal axes, in memory and in files, beside scikit-learn's."""
    from sklearn.decomposition import PCA

    from cellprism.embed.principal_axes import principal_axes

    rng = np.random.default_rng(0)
    values = sp.csr_array((rng.gamma(1.0, 1.0, (150, 6)) @ rng.gamma(0.5, 1.0, (6, 40))).astype(np.float32))
    oracle = PCA(4, svd_solver="full").fit(values.toarray().astype(np.float64))
    for square in (4_096, 10):
        monkeypatch.setattr("cellprism.embed.principal_axes._SQUARE", square)
        for entries, matrix in ((2**22, values), (300, filed(values))):
            monkeypatch.setattr("cellprism.data.beyond_memory._ENTRIES", entries)
            found = principal_axes(lambda matrix=matrix: row_blocks(matrix), matrix.shape, 4)  # type: ignore[misc]
            np.testing.assert_allclose(found.axes, oracle.components_, atol=1e-8)
            np.testing.assert_allclose(found.explained, oracle.explained_variance_ratio_, rtol=1e-8)
            np.testing.assert_allclose(found.mean, oracle.mean_, rtol=1e-10)


def test_a_store_that_is_open_is_left_as_it_was(tmp_path: Path) -> None:
    data = stored(cells(), "zarr", tmp_path)
    before = {p: p.read_bytes() for p in data.rglob("*") if p.is_file()}
    go(data, tmp_path / "out", memory_limit=0)
    assert before == {p: p.read_bytes() for p in data.rglob("*") if p.is_file()}
