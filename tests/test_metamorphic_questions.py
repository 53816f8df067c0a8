"""Changes that leave the biology as it is, and their exact effect on comparisons, matches and evaluations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.stats import ortho_group

from cellprism.evaluation.evaluate import evaluate
from cellprism.features.comparison import Comparison, compare
from cellprism.features.dictionary import Dictionary
from cellprism.features.differential import differential
from cellprism.features.options import CompareOptions

N, WIDTH = 360, 8
EXACT = {"rtol": 1e-9, "atol": 1e-12}
RNG = np.random.default_rng(5)
DONOR = np.array([f"d{i % 9}" for i in range(N)])
SIDE = np.where(np.arange(N) % 9 < 4, "before", "after")
TYPE = RNG.choice(["B", "NK", "T"], N)
CODES = RNG.gamma(2.0, 1.0, (N, WIDTH)) * (RNG.random((N, WIDTH)) < 0.3)
CODES[:, 0] *= np.where(SIDE == "after", 1.8, 1.0)
for column, kind in enumerate(("B", "NK", "T"), start=1):
    CODES[:, column] *= np.where(kind == TYPE, 3.0, 0.4)
CODES = CODES.astype(np.float32)
OTHER = (CODES @ RNG.random((WIDTH, 6)) * (RNG.random((N, 6)) < 0.5)).astype(np.float32)
CELLS, FEATURES = RNG.permutation(N), RNG.permutation(WIDTH)
UNITS = pytest.mark.parametrize("donors", [False, True], ids=["cells", "donors"])


# -- differential ------------------------------------------------------------------------------------------------


def differences(codes: np.ndarray, side: Any = SIDE, donor: Any = None, **more: Any) -> pd.DataFrame:
    pair = more.pop("conditions", ("before", "after"))
    return differential(codes, side, donor, conditions=pair, **more).table.set_index("feature")


def donors_of(donors: bool, rows: Any = slice(None)) -> Any:
    return DONOR[rows] if donors else None


@UNITS
def test_a_difference_does_not_depend_on_the_order_of_cells_or_the_names_of_donors(donors: bool) -> None:
    base = differences(CODES, donor=donors_of(donors))
    moved = differences(CODES[CELLS], SIDE[CELLS], donors_of(donors, CELLS))
    pd.testing.assert_frame_equal(base, moved, **EXACT)
    if donors:
        new = {f"d{i}": f"patient {(4 * i + 1) % 9}" for i in range(9)}  # sorted in another order
        renamed = differences(CODES, donor=np.array([new[d] for d in DONOR]))
        pd.testing.assert_frame_equal(base, renamed, **EXACT)


@UNITS
def test_features_in_another_order_keep_their_differences(donors: bool) -> None:
    base = differences(CODES, donor=donors_of(donors))
    moved = differences(CODES[:, FEATURES], donor=donors_of(donors))
    moved.index = FEATURES[moved.index].astype(base.index.dtype)
    pd.testing.assert_frame_equal(base, moved.sort_index(), check_names=False, **EXACT)


@UNITS
def test_other_units_of_the_codes_scale_what_is_in_these_units(donors: bool) -> None:
    base, scaled = differences(CODES, donor=donors_of(donors)), differences(CODES * 1024, donor=donors_of(donors))
    in_units = ["mean_a", "mean_b", "difference", "detectable"]
    pd.testing.assert_frame_equal(base.drop(columns=in_units), scaled.drop(columns=in_units), **EXACT)
    pd.testing.assert_frame_equal(base[in_units] * 1024, scaled[in_units], **EXACT)


@UNITS
def test_conditions_the_other_way_round_turn_signs_and_sides(donors: bool) -> None:
    base = differences(CODES, donor=donors_of(donors))
    turned = differences(CODES, donor=donors_of(donors), conditions=("after", "before"))
    signed = ["difference", "log2_ratio", "effect", "statistic", "statistic_fraction"]
    expected = base.rename(columns={"mean_a": "mean_b", "mean_b": "mean_a"})
    expected = expected.rename(columns={"fraction_a": "fraction_b", "fraction_b": "fraction_a"})[base.columns]
    expected[signed] = -expected[signed]
    pd.testing.assert_frame_equal(expected, turned, **EXACT)


@UNITS
@pytest.mark.parametrize("gap", [None, np.nan, ""])
@pytest.mark.filterwarnings("ignore::cellprism.errors.CellsLeftOut")
def test_silent_features_and_cells_of_no_condition_change_nothing(donors: bool, gap: object) -> None:
    base = differences(CODES, donor=donors_of(donors))
    silent = np.concatenate([CODES, np.zeros((N, 2), np.float32)], axis=1)
    more = np.concatenate([silent, silent[:40]])
    side = np.concatenate([SIDE.astype(object), np.full(20, gap, dtype=object), np.full(20, "third", dtype=object)])
    told = differences(more, side, np.concatenate([DONOR, DONOR[:40]]) if donors else None)
    pd.testing.assert_frame_equal(base, told, **EXACT)


def test_another_feature_enters_the_family_over_cells_and_no_more() -> None:
    base = differences(CODES)
    more = differences(np.concatenate([CODES, CODES[CELLS, :1]], axis=1))
    beside = [c for c in base if not c.startswith("qval")]
    pd.testing.assert_frame_equal(base[beside], more.loc[base.index, beside], **EXACT)
    new = more.loc[WIDTH, ["pval", "pval_fraction"]].to_numpy(float)
    family = np.concatenate([base["pval"], base["pval_fraction"], new])
    order = np.argsort(family)
    steps = np.minimum.accumulate((family[order] * family.size / np.arange(1, family.size + 1))[::-1])[::-1]
    q = np.empty_like(family)
    q[order] = steps
    np.testing.assert_allclose(more.loc[base.index, "qval"], q[: len(base)], rtol=1e-6)


def test_twice_the_cells_are_the_same_difference_with_more_evidence() -> None:
    once, twice = differences(CODES), differences(np.concatenate([CODES, CODES]), np.tile(SIDE, 2))
    same = ["fraction_a", "fraction_b", "mean_a", "mean_b", "difference"]
    pd.testing.assert_frame_equal(once[same], twice[same], **EXACT)
    # The pooled variance has N - 2 degrees of freedom; a ratio of means adds one typical cell of the smaller condition.
    np.testing.assert_allclose(twice["effect"], once["effect"] * np.sqrt((N - 1) / (N - 2)), rtol=1e-9)
    typical = CODES.sum(axis=0, dtype=np.float64) / (CODES > 0).sum(axis=0) / 2 / (SIDE == "before").sum()
    ratio = np.log2((once["mean_b"] + typical) / (once["mean_a"] + typical))
    np.testing.assert_allclose(twice["log2_ratio"], ratio, rtol=1e-6)
    # The share's test has the pooled variance p (1 - p) (1/n1 + 1/n2), which halves.
    ratio = twice["statistic_fraction"] / once["statistic_fraction"]
    np.testing.assert_allclose(ratio, np.sqrt(2), rtol=1e-9)
    # Permuted cells: the variance of a difference is S / (N - 1) (1/n1 + 1/n2), S the summed squares.
    narrower = once["detectable"] / twice["detectable"]
    np.testing.assert_allclose(narrower, np.sqrt((2 * N - 1) / (N - 1)), rtol=1e-9)


# -- match -------------------------------------------------------------------------------------------------------


def named(n: int) -> pd.DataFrame:
    return pd.DataFrame({"feature": np.arange(n), "name": [f"n{i}" for i in range(n)]})


def by_cells(codes: np.ndarray, rows: Any = slice(None), kind: Any = TYPE) -> Dictionary:
    cells = pd.DataFrame({"cell": [f"c{i}" for i in range(N)], "type": kind}).iloc[rows].reset_index(drop=True)
    return Dictionary(named(codes.shape[1]), codes=sp.csr_array(codes[rows]), cells=cells)


def asked(by: Any = "codes", draws: int = 49, **more: Any) -> CompareOptions:
    return CompareOptions(by, permutations=draws, **more)


def same_matches(one: Comparison, other: Comparison, **bounds: float) -> None:
    for a, b in ((one.table, other.table), (one.others, other.others)):
        pd.testing.assert_frame_equal(a, b, **(bounds or EXACT))


@pytest.fixture(scope="module")
def matched() -> Comparison:
    return compare(by_cells(CODES), by_cells(OTHER), asked())


def test_cells_are_joined_by_name(matched: Comparison) -> None:
    """So the order of the second's cells means nothing, and that of the first no more than other draws do."""
    same_matches(matched, compare(by_cells(CODES), by_cells(OTHER, CELLS), asked()))
    scores = compare(by_cells(CODES), by_cells(OTHER), asked(draws=0))
    same_matches(scores, compare(by_cells(CODES, CELLS), by_cells(OTHER), asked(draws=0)))


