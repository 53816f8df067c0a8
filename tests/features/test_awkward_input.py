"""Inputs at the edge: each has the answer that docs/statistics.md states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.errors import InputError
from cellprism.features.annotate import annotate
from cellprism.features.differential import differential

N_CELLS, N_GENES = 200, 60


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    codes = (rng.random((N_CELLS, 6)) * (rng.random((N_CELLS, 6)) < 0.2)).astype(np.float32)
    genes = [f"G{i}" for i in range(N_GENES)]
    return {
        "codes": codes,
        "expression": np.log1p(rng.poisson(1.0 + 4.0 * (codes[:, [0]] > 0) * (np.arange(N_GENES) < 12))),
        "genes": genes,
        "gene_sets": {"a": genes[:10], "b": genes[30:40]},
        "nulls": ("permuted",),
    }


def test_strata_with_one_level_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="two levels"):
        annotate(**data, strata=np.full(N_CELLS, "only"))


def test_strata_that_hold_a_feature_on_one_side_only_do_not_count_for_it(data: dict[str, Any]) -> None:
    strata = np.where(data["codes"][:, 1] > 0, "with", "without")
    found = annotate(**data, strata=strata)
    reason = found.untestable.set_index("feature")["reason"]
    assert reason[1] == "0 active cells in strata that hold both sides, fewer than 10"
    assert found.features.set_index("feature").loc[1, "name"].startswith("not testable")


def test_a_category_with_one_cell_has_no_row_and_changes_no_other(data: dict[str, Any]) -> None:
    kind = np.array(["x", "y"] * (N_CELLS // 2), dtype=object)
    rare = kind.copy()
    rare[0] = "alone"
    table = annotate(**data, labels={"kind": rare}).labels
    assert set(table["value"]) == {"x", "y"}
    unknown = kind.copy()
    unknown[0] = None
    assert set(annotate(**data, labels={"kind": unknown}).labels["value"]) == {"x", "y"}


def test_a_column_of_one_category_gives_no_rows(data: dict[str, Any]) -> None:
    found = annotate(**data, labels={"kind": np.full(N_CELLS, "x"), "two": np.arange(N_CELLS) % 2})
    assert set(found.labels["column"]) == {"two"}


def test_empty_sets_are_left_out_and_counted_as_untested(data: dict[str, Any]) -> None:
    found = annotate(**(data | {"gene_sets": data["gene_sets"] | {"empty": [], "unknown": ["X1", "X2"]}}))
    assert set(found.sets["set"].astype(str)) == {"a", "b"}
    assert found.info["n_sets"] == 2


def test_only_empty_sets_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="member"):
        annotate(**(data | {"gene_sets": {"empty": []}}))


@pytest.mark.parametrize("none", [None, {}])
def test_without_sets_genes_and_labels_are_still_told(data: dict[str, Any], none: Any) -> None:
    found = annotate(**(data | {"gene_sets": none}))
    assert len(found.sets) == 0
    assert len(found.genes)
    assert found.features["top_set"].eq("").all()
    assert not found.shares["claim"].str.contains("a set").any()


@pytest.mark.parametrize("codes", [np.zeros((N_CELLS, 4)), sp.csr_array((N_CELLS, 4))], ids=["dense", "sparse"])
def test_all_features_dead(data: dict[str, Any], codes: Any) -> None:
    found = annotate(**(data | {"codes": codes}), labels={"kind": np.arange(N_CELLS) % 2})
    assert [len(t) for t in (found.features, found.genes, found.sets, found.labels)] == [0, 0, 0, 0]
    assert found.untestable["reason"].tolist() == ["never active"] * 4
    assert len(differential(codes, np.arange(N_CELLS) % 2).table) == 0


def test_features_active_everywhere_or_in_one_cell_are_told_with_their_reason(data: dict[str, Any]) -> None:
    codes = data["codes"].copy()
    codes[:, 2] = 1.0
    codes[:, 3] = 0.0
    codes[5, 3] = 1.0
    reason = annotate(**(data | {"codes": codes})).untestable.set_index("feature")["reason"]
    assert reason.to_dict() == {2: "0 inactive cells, fewer than 10", 3: "1 active cells, fewer than 10"}


def test_a_condition_with_one_cell_is_refused(data: dict[str, Any]) -> None:
    condition = pd.Series(["a"] * N_CELLS)
    condition.iloc[0] = "b"
    with pytest.raises(InputError, match="two cells"):
        differential(data["codes"], condition.to_numpy())
