"""Columns of cells: categories or numbers, told or decided, and names that are taken."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cellprism.data.columns import RESERVED, column_kind, kept_columns, label_columns, requested
from cellprism.errors import InputError
from cellprism.features.annotate import annotate

N = 200
I = np.arange(N)
RNG = np.random.default_rng(0)

KINDS: dict[str, tuple[Any, str]] = {
    "two whole floats": ((I % 2).astype(float), "category"),
    "two integers": (I % 2, "category"),
    "forty clusters": ((I % 2) * 20 + I // 10, "category"),
    "forty clusters as floats": (((I % 2) * 20 + I // 10).astype(float), "category"),
    "codes with gaps": (np.where(I % 7, (I % 2).astype(float), np.nan), "category"),
    "nullable codes": (pd.array(np.where(I % 7, I % 3, None), dtype="Int64"), "category"),
    "object of integers": (np.where(I % 7, I % 3, None), "category"),
    "codes of years": (2000 + I % 5, "category"),
    "booleans": (I % 2 == 0, "category"),
    "nullable booleans": (pd.array(np.where(I % 7, I % 2 == 0, None), dtype="boolean"), "category"),
    "text": (np.where(I % 2, "a", "b"), "category"),
    "categorical of fractions": (pd.Categorical(np.where(I % 2, 0.5, 1.5)), "category"),
    "dates": (pd.to_datetime(np.where(I % 2, "2020-01-01", "2021-01-01")), "category"),
    "fractions": (RNG.normal(size=N), "number"),
    "few fractions": (np.where(I % 2, 0.5, 1.5), "number"),
    "nullable fractions": (pd.array(np.where(I % 7, 0.5 + I, None), dtype="Float64"), "number"),
    "counts": (RNG.poisson(500, N), "number"),
    "row numbers": (I, "number"),
    "ages": (20 + (I * 37) % 61, "number"),
}


@pytest.mark.parametrize("case", KINDS)
@pytest.mark.parametrize("form", ["array", "series"])
def test_kinds_of_columns(case: str, form: str) -> None:
    values, kind = KINDS[case]
    assert column_kind(values if form == "array" else pd.Series(values))[0] == kind


@pytest.mark.parametrize("case", [c for c, (_, k) in KINDS.items() if k == "category" and c not in ("text", "dates")])
def test_categories_can_be_taken_as_numbers_and_back(case: str) -> None:
    values, _ = KINDS[case]
    obs = pd.DataFrame({"f": pd.Series(values)})
    plain = label_columns(obs, ["f"])
    assert isinstance(plain.table["f"].dtype, pd.CategoricalDtype)
    if "booleans" not in case:
        numbers = label_columns(obs, ["f:number"])
        assert numbers.kinds == {"f": "number"}
        assert numbers.table["f"].dtype == np.float64
        assert numbers.table["f"].isna().sum() == plain.table["f"].isna().sum()
    assert label_columns(obs, ["f:category"]).table.equals(plain.table)


def test_how_a_column_was_taken_is_said_with_the_way_out() -> None:
    obs = pd.DataFrame({"f": (I % 2).astype(float), "n": RNG.poisson(500, N)})
    notes = label_columns(obs.assign(kind=np.where(I % 3, np.where(I % 2, "a", "b"), None)), ["f", "n", "kind"]).notes
    assert notes == (
        "'f' holds whole numbers and is taken as 2 categories: `labels='f:number'` takes them as numbers",
        "'n' holds whole numbers and is taken as numbers: `labels='n:category'` takes them as categories",
        "67 of 200 cells have no value in 'kind' and are left out of its tests",
    )
    assert label_columns(obs, ["f", "n"]).taken() == "f (2 categories), n (numbers)"


@pytest.mark.parametrize("distinct", [2, 30, 60, 99, 120, 199])
def test_the_way_out_that_is_named_is_open(distinct: int) -> None:
    """A column that could not be taken otherwise is not said to be."""
    obs = pd.DataFrame({"n": np.resize(np.arange(distinct) * 3 + 100, N)})
    found = label_columns(obs, ["n"])
    named = re.findall(r"`labels='(n:\w+)'`", " ".join(found.notes))
    assert len(named) == (distinct <= 100)
    assert "'n' holds whole numbers" in found.notes[0]
    for way in named:
        assert label_columns(obs, [way]).kinds["n"] != found.kinds["n"]
    if not named:
        with pytest.raises(InputError, match=f"met {distinct} in 'n' for 200 cells. Remedy"):  # and no text
            label_columns(obs, ["n:category"])


def test_columns_with_colons_in_their_names_come_first() -> None:
    columns = ["rna:type", "a", "b:number"]
    assert requested(["rna:type", "rna:type:number", "a:category", "b:number"], columns) == {
        "rna:type": "number", "a": "category", "b:number": None,
    }  # fmt: skip
    with pytest.raises(InputError, match="'rna'"):
        requested(["rna:number"], columns)
    with pytest.raises(InputError, match="as both"):
        requested(["a:number", "a:category"], columns)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.array([str(v) for v in RNG.integers(0, 10**6, N)]), "numbers, stored as text.*n:number"),
        (np.array([f"n{i}" for i in range(N)]), "200 in 'n' for 200 cells.*group its values"),
        (np.array(["one"] * N), r"1 in 'n' for 200 cells\. Remedy: leave it out\."),
        (np.array([None] * N, dtype=object), r"0 in 'n' for 200 cells\. Remedy: leave it out\."),
    ],
)
def test_columns_that_are_no_label_are_refused(column: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        label_columns(pd.DataFrame({"n": column}), ["n"])


def test_numbers_stored_as_text_are_read_where_asked() -> None:
    text = [str(v) for v in RNG.poisson(500, N)]
    found = label_columns(pd.DataFrame({"n": text}), ["n:number"]).table["n"]
    assert found.tolist() == [float(v) for v in text]
    with pytest.raises(InputError, match="'x' in 'n'"):
        label_columns(pd.DataFrame({"n": ["x", *text[1:]]}), ["n:number"])


@pytest.mark.parametrize("name", RESERVED)
def test_names_that_the_tables_use_are_refused_or_kept_apart(name: str) -> None:
    obs = pd.DataFrame({name: np.where(I % 2, "a", "b")})
    with pytest.raises(InputError, match="rename"):
        label_columns(obs, [name])
    assert list(kept_columns(obs, ()).columns) == [f"obs:{name}"]


def test_all_other_columns_of_categories_are_kept() -> None:
    obs = pd.DataFrame(
        {
            "kind": np.where(I % 2, "a", "b"),
            "donor": [f"d{i // 2}" for i in range(N)],
            "code": (I % 3).astype(float),
            "gaps": np.where(I % 2, np.where(I % 3, "u", "v"), None),
            "depth_like": RNG.normal(size=N),
            "barcode": [f"c{i}" for i in range(N)],
            "one": "same",
        }
    )
    kept = kept_columns(obs, ["kind"])
    assert list(kept.columns) == ["donor", "code", "gaps"]
    assert kept["code"].cat.categories.tolist() == ["0", "1", "2"]
    assert kept["gaps"].isna().sum() == 100


def test_kinds_decide_what_is_tested() -> None:
    codes = RNG.random((N, 2)) * (RNG.random((N, 2)) < 0.4)
    given = {
        "expression": RNG.random((N, 5)),
        "genes": list("abcde"),
        "nulls": (),
        "labels": {"f": (I % 2).astype(float)},
    }
    assert set(annotate(codes, **given).labels["value"]) == {"0", "1"}
    assert set(annotate(codes, **given, label_kinds={"f": "number"}).labels["value"]) == {""}
    assert annotate(codes, **given).info["labels"] == {"f": "category"}
    for wrong in ({"g": "number"}, {"f": "text"}):
        with pytest.raises(InputError):
            annotate(codes, **given, label_kinds=wrong)
    with pytest.raises(InputError, match="'f' twice"):
        annotate(codes, **(given | {"labels": pd.DataFrame([[1, 2]] * N, columns=["f", "f"])}))


def test_categories_keep_the_order_that_they_have() -> None:
    n = 48
    stages = ["early", "mid 1", "mid 2", "late"]
    obs = pd.DataFrame(
        {
            "stage": pd.Categorical(np.array(stages)[np.arange(n) % 4], stages, ordered=True),
            "cluster": pd.Categorical((np.arange(n) % 12).astype(str), [str(i) for i in range(12)]),
            "as text": (np.arange(n) % 12).astype(str),
            "day": np.array([14.0, 2.0, 7.0, 0.0])[np.arange(n) % 4],
            "word": np.array(["b", "a", "10"])[np.arange(n) % 3],
        }
    )
    numbers = [str(i) for i in range(12)]
    right = {
        "stage": stages,
        "cluster": numbers,
        "as text": numbers,
        "day": ["0", "2", "7", "14"],
        "word": ["10", "a", "b"],
    }
    for table in (label_columns(obs, list(obs)).table, kept_columns(obs, ())):
        assert {c: list(table[c].cat.categories) for c in table} == right
        assert [c for c in table if table[c].cat.ordered] == ["stage"]
        for name in obs:
            assert table[name].astype(str).tolist() == [str(v).removesuffix(".0") for v in obs[name]]
