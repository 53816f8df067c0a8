"""Choosing cells by a condition: pandas' own query as the oracle where it has the form, and nothing is ever run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellprism.data.query import rows_where
from cellprism.errors import InputError

TABLE = pd.DataFrame(
    {
        "cell_type": pd.Categorical(["B", "T", None, "NK", "B", "T, act"]),
        "my type": ["a", "b's", "a", 'c"d', "e`f", "a & b"],
        "age": [1.0, 2.5, np.nan, 4.0, 5.0, 6.0],
        "n": [1, 2, 3, 4, 5, 6],
        "cluster": pd.Categorical(["1", "2", "1", "10", "2", "1"]),
        "doublet": [True, False, False, True, False, False],
        "gap": pd.array([True, None, False, True, None, False], dtype="boolean"),
        "treatment": ["None", "nan", "", "x", "None", "x"],
        "also": ["B", "T", "B", "T", "B", "B"],
    }
)
LIKE_PANDAS = [
    "cell_type == 'B'", "cell_type != 'B'", 'cell_type in ["B", "NK"]', "cell_type not in ['B']", "age > 2.5", "age <= 4",
    "2 < age < 6", "n == 3 or cell_type == 'B'", "cell_type == 'B' and age > 2", "cell_type == 'B' & age > 2",
    "cell_type == 'B' | n == 2", "~(cell_type == 'B')", "not doublet", "doublet", "~doublet & n > 2", "`my type` == 'a'",
    '`my type` == "b\'s"', "`my type` == 'a & b'", "n > age", "n >= -1", "(n > 1) & (n < 4)",
    "not (n > 1 and (age < 3 or doublet))", "cell_type == 'T, act'", "doublet == True",
]  # fmt: skip


@pytest.mark.parametrize("query", LIKE_PANDAS)
def test_it_chooses_what_pandas_would(query: str) -> None:
    wanted = TABLE.query(query, engine="python").index
    np.testing.assert_array_equal(np.flatnonzero(rows_where(TABLE, query)), wanted)


OWN = {
    "cluster == 1": [0, 2, 5],  # texts are equal where they are written alike
    "cluster in [2, 10]": [1, 3, 4],
    "n == '3'": [2],
    "cell_type == None": [2],
    "cell_type != None": [0, 1, 3, 4, 5],
    "treatment == 'None'": [0, 4],
    "treatment == 'nan'": [1],
    "treatment == None": [2],
    "gap": [0, 3],
    "age == None": [2],
    "cell_type == also": [0, 1, 4],
    "'B' == cell_type": [0, 4],
    "cell_type in []": [],
    "`my type` == 'e`f'": [4],
}


@pytest.mark.parametrize("query", OWN)
def test_values_are_compared_as_everywhere_in_the_package(query: str) -> None:
    assert np.flatnonzero(rows_where(TABLE, query)).tolist() == OWN[query]


HARM = [
    "@pd.io.common.os.system('touch PWNED')", "@table.to_csv('PWNED')", "__import__('os').system('touch PWNED')",
    "cell_type.map(print)", "cell_type.__class__", "open('PWNED', 'w')", "(lambda: 1)()", "[x for x in n]", "n := 3",
    "f'{n}' == 'a'", "cell_type == open('PWNED', 'w')", "n if doublet else n", "`n`.values", "n[0] == 1",
]  # fmt: skip


@pytest.mark.parametrize("query", HARM)
def test_no_code_is_run(query: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="comparison of their columns"):
        rows_where(TABLE, query)
    assert not list(tmp_path.iterdir())


WRONG = {
    "my type == 'a'": "names with blanks in backticks, as in `my type` == 'B'",
    "celltype == 'B'": "no column 'celltype'",
    "cell_type == B": "no column 'B'",
    "cell_type = 'B'": "columns: 'cell_type'",
    "cell_type > 'A'": "holds no numbers",
    "age > 'A'": "is no number",
    "cell_type": "neither true nor false",
    "n + 1 > 3": "neither a column nor",
    "3 == 3": "one side",
    "cell_type in 'B'": "needs a list",
    "age is None": "compared by",
    "'unfinished": "columns:",
    "`my type == 'a'": "backtick is not closed",
    "": "columns:",
    "(" * 500 + "n == 1" + ")" * 500: "columns:",
    "n == 1 or " * 2000 + "n == 1": "longer than",
}


@pytest.mark.parametrize("query", WRONG)
def test_what_is_wrong_is_said(query: str) -> None:
    with pytest.raises(InputError) as caught:
        rows_where(TABLE, query)
    assert WRONG[query] in str(caught.value)
