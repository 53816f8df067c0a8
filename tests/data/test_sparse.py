"""Matrices in every form that scipy, numpy and AnnData keep: one result, and nothing given is written to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.data.arrays import read_sparse
from cellprism.data.embedding import embedding_from_obsm, read_embedding
from cellprism.data.expression import measured_expression, take_matrix
from cellprism.data.sparse import as_csr, as_dense
from cellprism.errors import InputError
from cellprism.stats.contrast import check_codes

DENSE = np.random.default_rng(0).poisson(0.7, (20, 12)).astype(np.float64)
FORMATS = ("csr", "csc", "coo", "bsr", "dia", "dok", "lil")
DTYPES = ("bool", "i1", "u1", "i2", "i4", "u4", "i8", "u8", "f4", "f8", "g")


def read_only(matrix: Any) -> Any:
    for name in ("data", "indices", "indptr", "row", "col", "offsets"):
        part = getattr(matrix, name, None)
        if isinstance(part, np.ndarray):
            part.flags.writeable = False
    return matrix


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("form", [*FORMATS, "dense"])
def test_every_form_and_type_is_the_same_matrix(form: str, kind: str, dtype: str) -> None:
    values = (DENSE > 0 if dtype == "bool" else DENSE).astype(dtype)
    if form == "dense":
        given: Any = np.asfortranarray(values) if kind == "matrix" else values
        given.flags.writeable = False
    else:
        given = read_only(getattr(sp, f"{form}_{kind}")(values))
    found = as_csr(given)
    assert found.dtype == np.float32
    assert found.has_canonical_format
    assert found.data.all()
    np.testing.assert_array_equal(found.toarray(), values.astype(np.float32))
    np.testing.assert_array_equal(check_codes(given).toarray(), values.astype(np.float32))
    np.testing.assert_array_equal(as_dense(given), values)


@pytest.mark.parametrize("ptr", [np.int32, np.int64])
@pytest.mark.parametrize("indices", [np.int32, np.int64])
@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csr_array, sp.csc_matrix])
def test_every_width_of_indices(ptr: type, indices: type, make: Any) -> None:
    given = make(DENSE.astype("f4"))
    given.data[0] = 0  # an explicit zero, which is taken out
    given.indptr, given.indices = given.indptr.astype(ptr), given.indices.astype(indices)
    wanted = given.toarray()
    before = given.data.copy(), given.indices.copy(), given.indptr.copy()
    np.testing.assert_array_equal(as_csr(read_only(given)).toarray(), wanted)
    np.testing.assert_array_equal(take_matrix(ad.AnnData(sp.csr_matrix(given))).values.toarray(), wanted)
    np.testing.assert_array_equal(check_codes(given).toarray(), wanted)
    for now, then in zip((given.data, given.indices, given.indptr), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_unsorted_and_repeated_entries_are_summed_in_a_copy() -> None:
    given = sp.csr_array((np.array([1.0, 2.0, 4.0], "f4"), np.array([3, 0, 3]), np.array([0, 3])), (1, 4))
    np.testing.assert_array_equal(as_csr(read_only(given)).toarray(), [[2, 0, 0, 5]])
    assert given.indices.tolist() == [3, 0, 3]


@pytest.mark.parametrize("form", ["csr", "csc", "dense", "f2"])
@pytest.mark.parametrize("backed", [None, "r"])
@pytest.mark.parametrize("where", ["X", "layer", "raw"])
def test_files_in_memory_and_backed(form: str, backed: Any, where: str, tmp_path: Path) -> None:
    values = DENSE.astype("f4")
    stored = (
        values.astype("f2") if form == "f2" else values if form == "dense" else getattr(sp, f"{form}_matrix")(values)
    )
    cells = ad.AnnData(stored)
    cells.layers["counts"] = stored.copy()
    cells.raw = cells.copy()
    cells.write_h5ad(tmp_path / "a.h5ad")
    opened = ad.read_h5ad(tmp_path / "a.h5ad", backed=backed)
    options = {"layer": "counts"} if where == "layer" else {"raw": True} if where == "raw" else {}
    np.testing.assert_array_equal(take_matrix(opened, **options).values.toarray(), DENSE)
    if backed:
        part = opened[::2]
        if where == "X":
            np.testing.assert_array_equal(take_matrix(part, **options).values.toarray(), DENSE[::2])
        opened.file.close()


def test_lazy_arrays_are_computed() -> None:
    dask = pytest.importorskip("dask.array", reason="dask is optional")
    np.testing.assert_array_equal(as_csr(dask.from_array(DENSE)).toarray(), DENSE)


@pytest.mark.parametrize("form", ["array", "csr", "csc", "table", "integers", "float64"])
def test_obsm_is_read_in_one_way(form: str) -> None:
    values = np.random.default_rng(1).normal(size=(20, 3)).astype("f4")
    if form == "integers":
        values = np.round(values * 10).astype("i4")
    cells = ad.AnnData(DENSE)
    cells.obsm["X_e"] = (
        pd.DataFrame(values, index=cells.obs_names, columns=list("abc"))
        if form == "table"
        else getattr(sp, f"{form}_matrix")(values)
        if form in ("csr", "csc")
        else values.astype("f8")
        if form == "float64"
        else values
    )
    np.testing.assert_allclose(embedding_from_obsm(cells, "X_e").values, values, rtol=1e-6)


@pytest.mark.parametrize(
    "given",
    [DENSE.astype(complex), DENSE.astype(str), DENSE.astype(object), DENSE[0], np.ma.MaskedArray(DENSE, DENSE > 2)],
)
def test_what_holds_no_real_numbers_is_refused(given: Any) -> None:
    with pytest.raises(InputError):
        as_csr(given)


def test_numbers_beyond_float32_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        measured_expression(ad.AnnData(np.array([[1e300, 1.0], [2.0, 3.0]])))


def test_a_matrix_file_with_indices_out_of_range_is_refused(tmp_path: Path) -> None:
    fine = sp.csr_array(DENSE)
    for form in ("csr", "csc", "coo", "bsr", "dia"):
        sp.save_npz(tmp_path / "m.npz", sp.csr_matrix(fine).asformat(form))
        np.testing.assert_array_equal(read_sparse(tmp_path / "m.npz", "codes").toarray(), DENSE)
    ptr = np.r_[0, np.full(20, 10)].astype("i4")
    for bad in (10**6, -1):
        np.savez(
            tmp_path / "x.npz",
            format=b"csr",
            shape=(20, 12),
            data=np.ones(10),
            indices=np.full(10, bad, "i4"),
            indptr=ptr,
        )
        with pytest.raises(InputError, match="inside"):
            read_sparse(tmp_path / "x.npz", "codes")
    for text in (b"", b"PK\x03\x04", b"text"):
        (tmp_path / "x.npz").write_bytes(text)
        with pytest.raises(InputError):
            read_sparse(tmp_path / "x.npz", "codes")
    with pytest.raises(InputError, match="No such file"):
        read_sparse(tmp_path / "no.npz", "codes")


@pytest.mark.parametrize("name", ["indices", "indptr"])
def test_positions_that_are_no_whole_numbers_are_refused(name: str, tmp_path: Path) -> None:
    """SciPy cuts 0.5 to 0, and would read another matrix."""
    whole = sp.csr_array(DENSE)
    parts = {
        "data": whole.data,
        "indices": whole.indices,
        "indptr": whole.indptr,
        "format": b"csr",
        "shape": whole.shape,
    }
    np.savez(tmp_path / "x.npz", **parts | {name: parts[name] + 0.5})
    with pytest.raises(InputError, match=f"whole numbers; met {name} of float64"):
        read_sparse(tmp_path / "x.npz", "codes")


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_an_embedding_file_of_any_sparse_format(form: str, tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "z.npz", sp.csr_array(DENSE).asformat(form))
    np.testing.assert_array_equal(read_embedding(tmp_path / "z.npz").values, DENSE)