def test_units_of_codes_and_silent_features_mean_nothing(matched: Comparison) -> None:
    same_matches(matched, compare(by_cells(CODES * 1024), by_cells(OTHER / 512), asked()))
    silent = np.concatenate([OTHER, np.zeros((N, 1), np.float32)], axis=1)
    found = compare(by_cells(CODES), by_cells(silent), asked())
    pd.testing.assert_frame_equal(found.table, matched.table, **EXACT)
    assert found.others["relation"].iloc[-1] == "silent"


def test_features_in_another_order_keep_their_counterparts(matched: Comparison) -> None:
    told = replace(by_cells(CODES[:, FEATURES]), features=named(WIDTH).iloc[FEATURES].reset_index(drop=True))
    found = compare(told, by_cells(OTHER), asked())
    pd.testing.assert_frame_equal(
        found.table.sort_values("feature").reset_index(drop=True), matched.table, **EXACT, check_index_type=False
    )
    pd.testing.assert_frame_equal(found.others, matched.others, **EXACT)


def test_the_two_sides_are_alike(matched: Comparison) -> None:
    turned = compare(by_cells(OTHER), by_cells(CODES), asked())
    without = [c for c in matched.table if not c.endswith(("pval", "qval")) and c != "relation"]
    pd.testing.assert_frame_equal(turned.table[without], matched.others[without], **EXACT)
    pd.testing.assert_frame_equal(turned.others[without], matched.table[without], **EXACT)


