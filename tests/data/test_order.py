"""What carries names is never joined by position: every public function refuses tables of the same cells in another order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from helpers import counts_adata, type_sets

import cellprism as prism
from cellprism import embed
from cellprism.data.order import refuse_other_order
from cellprism.errors import InputError

N = 120
CELLS = counts_adata(N, 30, seed=2)
CODES = sp.csr_array(np.maximum(CELLS.obsm["X_emb"], 0))
LOG = np.log1p(CELLS.X.toarray())
GENES = list(CELLS.var_names)
TYPE = CELLS.obs["cell_type"].astype(str)
DONOR = CELLS.obs["donor"].astype(str)
ARM = pd.Series(np.where(np.arange(N) % 2, "a", "b"), index=CELLS.obs_names)
HALF = pd.Series(np.arange(N) < 80, index=CELLS.obs_names)
FRAME = pd.DataFrame(LOG, index=CELLS.obs_names, columns=GENES)
FIT: Any = prism.fit(CELLS.obsm["X_emb"], prism.SAEConfig(width=12, activation="topk", k=3), epochs=3)


@pytest.fixture(scope="module")
def fitted() -> ad.AnnData:
    cells = CELLS.copy()
    prism.tl.fit(cells, "X_emb", cfg=FIT.sae.config, epochs=3, seeds=1)
    cells.obs["arm"] = ARM
    return cells


@pytest.fixture(scope="module")
def model() -> Any:
    return embed.train("pca", CELLS, n_components=6)


def _annotate(**given: Any) -> Any:
    return prism.annotate(CODES, given.pop("expression", LOG), GENES, type_sets(), nulls=(), **given)


# Each takes the one table or column that may come in another order, beside others that keep theirs.
JOINS: dict[str, tuple[Callable[[Any], object], Any]] = {
    "labels beside expression": (lambda x: _annotate(expression=FRAME, labels=x), pd.DataFrame({"type": TYPE})),
    "a mapping of labels": (lambda x: _annotate(expression=FRAME, labels={"type": x}), TYPE),
    "strata beside labels": (lambda x: _annotate(labels=pd.DataFrame({"type": TYPE}), strata=x), DONOR),
    "donors beside strata": (lambda x: _annotate(strata=DONOR, donor=x), DONOR),
    "donors beside conditions": (lambda x: prism.differential(CODES, ARM, x), DONOR),
    "a choice beside conditions": (lambda x: prism.differential(CODES, ARM, within=x), HALF),
    "truth beside expression": (
        lambda x: prism.evaluate(CODES, CELLS.obsm["X_emb"], x, expression=FRAME, rivals=()), pd.DataFrame({"type": TYPE}),
    ),
    "codes beside codes": (
        lambda x: prism.match(pd.DataFrame(CODES.toarray(), CELLS.obs_names), x), pd.DataFrame(CODES.toarray(), CELLS.obs_names),
    ),
    "labels beside an embedding": (
        lambda x: prism.screen(FIT.sae, pd.DataFrame(CELLS.obsm["X_emb"], CELLS.obs_names), x, n_null=20), TYPE,
    ),
    "a choice beside an embedding": (
        lambda x: prism.steer(FIT.sae, pd.DataFrame(CELLS.obsm["X_emb"], CELLS.obs_names), _live(), off=True, cells=x), HALF,
    ),
    "batches beside labels": (
        lambda x: prism.clean(FIT.sae, CELLS.obsm["X_emb"], x, TYPE), pd.Series(np.where(np.arange(N) % 2, "a", "b"), CELLS.obs_names),
    ),
}  # fmt: skip


def _live() -> int:
    return int(np.bincount(FIT.sae.encode(CELLS.obsm["X_emb"]).indices).argmax())


@pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")
@pytest.mark.parametrize("name", JOINS)
def test_tables_of_the_same_cells_in_another_order_are_refused(name: str) -> None:
    join, given = JOINS[name]
    join(given)
    with pytest.raises(InputError, match="in another order"):
        join(given[::-1])
    join(
        given.to_numpy() if isinstance(given, pd.Series) else given.reset_index(drop=True)
    )  # without names, as they come


@pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")
def test_so_they_are_beside_adata(fitted: ad.AnnData, model: Any) -> None:
    tl = prism.tl
    joins: dict[str, tuple[Callable[[Any], object], pd.Series]] = {
        "annotate": (lambda x: tl.annotate(fitted, type_sets(), donor=x, strata="donor", nulls=()), DONOR),
        "differential": (lambda x: tl.differential(fitted, "arm", within=x), HALF),
        "steer": (lambda x: tl.steer(fitted, _feature(fitted), x, model=model, n_null=20), HALF),
        "effect": (
            lambda x: prism.effect(tl.sae(fitted), model, fitted.obsm["X_emb"], _feature(fitted), off=True, adata=fitted, labels=x, n_null=20),
            TYPE,
        ),
    }  # fmt: skip
    for join, given in joins.values():
        join(given)
        with pytest.raises(InputError, match="in another order"):
            join(given[::-1])


@pytest.mark.parametrize(
    "given",
    [
        {"adata": CELLS, "donor": DONOR[::-1]},
        {"labels": pd.DataFrame({"type": TYPE}), "strata": DONOR[::-1]},
        {"truth": {"type": TYPE}, "replicate": DONOR[::-1]},
    ],
)
def test_the_remedy_brings_them_into_one_order(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="in another order") as refused:
        refuse_other_order(**given)
    other = list(given)[1]
    mended = eval(refused.value.remedy.removeprefix("bring it into that order: "), given)
    refuse_other_order(**given | {other: mended})
    assert mended.index.tolist() == CELLS.obs_names.tolist()


def test_the_remedy_names_what_was_given_to_tl(fitted: ad.AnnData) -> None:
    with pytest.raises(InputError, match=r"within\.loc\[adata\.obs_names\]"):
        prism.tl.differential(fitted, "arm", within=HALF[::-1])


def _feature(cells: ad.AnnData) -> int:
    return int(np.bincount(sp.csr_array(cells.obsm["X_prism"]).indices).argmax())


def test_genes_of_a_table_are_its_columns() -> None:
    with pytest.raises(InputError, match="names of the columns"):
        _annotate(expression=FRAME[GENES[::-1]])


@pytest.mark.parametrize("what", ["symbols", "modality"])
def test_a_column_with_an_entry_a_gene_is_in_their_order(what: str, model: Any, fitted: ad.AnnData) -> None:
    column = pd.Series({"symbols": GENES, "modality": ["rna"] * len(GENES)}[what], index=GENES)
    found = _annotate(**{what: column}).genes
    assert (found["symbol"] == found["gene"]).all()
    _annotate(**{what: column.reset_index(drop=True)})  # nothing names its entries
    calls: list[Callable[[Any], object]] = [lambda x: _annotate(**{what: x})]
    if what == "symbols":
        calls.append(
            lambda x: prism.effect(FIT.sae, model, CELLS.obsm["X_emb"], _live(), off=True, symbols=x, n_null=20)
        )
    for call in calls:
        with pytest.raises(InputError, match="in another order than"):
            call(column[::-1])
        with pytest.raises(InputError, match="rows of other genes"):
            call(column.rename({GENES[0]: "another"}))


def test_whole_anndata_are_no_matrix() -> None:
    for given in (lambda: _annotate(expression=CELLS), lambda: prism.differential(CELLS, ARM)):
        with pytest.raises(InputError, match=r"adata\.X"):
            given()


@pytest.mark.parametrize(
    ("first", "second", "good"),
    [
        (list("abc"), list("abc"), True),
        (list("abc"), list("acb"), False),
        (list("abc"), list("abd"), False),
        (list("abc"), [0, 1, 2], True),  # a table whose index counts has no names
        ([2, 0, 1], [0, 1, 2], False),  # shuffled rows of one that counted
        ([5, 6, 7], [5, 6, 7], True),
        (["1", "2", "3"], [1, 2, 3], True),
        (pd.CategoricalIndex(list("abc")), list("abc"), True),
    ],
)
def test_which_orders_agree(first: Any, second: Any, good: bool) -> None:
    a, b = (pd.Series(range(3), index=pd.RangeIndex(3) if list(i) == [0, 1, 2] else i) for i in (first, second))
    for pair in ((a, b), (b, a), (a, {"x": b}), (a.to_frame(), b)):
        given = dict(zip(("one", "two"), pair, strict=True))
        if good:
            refuse_other_order(**given)
        else:
            with pytest.raises(InputError, match="one order"):
                refuse_other_order(**given)
