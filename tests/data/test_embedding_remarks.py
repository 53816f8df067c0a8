"""What is odd about an embedding is told by every public function that is given one, and once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import cellprism as prism
from cellprism.data.checks import already_told
from cellprism.errors import EmbeddingRemark, InputError


def _odd(kind: str) -> np.ndarray:
    X = np.random.default_rng(0).normal(size=(240, 6)).astype("f4")
    if kind == "dominant":
        X[:, 2] *= 100
    if kind == "constant":
        X[:, 2] = 3.0
    if kind == "outlier":
        X[7] = 1e3
    return X


def _adata(X: np.ndarray) -> ad.AnnData:
    cells = ad.AnnData(sp.csr_matrix((len(X), 1), dtype="f4"))
    cells.obsm["X_emb"] = X
    return cells


SMALL = prism.SAEConfig(width=12, activation="topk", k=3)
ENTRIES: dict[str, Callable[[np.ndarray], object]] = {
    "fit": lambda X: prism.fit(X, SMALL, epochs=1),
    "fit by keyword": lambda X: prism.fit(X=X, cfg=SMALL, seeds=2, epochs=1),
    "automatic fit": lambda X: prism.fit(X, preset="quick", epochs=1),
    "fit_auto": lambda X: prism.fit_auto(X, preset="quick", epochs=1),
    "fit_many": lambda X: prism.fit_many(X, [SMALL, SMALL], epochs=1),
    "choose_recipe": lambda X: prism.choose_recipe(X, preset="quick"),
    "tl.fit": lambda X: prism.tl.fit(_adata(X), "X_emb", cfg=SMALL, epochs=1),
    "evaluate": lambda X: prism.evaluate(
        sp.csr_array(np.maximum(X, 0)), X, {"kind": np.array(["a", "b"])[np.arange(len(X)) % 2]}, rivals=("random",)
    ),
}
TOLD = {"dominant": "dimension 2 holds 100.0% of the variance", "constant": "constant", "outlier": "1 cell lies"}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", [*TOLD, "plain"])
def test_what_is_odd_is_told_once_by_each_that_is_given_an_embedding(entry: str, kind: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ENTRIES[entry](_odd(kind))
    remarks = [w for w in caught if issubclass(w.category, EmbeddingRemark)]
    if kind == "plain":
        assert not remarks
        return
    assert len([w for w in remarks if TOLD[kind] in str(w.message)]) == 1
    assert all(w.filename == __file__ for w in remarks)


def test_nothing_is_told_twice_of_what_was_said() -> None:
    with already_told():
        prism.fit(_odd("dominant"), SMALL, epochs=1)  # warnings are errors here


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "i8", "u2"])
def test_no_type_of_number_warns_by_itself(dtype: str) -> None:
    X = np.rint(_odd("plain") * 10).astype("i8").clip(0 if dtype.startswith("u") else -100, 100).astype(dtype)
    fitted = prism.fit(X, SMALL, epochs=1)  # warnings are errors here
    same = prism.fit(X.astype("f4"), SMALL, epochs=1)
    np.testing.assert_array_equal(fitted.sae.encode(X).toarray(), same.sae.encode(X.astype("f4")).toarray())


def test_what_is_masked_is_not_read() -> None:
    with pytest.raises(InputError, match="masked"):
        prism.fit(np.ma.masked_less(_odd("plain"), 0), SMALL, epochs=1)


def test_every_warning_points_at_the_line_of_the_caller() -> None:
    """All go through :func:`cellprism.errors.warn`, which looks for that line."""
    sources = Path(prism.__file__).parent
    assert [p.name for p in sources.rglob("*.py") if "warnings.warn(" in p.read_text(encoding="utf-8")] == ["errors.py"]