def test_other_names_of_the_labels_hold_the_same_cells_together() -> None:
    other = np.array([{"B": "z", "NK": "y", "T": "x"}[t] for t in TYPE])
    one, two = (
        compare(by_cells(CODES, kind=kind), by_cells(OTHER, kind=kind), asked(within="type")) for kind in (TYPE, other)
    )
    same_matches(one, two)


def directions(rows: np.ndarray) -> Dictionary:
    return Dictionary(named(len(rows)), directions=rows, space="one")


def test_a_rotated_or_scaled_embedding_has_the_same_directions() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=(12, 6)) * np.arange(1, 7), rng.normal(size=(9, 6)) * np.arange(1, 7)
    base = compare(directions(first), directions(second), asked("decoder"))
    turn = ortho_group.rvs(6, random_state=rng)
    same_matches(base, compare(directions(first @ turn), directions(second @ turn), asked("decoder")), atol=1e-9)
    same_matches(base, compare(directions(7 * first), directions(7 * second), asked("decoder")), atol=1e-9)


def of_genes(table: np.ndarray, symbols: list[str]) -> Dictionary:
    f, g = np.indices(table.shape).reshape(2, -1)
    rows = {"feature": f, "symbol": np.array(symbols)[g], "statistic": table[f, g]}
    return Dictionary(named(len(table)), genes=pd.DataFrame(rows))


