from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from helpers import counts_adata

from cellprism.data.checks import check_embedding, remarks
from cellprism.data.embedding import Embedding, align, embedding_from_obsm, read_embedding
from cellprism.errors import InputError
from cellprism.sae import SAEConfig, fit

X = np.arange(12, dtype=np.float32).reshape(4, 3) ** 1.5
CELLS = ("a", "b", "c", "d")


def _write(path: Path, named: bool) -> None:
    table = pd.DataFrame(X, columns=["z0", "z1", "z2"], index=pd.Index(CELLS) if named else None)
    name = path.name
    if name.endswith(".npy"):
        np.save(path, X)
    elif name.endswith(".npz"):
        np.savez(path, embedding=X, **({"cells": np.array(CELLS)} if named else {}))
    elif name.endswith(".parquet"):
        table.to_parquet(path)
    elif name.endswith(".pt"):
        torch.save({"embedding": torch.tensor(X), "cells": list(CELLS)} if named else torch.tensor(X), path)
    else:
        table.to_csv(path, sep="," if ".csv" in name else "\t", index=named)


@pytest.mark.parametrize("name", ["e.npy", "e.npz", "e.parquet", "e.csv", "e.tsv", "e.csv.gz", "e.tsv.gz", "e.pt"])
@pytest.mark.parametrize("named", [False, True])
def test_every_format_is_read(tmp_path: Path, name: str, named: bool) -> None:
    _write(tmp_path / name, named)
    found = read_embedding(tmp_path / name)
    np.testing.assert_allclose(found.values, X, rtol=1e-6)
    assert found.cells == (CELLS if named and name != "e.npy" else None)


def test_sparse_npz_is_read(tmp_path: Path) -> None:
    sp.save_npz(tmp_path / "e.npz", sp.csr_array(X))
    np.testing.assert_array_equal(read_embedding(tmp_path / "e.npz").values, X)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("run",))


