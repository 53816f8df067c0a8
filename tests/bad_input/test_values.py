"""Values of arrays that cannot be: every public function that takes them refuses them, in one message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import cellprism as prism
from cellprism.steering.sets import membership


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 1j, "text", "masked", "one row less"], ids=str)
@pytest.mark.parametrize("place", [0, 1])
def test_codes_that_cannot_be_are_refused_on_both_sides_of_a_match(bad: Any, place: int) -> None:
    codes = np.abs(np.random.default_rng(0).normal(size=(40, 5)))
    wrong: Any = codes.astype(complex if bad == 1j else float)
    if bad == "masked":
        wrong = np.ma.masked_greater(codes, 1)
    elif bad == "one row less":
        wrong = codes[1:]
    elif bad == "text":
        wrong = codes.astype(str)
    else:
        wrong[3, 2] = bad
    with pytest.raises(prism.InputError):
        prism.match(*([wrong, codes] if place == 0 else [codes, wrong]))


@pytest.mark.parametrize(
    "sets", ["sets.gmt", ["A", "B"], pd.DataFrame({"a": ["G1"]}), {"a": "G1"}, {"a": 3}, {"a": None}], ids=str
)
@pytest.mark.parametrize("function", ["annotate", "match_sets", "effect", "evaluate"])
def test_what_is_no_mapping_of_names_to_lists_is_refused_as_gene_sets(sets: Any, function: str) -> None:
    rng = np.random.default_rng(0)
    codes = np.abs(rng.normal(size=(60, 3)))
    expression, genes = np.abs(rng.normal(size=(60, 8))), [f"G{i}" for i in range(8)]
    calls: dict[str, Callable[[], object]] = {
        "annotate": lambda: prism.annotate(codes, expression, genes, sets),
        "match_sets": lambda: prism.genesets.match_sets(sets, genes),
        "effect": lambda: membership(sets, genes),
        "evaluate": lambda: prism.evaluate(
            codes, codes, {"t": np.repeat(["a", "b"], 30)}, expression=expression, genes=genes, gene_sets=sets
        ),
    }
    with pytest.raises(prism.InputError, match=r"ene sets? .*lists? of genes"):
        calls[function]()


@pytest.mark.parametrize("name", [None, np.nan, pd.NA, "", " "], ids=str)
def test_a_gene_without_a_name_is_refused(name: Any) -> None:
    codes, expression = np.eye(30)[:, :3], np.ones((30, 3))
    with pytest.raises(prism.InputError, match="Every gene has a name"):
        prism.annotate(codes, expression, ["A", name, "B"])


@pytest.mark.parametrize("form", [lambda X: X.astype(complex), lambda X: X.astype(str), np.ma.masked_invalid])
def test_expression_that_is_no_matrix_of_numbers_is_refused(form: Any) -> None:
    with pytest.raises(prism.InputError):
        prism.annotate(np.eye(30)[:, :3], form(np.ones((30, 3))), ["A", "B", "C"])