def test_the_order_of_genes_and_those_of_one_side_alone_mean_nothing() -> None:
    rng = np.random.default_rng(7)
    common = rng.normal(size=(5, 60))
    first, second = (rng.normal(size=(n, 5)) @ common for n in (8, 7))
    genes = [f"G{i:02d}" for i in range(60)]
    base = compare(of_genes(first, genes), of_genes(second, genes), asked("genes"))
    order = rng.permutation(60)
    moved = of_genes(second[:, order], [genes[i] for i in order])
    same_matches(base, compare(of_genes(first, genes), moved, asked("genes")), atol=1e-9)
    alone = of_genes(np.concatenate([second, rng.normal(size=(7, 1))], axis=1), [*genes, "ALONE"])
    same_matches(base, compare(of_genes(first, genes), alone, asked("genes")), atol=1e-9)


# -- evaluate ----------------------------------------------------------------------------------------------------

X = (CODES @ RNG.normal(size=(WIDTH, 5)) + 0.4 * RNG.normal(size=(N, 5))).astype(np.float32)
KEY = ["measure", "target", "dictionary", "k"]


def values(rows: Any = slice(None), **given: Any) -> pd.Series:
    """Values without those of rivals that draw directions, which are others in other cells."""
    asked = {"codes": CODES[rows], "embedding": X[rows], "truth": {"type": TYPE[rows]}} | given
    found = evaluate(asked.pop("codes"), asked.pop("embedding"), replicate=DONOR[rows], rivals=["pca"], **asked)
    return found.table.set_index(KEY)["value"]


def close(a: pd.Series, b: pd.Series, atol: float = 1e-9) -> None:
    pd.testing.assert_series_equal(a, b, check_exact=False, rtol=0, atol=atol)


@pytest.fixture(scope="module")
def evaluated() -> pd.Series:
    return values()


def scored_over_donors(one: pd.Series, *measures: str) -> pd.Series:
    """Without what is scored over random halves of the cells: how well donors are read."""
    return one[one.index.get_level_values("measure").str.startswith(measures or ("probe", "transfer"))]


def test_cells_in_another_order_are_worth_the_same(evaluated: pd.Series) -> None:
    held = scored_over_donors(evaluated)
    close(held, values(CELLS).loc[held.index], atol=1e-6)


def test_features_and_units_mean_nothing_to_their_worth(evaluated: pd.Series) -> None:
    close(evaluated, values(codes=CODES[:, FEATURES]))
    close(evaluated, values(codes=CODES * 1024))
    silent = values(codes=np.concatenate([CODES, np.zeros((N, 3), np.float32)], axis=1))
    mine = evaluated.drop("pca", level="dictionary")  # which has as many axes as the dictionary has features
    close(mine, silent.loc[mine.index])


def test_a_rotated_or_scaled_embedding_is_read_as_well(evaluated: pd.Series) -> None:
    turn = ortho_group.rvs(5, random_state=np.random.default_rng(1)).astype(np.float32)
    close(evaluated, values(embedding=X @ turn).loc[evaluated.index], atol=1e-4)  # principal axes turn along
    close(evaluated, values(embedding=X * 8).loc[evaluated.index], atol=1e-4)


def test_other_names_of_labels_and_donors_rename_targets(evaluated: pd.Series) -> None:
    new = {"B": "z", "NK": "y", "T": "x"}
    found = values(truth={"type": np.array([new[t] for t in TYPE])})
    index = evaluated.rename(lambda t: f"type: {new[t.removeprefix('type: ')]}" if "type" in t else t, level="target")
    close(index, found.loc[index.index])


def test_more_truth_leaves_what_was_asked_before(evaluated: pd.Series) -> None:
    more = values(truth={"type": TYPE, "chance": np.where(RNG.random(N) < 0.4, "in", "out")})
    asked = evaluated[evaluated.index.get_level_values("target").str.startswith(("type", "replicate"))]
    close(asked, more.loc[asked.index])


def test_twice_the_cells_of_the_same_donors_are_worth_the_same(evaluated: pd.Series) -> None:
    """But for transfer, which then asks more of the small contexts."""
    held = scored_over_donors(evaluated, "probe")
    close(held, values([*range(N), *range(N)]).loc[held.index], atol=1e-6)
