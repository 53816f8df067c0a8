"""Tables of embeddings: an index is not a dimension, in whatever way it was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import counts_adata

import cellprism as prism
from cellprism.data.checks import check_embedding
from cellprism.data.embedding import embedding_from_obsm, given_embedding, read_embedding
from cellprism.errors import InputError

X = np.random.default_rng(0).normal(size=(20, 5))
NAMES = [f"c{i}" for i in range(20)]


def frame(index: Any = None) -> pd.DataFrame:
    return pd.DataFrame(X, index=index, columns=[f"PC{i}" for i in range(5)])


SAVED: dict[str, tuple[Any, list[str] | None]] = {
    "row numbers": (lambda p: frame().to_csv(p), None),
    "row numbers from 1": (lambda p: frame(np.arange(1, 21)).to_csv(p), None),
    "row numbers twice": (lambda p: pd.read_csv(again(p)).to_csv(p), None),
    "no index": (lambda p: frame().to_csv(p, index=False), None),
    "names": (lambda p: frame(NAMES).to_csv(p), NAMES),
    "names under a name": (lambda p: frame(NAMES).to_csv(p, index_label="cell"), NAMES),
    "row numbers and names": (lambda p: frame(NAMES).reset_index(names="cell").to_csv(p), NAMES),
    "ids of numbers": (
        lambda p: frame(np.arange(20) * 7 + 5_000_000).to_csv(p),
        [str(i * 7 + 5_000_000) for i in range(20)],
    ),
    "columns of numbers": (lambda p: pd.DataFrame(X).to_csv(p), None),
    "columns of numbers, no index": (lambda p: pd.DataFrame(X).to_csv(p, index=False), None),
}


def again(path: Path) -> Path:
    frame().to_csv(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz"])
@pytest.mark.parametrize("case", SAVED)
def test_saved_indices_are_no_dimensions(case: str, suffix: str, tmp_path: Path) -> None:
    save, names = SAVED[case]
    save(tmp_path / "e.csv")
    path = tmp_path / f"e{suffix}"
    if suffix == ".tsv":
        path.write_text((tmp_path / "e.csv").read_text(encoding="utf-8").replace(",", "\t"), encoding="utf-8")
    elif suffix == ".csv.gz":
        import gzip

        path.write_bytes(gzip.compress((tmp_path / "e.csv").read_bytes()))
    found = read_embedding(path)
    np.testing.assert_allclose(found.values, X)
    assert found.cells == (None if names is None else tuple(names))


@pytest.mark.parametrize("index", [None, NAMES, np.arange(20) + 900])
def test_parquet_keeps_its_index_apart(index: Any, tmp_path: Path) -> None:
    frame(index).to_parquet(tmp_path / "e.parquet")
    found = read_embedding(tmp_path / "e.parquet")
    np.testing.assert_array_equal(found.values, X)
    assert found.cells == (None if index is None else tuple(map(str, index)))


def test_a_table_in_obsm_with_a_saved_index() -> None:
    cells = counts_adata(20)
    cells.obsm["X_t"] = pd.read_csv(again_in_memory()).set_index(cells.obs_names)
    np.testing.assert_allclose(embedding_from_obsm(cells, "X_t").values, X)


def again_in_memory() -> Any:
    import io

    return io.StringIO(frame().to_csv())


REFUSED = {
    "ids under a name": (
        lambda: frame().assign(id=np.arange(20) + 10)[["id", *frame().columns]].to_csv(index=False),
        "'id'",
    ),
    "no line of names": (lambda: frame().to_csv(index=False, header=False), "names its columns"),
    "semicolons": (lambda: frame().to_csv(index=False, sep=";", decimal=","), "save it with ','"),
    "text beside": (lambda: frame().assign(batch="b").to_csv(index=False), "'batch'"),
    "unnamed fractions": (lambda: frame().rename(columns={"PC0": ""}).to_csv(index=False), "name the column"),
    "text in a dimension": (lambda: frame().astype({"PC3": object}).replace(X[4, 3], "-").to_csv(index=False), "'PC3'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_nobody_can_read_safely_are_refused(case: str, tmp_path: Path) -> None:
    text, message = REFUSED[case]
    (tmp_path / "e.csv").write_text(text(), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_embedding(tmp_path / "e.csv")


def test_row_numbers_are_names_of_cells_that_are_named_so(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "e.csv")
    turned = np.random.default_rng(1).permutation(20)
    cells = counts_adata(20)
    assert given_embedding(cells, None, tmp_path / "e.csv").cells is None
    cells.obs_names = turned.astype(str)
    found = given_embedding(cells, None, tmp_path / "e.csv")
    np.testing.assert_allclose(found.values, X[turned])
    np.testing.assert_allclose(given_embedding(cells[:7].copy(), None, tmp_path / "e.csv").values, X[turned[:7]])
    assert found.cells == tuple(turned.astype(str))


def test_tables_of_whole_numbers_are_dimensions(tmp_path: Path) -> None:
    whole = pd.DataFrame(np.array([[3, 9], [5, 2], [8, 7]]), columns=["a", "b"])
    whole.to_csv(tmp_path / "e.csv", index=False)
    np.testing.assert_array_equal(read_embedding(tmp_path / "e.csv").values, whole)


def test_tensors_keep_their_numbers_or_are_refused(tmp_path: Path) -> None:
    import torch

    torch.save(torch.tensor(X).to_sparse(), tmp_path / "s.pt")
    np.testing.assert_allclose(read_embedding(tmp_path / "s.pt").values, X)
    torch.save(torch.tensor(X, dtype=torch.float16), tmp_path / "h.pt")
    np.testing.assert_allclose(read_embedding(tmp_path / "h.pt").values, X, atol=2e-3)
    torch.save(torch.tensor(X + 1j), tmp_path / "c.pt")
    with pytest.raises(InputError, match="real numbers"):
        read_embedding(tmp_path / "c.pt")
    (tmp_path / "t.pt").write_text("text\n", encoding="utf-8")
    with pytest.raises(InputError):
        read_embedding(tmp_path / "t.pt")


@pytest.mark.parametrize("case", SAVED)
def test_a_table_given_to_python_is_read_as_its_file(case: str, tmp_path: Path) -> None:
    save, names = SAVED[case]
    save(tmp_path / "e.csv")
    table = pd.read_csv(tmp_path / "e.csv")
    sae = prism.fit(X, prism.SAEConfig(4, k=2), epochs=1).sae
    if names is not None:  # a column of names is held against nothing: an index is
        for take in (lambda t: prism.fit(t, prism.SAEConfig(4, k=2), epochs=1), sae.encode):
            with pytest.raises(InputError, match="set it as the index"):
                take(table)
        return
    np.testing.assert_allclose(check_embedding(table), X)
    assert abs(sae.encode(table) - sae.encode(X)).max() < 1e-6
    assert prism.fit(table, prism.SAEConfig(4, k=2), epochs=1).sae.d == 5
