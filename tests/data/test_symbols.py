import numpy as np
import pandas as pd
import pytest

from cellprism.data.symbols import clean_symbols
from cellprism.errors import InputError


def test_missing_symbols_are_told():
    given = ["CD19", "", None, "nan", "NaN", "-", np.nan, pd.NA, " CD3E ", "None", "N/A"]
    genes = [f"gene{i}" for i in range(len(given))]
    result = clean_symbols(genes, given)
    assert result.symbols.tolist() == ["CD19", *[""] * 7, "CD3E", "", ""]
    assert np.flatnonzero(result.counted).tolist() == [0, 8]
    assert (result.n_missing, result.n_shared) == (9, 0)


def test_the_highest_mean_stands_for_a_shared_symbol():
    genes = ["Hba-a1", "Hbb-bs", "Hbb-bt", "Gm1", "Hba-a2"]
    result = clean_symbols(genes, ["HBA1", "HBB", "HBB", "", "HBA2"], [1.0, 2.0, 3.0, 9.0, 1.0])
    assert result.symbols.tolist() == ["HBA1", "HBB", "HBB", "", "HBA2"]  # every gene keeps its symbol
    assert result.counted.tolist() == [True, False, True, False, True]
    assert result.for_sets.tolist() == ["HBA1", "", "HBB", "", "HBA2"]
    assert (result.n_missing, result.n_shared) == (1, 1)
    assert result.summary() == (
        "3 of 5 genes count in set tests (1 without a symbol, 1 share one with a gene that counts)"
    )


@pytest.mark.parametrize("means", [None, [2.0, 2.0, 1.0]])
def test_ties_go_to_the_first(means):
    assert clean_symbols(["a", "b", "c"], ["S", "S", "S"], means).counted.tolist() == [True, False, False]


def test_gene_names_are_the_symbols_by_default():
    assert clean_symbols(["CD19", "CD3E"]).for_sets.tolist() == ["CD19", "CD3E"]


def test_a_column_of_a_frame_is_accepted():
    column = pd.Series(["CD19", None, "CD19"], index=["x", "y", "z"], dtype="category")
    result = clean_symbols(["x", "y", "z"], column, np.array([[0.1], [0.2], [0.3]]))
    assert result.counted.tolist() == [False, False, True]


BAD = {
    "lengths differ": (["a", "b"], ["A"], None, "1 symbols for 2 genes"),
    "no symbol": (["a", "b"], ["", "nan"], None, "least one gene must have a symbol"),
    "means of another length": (["a", "b"], None, [1.0], "1 values, 0 of them not finite"),
    "means not finite": (["a", "b"], None, [1.0, np.nan], "1 of them not finite"),
}


@pytest.mark.parametrize(("genes", "symbols", "means", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused(genes, symbols, means, message):
    with pytest.raises(InputError, match=message):
        clean_symbols(genes, symbols, means)


def test_each_symbol_counts_once_on_random_tables():
    rng = np.random.default_rng(1)
    symbols = [f"S{i}" for i in rng.integers(0, 300, 1000)]
    means = rng.integers(0, 5, 1000)
    result = clean_symbols([f"g{i}" for i in range(1000)], symbols, means)
    for symbol in set(symbols):
        rows = [i for i, value in enumerate(symbols) if value == symbol]
        best = max(rows, key=lambda i: (means[i], -i))
        assert [i for i in rows if result.counted[i]] == [best]
