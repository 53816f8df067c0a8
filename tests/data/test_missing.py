"""What is missing, and what is a value: the same answer for every type that a column is kept in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.data.missing import groups, missing
from cellprism.errors import CellsLeftOut, InputError
from cellprism.features.annotate import annotate
from cellprism.features.kinds import cell_type_kinds, has_kinds
from cellprism.stats.labels import category_detectors
from cellprism.stats.units import usable_units
from cellprism.steering.clean import codes_of
from cellprism.steering.neighbours import label_columns

TEXT = ["a", "b"]
GAPS = [True, False, False, True]


def with_gaps(values: list[Any], gap: Any) -> list[Any]:
    """A gap, the two values, and a gap."""
    return [gap, *values, gap]


COLUMNS = {
    "object None": (np.array(with_gaps(TEXT, None), dtype=object), TEXT),
    "object NaN": (np.array(with_gaps(TEXT, np.nan), dtype=object), TEXT),
    "object NA": (np.array(with_gaps(TEXT, pd.NA), dtype=object), TEXT),
    "object NaT": (np.array(with_gaps(TEXT, pd.NaT), dtype=object), TEXT),
    "object blank": (np.array(with_gaps(TEXT, " "), dtype=object), TEXT),
    "list of None": (with_gaps(TEXT, None), TEXT),
    "numpy text": (np.array(with_gaps(TEXT, "")), TEXT),
    "numpy bytes": (np.array(with_gaps([b"a", b"b"], b"")), TEXT),
    "masked": (np.ma.MaskedArray([9, 1, 2, 9], mask=GAPS), ["1", "2"]),
    "nullable text": (pd.array(with_gaps(TEXT, None), dtype="string"), TEXT),
    "arrow text": (pd.array(with_gaps(TEXT, None), dtype="string[pyarrow]"), TEXT),
    "nullable whole numbers": (pd.array(with_gaps([1, 2], None), dtype="Int64"), ["1", "2"]),
    "nullable booleans": (pd.array(with_gaps([False, True], None), dtype="boolean"), ["False", "True"]),
    "nullable floats": (pd.array(with_gaps([1.0, 2.5], None), dtype="Float64"), ["1", "2.5"]),
    "floats": (np.array(with_gaps([1.0, 2.0], np.nan)), ["1", "2"]),
    "half floats": (np.array(with_gaps([1.0, 2.0], np.nan), dtype=np.float16), ["1", "2"]),
    "categorical": (pd.Categorical(with_gaps(TEXT, None), categories=["unused", *TEXT]), TEXT),
    "categorical of codes": (pd.Categorical(with_gaps([1.0, 2.0], None)), ["1", "2"]),
    "dates": (np.array(with_gaps([datetime(2020, 1, 1), datetime(2021, 1, 1)], None), dtype="datetime64[s]"), None),
}


@pytest.mark.parametrize("wrap", ["as it is", "series"])
@pytest.mark.parametrize("kind", list(COLUMNS))
def test_every_type_has_the_same_gaps_and_names(kind: str, wrap: str) -> None:
    values, names = COLUMNS[kind]
    if wrap == "series":
        values = pd.Series(values)
    found = groups(values)
    assert missing(values).tolist() == GAPS
    assert found.number.tolist() == [-1, 0, 1, -1]
    assert found.sizes.tolist() == [1, 1]
    assert found.n_missing == 2
    if names is not None:
        assert found.names.tolist() == names
        assert found.text().tolist() == [None, *names, None]


@pytest.mark.parametrize("value", ["None", "nan", "NaN", "NA", "<NA>", "null", "0"])
@pytest.mark.parametrize("dtype", [object, "string", "category", "U"])
def test_texts_that_read_like_nothing_are_values(value: str, dtype: Any) -> None:
    values = np.array([value, "x"]) if dtype == "U" else pd.Series([value, "x"], dtype=dtype)
    assert not missing(values).any()
    assert set(groups(values).names) == {value, "x"}


def test_numbers_of_one_value_are_one_group_whatever_their_type() -> None:
    assert groups(np.array([1, 1.0, "1", True, 2], dtype=object)).names.tolist() == ["1", "2"]


def test_all_missing_and_empty_columns_have_no_group() -> None:
    for values in (np.array([None, None], dtype=object), np.array([]), pd.Categorical([None])):
        assert groups(values).names.size == 0
        assert missing(values).all()


@pytest.mark.parametrize("values", [np.array([[1], [2]]), np.array([[1], {}, [2]], dtype=object), 3])
def test_what_is_no_column_is_refused(values: Any) -> None:
    with pytest.raises(InputError):
        groups(values)


@pytest.mark.parametrize("kind", list(COLUMNS))
def test_every_question_uses_the_same_gaps(kind: str) -> None:
    """Ten times the column: detectors, kinds, units and the annotation see two groups of ten cells each."""
    values, _ = COLUMNS[kind]
    column = pd.concat([pd.Series(values)] * 10, ignore_index=True)
    names = groups(column).names.tolist()
    rng = np.random.default_rng(0)
    codes = (rng.random((40, 3)) * (rng.random((40, 3)) < 0.7)).astype(np.float32)
    assert category_detectors(sp.csc_array(codes), column).categories.tolist() == names
    assert has_kinds(column)
    assert set("; ".join(cell_type_kinds(codes, column)["types"]).split("; ")) <= {*names, ""}
    levels = groups(column).text() if kind == "nullable floats" else column  # fractions are no units, but their text is
    units = usable_units(levels, "stratum", 2)
    assert units.names.tolist() == names
    assert units.notes == ("20 of 40 cells without a stratum",)
    with pytest.warns(CellsLeftOut, match="20 of 40"):
        found = annotate(
            codes, rng.random((40, 5)), list("abcde"), labels=pd.DataFrame({"kind": column}), strata=levels, nulls=(), min_cells=3
    )  # fmt: skip
    assert label_columns(column, 40)["label" if column.name is None else column.name].tolist().count("") == 20
    with pytest.raises(InputError, match="20 of 40 cells without one"):
        codes_of(column, 40, "batch")
    assert found.info["n_strata"] == 2
    assert found.info["notes"] == ["20 of 40 cells without a stratum: left out of the tests of genes and gene sets"]