BAD_FILES = {
    "unknown suffix": ("e.txt", lambda p: p.write_text("1"), "read from .npy"),
    "missing": ("e.npy", lambda p: None, "must exist"),
    "truncated npy": ("e.npy", lambda p: (np.save(p, X), p.write_bytes(p.read_bytes()[:100])), "must be readable"),
    "broken npz": ("e.npz", lambda p: p.write_bytes(b"PK nothing"), "must be readable"),
    "broken parquet": ("e.parquet", lambda p: p.write_bytes(b"nothing"), "must be readable"),
    "pickled npy": ("e.npy", lambda p: np.save(p, np.array([{}], dtype=object)), "must be readable"),
    "pickled pt": ("e.pt", lambda p: torch.save(_Harmful(), p), "without running code"),
    "pt without tensor": ("e.pt", lambda p: torch.save([1, 2], p), "must hold a tensor"),
    "npz with several arrays": ("e.npz", lambda p: np.savez(p, a=X, b=X), "one array or one named"),
    "text inside a table": (
        "e.csv",
        lambda p: pd.DataFrame({"z0": [1.0, 2.0], "batch": ["x", "y"]}).to_csv(p, index=False),
        "other columns of text",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_refused(tmp_path: Path, case: str) -> None:
    name, make, message = BAD_FILES[case]
    make(tmp_path / name)
    with pytest.raises(InputError, match=message):
        read_embedding(tmp_path / name)


BAD_ARRAYS = {
    "one dimension": (np.ones(4), "cells, dimensions"),
    "text": (np.array([["a", "b"], ["c", "d"]]), "holds numbers"),
    "one cell": (np.ones((1, 3)), "at least two cells"),
    "constant": (np.ones((5, 3)), "must vary"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays_are_refused(case: str) -> None:
    array, message = BAD_ARRAYS[case]
    with pytest.raises(InputError, match=message):
        check_embedding(array)


def test_nan_is_counted_and_its_first_cell_named() -> None:
    bad = X.copy()
    bad[2, 1] = np.nan
    bad[3, :2] = np.inf
    with pytest.raises(InputError, match="3 NaN or infinite values in 2 cells, the first in cell 'c'"):
        check_embedding(bad, CELLS)


def test_odd_embeddings_are_told() -> None:
    rng = np.random.default_rng(0)
    plain = rng.normal(size=(300, 5))
    assert remarks(plain) == []
    flat = plain.copy()
    flat[:, 1] = 7
    assert check_embedding(flat) is flat
    assert "1 of 5 dimensions of the embedding are constant, or nearly so (the first: 1)" in remarks(flat)[0]
    dominant = np.column_stack([np.arange(300), plain])
    assert remarks(dominant)[0].startswith("dimension 0 holds 99.9% of the variance")
    far = plain.copy()
    far[7] = 1e6
    said = remarks(far, [f"c{i}" for i in range(300)])
    assert said[-1].startswith("1 cell lies more than 20 times as far from the centre")
    assert "'c7'" in said[-1]
    one = np.ones((160, 4))
    one[3] = 2
    assert "row 3" in remarks(one)[-1]


@pytest.mark.parametrize("factor", [1e-200, 1e-42, 1e-30, 1e30])
def test_scales_that_float32_cannot_square_are_refused(factor: float) -> None:
    with pytest.raises(InputError, match="rescale it"):
        check_embedding(np.random.default_rng(0).normal(size=(50, 3)) * factor)


@pytest.mark.parametrize("factor", [1e-10, 1e10])
def test_other_scales_are_trained_on(factor: float) -> None:
    """The scaling lives in the model: codes of a rescaled embedding reconstruct it as well."""
    values = np.random.default_rng(0).normal(size=(200, 3)) * factor
    fitted = fit(values, SAEConfig(width=6, activation="topk", k=2), epochs=2, seeds=1)
    assert np.isfinite(list(fitted.metrics.values())).all()
    assert fitted.metrics["explained_variance"] > 0


def test_obsm_key_or_the_keys_that_exist() -> None:
    cells = counts_adata()
    assert embedding_from_obsm(cells, "X_emb").values.shape == (60, 6)
    with pytest.raises(InputError, match="'X_emb'"):
        embedding_from_obsm(cells, "X_scVI")


def test_rows_are_joined_on_names() -> None:
    order = [2, 0, 3, 1]
    shuffled = Embedding(X[order], tuple(CELLS[i] for i in order), "file")
    np.testing.assert_array_equal(align(shuffled, pd.Index(CELLS)), X)
    np.testing.assert_array_equal(align(shuffled, pd.Index(["d", "a"])), X[[3, 0]])


@pytest.mark.parametrize(
    ("cells", "names", "message"),
    [
        (None, ["a", "b", "c"], "4 rows in file, 3 cells"),
        (CELLS, ["a", "x"], "1 of 2 without one, e.g. 'x'"),
        (("a", "a", "b", "c"), ["a"], "must be unique"),
        (CELLS, ["a", "a"], "must be unique"),
    ],
)
def test_cells_that_do_not_match_are_refused(cells: tuple[str, ...] | None, names: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        align(Embedding(X, cells, "file"), pd.Index(names))


NAMES = [f"c{i}" for i in range(6)]


@pytest.mark.parametrize("called", ["cells", "obs_names", "barcodes", "names"])
@pytest.mark.parametrize("form", ["dense", "bytes", "sparse", "tensor"])
def test_names_beside_an_embedding_are_read_whatever_they_are_called(tmp_path: Path, form: str, called: str) -> None:
    Z = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    path = tmp_path / ("e.pt" if form == "tensor" else "e.npz")
    if form == "tensor":
        torch.save({"embedding": torch.as_tensor(Z), called: NAMES, "history": [0.5] * 6}, path)
    elif form == "sparse":
        sp.save_npz(path, sp.csr_array(Z))
        with np.load(path) as kept:
            arrays = dict(kept)
        np.savez(path, **arrays, **{called: np.array(NAMES)})
    else:
        np.savez(path, embedding=Z, **{called: np.array(NAMES, dtype="S" if form == "bytes" else "U")})
    found = read_embedding(path)
    assert found.cells == tuple(NAMES)
    np.testing.assert_allclose(align(found, pd.Index(NAMES[::-1])), Z[::-1])


@pytest.mark.parametrize("form", ["npz", "pt"])
def test_labels_beside_an_embedding_name_no_cells(tmp_path: Path, form: str) -> None:
    Z, labels, path = np.arange(18.0, dtype=np.float32).reshape(6, 3), ["B", "T"] * 3, tmp_path / f"e.{form}"
    for called in ("cell_type", "barcodes"):
        if form == "npz":
            np.savez(path, embedding=Z, **{called: np.array(labels)})
        else:
            torch.save({"embedding": torch.as_tensor(Z), called: labels}, path)
        found = read_embedding(path)
        if called == "cell_type":
            assert found.cells is None
            np.testing.assert_array_equal(align(found, pd.Index(NAMES)), Z)
        else:
            with pytest.raises(InputError, match="unique"):
                align(found, pd.Index(NAMES))


def test_two_lists_of_text_are_refused_unless_one_is_called_cells(tmp_path: Path) -> None:
    Z, labels = np.ones((6, 3), dtype=np.float32), np.array(["B"] * 6)
    np.savez(tmp_path / "two.npz", embedding=Z, barcodes=np.array(NAMES), cell_type=labels)
    with pytest.raises(InputError, match="'cells'"):
        read_embedding(tmp_path / "two.npz")
    np.savez(tmp_path / "named.npz", embedding=Z, cells=np.array(NAMES), cell_type=labels)
    assert read_embedding(tmp_path / "named.npz").cells == tuple(NAMES)
