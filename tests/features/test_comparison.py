"""Features of two dictionaries beside each other, held against dense oracles and against chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.pairwise import cosine_similarity

from cellprism.errors import InputError
from cellprism.features.assignment import best_of_rows, one_to_one
from cellprism.features.comparison import Comparison, compare
from cellprism.features.dictionary import Dictionary
from cellprism.features.likeness import Likeness, Mirrors, Permutations, Rows
from cellprism.features.looks import look
from cellprism.features.options import CompareOptions
from cellprism.features.relations import relations


def named(n: int) -> pd.DataFrame:
    return pd.DataFrame({"feature": 3 * np.arange(n), "name": [f"n{i}" for i in range(n)]})


def sparse_codes(rng: np.random.Generator, cells: int, width: int, share: float = 0.2) -> sp.csr_array:
    return sp.csr_array(rng.gamma(2, 1, (cells, width)) * (rng.random((cells, width)) < share))


def of_codes(codes: Any, names: list[str] | None = None, **labels: Any) -> Dictionary:
    codes = sp.csr_array(codes)
    cells = pd.DataFrame({"cell": names or [f"c{i}" for i in range(codes.shape[0])], **labels})
    return Dictionary(named(codes.shape[1]), codes=codes, cells=cells)


def of_genes(table: np.ndarray, symbols: list[str]) -> Dictionary:
    f, g = np.nonzero(table)
    rows = {"feature": 3 * f, "symbol": np.array(symbols)[g], "statistic": table[f, g]}
    return Dictionary(named(len(table)), genes=pd.DataFrame(rows))


def of_sets(has: np.ndarray, names: list[str], down: np.ndarray | None = None) -> Dictionary:
    f, s = np.nonzero(np.ones_like(has))
    up = pd.DataFrame(
        {"feature": 3 * f, "set": np.array(names)[s], "direction": "up", "qval": np.where(has[f, s], 0.01, 0.5)}
    )
    turned = np.zeros_like(has) if down is None else down
    other = up.assign(direction="down", qval=np.where(turned[f, s], 0.01, 0.5))
    return Dictionary(named(len(has)), sets=pd.concat([up, other], ignore_index=True))


def planes(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Rows whose columns go together in a few directions of unlike weight, as genes do."""
    return rng.normal(size=(n, 6)) * np.array([6, 4, 3, 2, 1, 1]) @ rng.normal(size=(6, d)) + 0.3 * rng.normal(
        size=(n, d)
    )


@pytest.mark.parametrize("shape", [(30, 30), (12, 40), (40, 12), (1, 9)])
def test_one_to_one_is_scipys_dense_assignment(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for empty in (0.0, 0.6, 0.95):
        scores = rng.random(shape) * (rng.random(shape) >= empty)
        partner, value = one_to_one(sp.csr_array(scores))
        i, j = linear_sum_assignment(scores, maximize=True)
        assert value.sum() == pytest.approx(scores[i, j].sum(), abs=1e-6)
        met = partner >= 0
        assert len(set(partner[met])) == met.sum()
        np.testing.assert_array_equal(value[met], scores[np.flatnonzero(met), partner[met]])
        best, most = best_of_rows(sp.csr_array(scores))
        np.testing.assert_array_equal(most, scores.max(axis=1))
        assert ((best == scores.argmax(axis=1)) | (most == 0)).all()


@pytest.mark.parametrize("share", [0.02, 0.3], ids=["sparse", "dense"])
def test_scores_are_those_of_dense_oracles(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a, b = sparse_codes(rng, 300, 17, share), sparse_codes(rng, 300, 11, share)
    monkeypatch.setattr("cellprism.features.likeness._BLOCK", 40)  # several blocks
    rows, others = Rows(a.T), Rows(b.T)
    null = Permutations(np.zeros(300, dtype=np.intp))
    dense = np.corrcoef(a.toarray().T, b.toarray().T)[:17, 17:]
    np.testing.assert_allclose(
        Likeness("correlation", rows, others, null).scores().toarray(), np.maximum(dense, 0), atol=1e-12
    )
    dense = cosine_similarity(a.toarray().T, b.toarray().T)
    np.testing.assert_allclose(Likeness("cosine", rows, others, null).scores().toarray(), dense, atol=1e-12)
    x, y = a.toarray().T > 0, b.toarray().T > 0
    dense = np.array([[(p & q).sum() / max(1, (p | q).sum()) for q in y] for p in x])
    np.testing.assert_allclose(Likeness("jaccard", Rows(x), Rows(y), null).scores().toarray(), dense, atol=1e-12)


def test_of_many_pairs_the_strongest_of_either_side_are_kept() -> None:
    rng = np.random.default_rng(3)
    like = Likeness("correlation", Rows(sparse_codes(rng, 200, 50).T), Rows(sparse_codes(rng, 200, 70).T), Mirrors())
    whole, kept = like.scores().toarray(), like.scores(many=0, kept=4).toarray()
    np.testing.assert_allclose(kept[kept > 0], whole[kept > 0])
    np.testing.assert_allclose(kept.max(axis=1), whole.max(axis=1))
    np.testing.assert_allclose(kept.max(axis=0), whole.max(axis=0))
    assert ((kept > 0).sum(axis=1) >= np.minimum(4, (whole > 0).sum(axis=1))).all()


def by_codes(rng: np.random.Generator) -> Comparison:
    return compare(of_codes(sparse_codes(rng, 150, 12)), of_codes(sparse_codes(rng, 150, 15)), asked("codes"))


def within_labels(rng: np.random.Generator) -> Comparison:
    """Features of both follow the labels, and nothing else of each other."""
    label = np.repeat([0, 1, 2], 60)
    lift = rng.random((3, 12)) < 0.4
    a, b = (sparse_codes(rng, 180, 12).toarray() * (0.05 + lift[label]) for _ in range(2))
    names = [f"c{i}" for i in range(180)]
    return compare(
        of_codes(a, names, kind=label), of_codes(b, names), CompareOptions("codes", permutations=39, within="kind")
    )


def by_genes(rng: np.random.Generator) -> Comparison:
    """Axes that both dictionaries have; where the features lie along them is each one's own."""
    genes = [f"G{i}" for i in range(80)]
    axes = rng.normal(size=(6, 80))
    axes -= axes.mean(axis=1, keepdims=True)
    axes = np.linalg.qr(axes.T)[0].T
    a, b = (rng.normal(size=(n, 6)) @ axes for n in (12, 15))
    return compare(of_genes(a, genes), of_genes(b, genes), asked("genes"))


def by_decoder(rng: np.random.Generator) -> Comparison:
    """Directions in one embedding whose axes are of unlike variance; where they point along them is each one's own."""
    spread = np.array([5, 4, 3, 2, 1, 0.5])
    a, b = (rng.normal(size=(n, 6)) * spread for n in (12, 15))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    sides = [Dictionary(named(len(one)), directions=one @ turn, space="one") for one in (a, b)]
    return compare(*sides, asked("decoder"))


def by_sets(rng: np.random.Generator) -> Comparison:
    sets = [f"S{i}" for i in range(120)]
    common = rng.choice([0.02, 0.1, 0.4], 120)  # some sets are had by most features, in both dictionaries
    a, b = (rng.random((n, 120)) < common for n in (25, 30))
    return compare(of_sets(a, sets), of_sets(b, sets), asked("sets"))


def asked(by: Any) -> CompareOptions:
    return CompareOptions(by, permutations=39)


@pytest.mark.parametrize(
    ("world", "discrete"), [(by_codes, 0), (within_labels, 0), (by_decoder, 0), (by_genes, 0), (by_sets, 1)]
)
def test_p_is_uniform_where_nothing_is_shared(world: Callable[..., Comparison], discrete: int) -> None:
    """Over worlds, one feature of each, as features of one world share their draws."""
    rng = np.random.default_rng(4)
    found = [world(rng) for _ in range(150)]
    for side in ("table", "others"):
        rows = [getattr(one, side).iloc[i % 10] for i, one in enumerate(found)]
        p = np.array([row["best_pval"] for row in rows])
        p = p[np.isfinite(p)]
        spread = p - rng.random(len(p)) / 40  # p lies on a grid of 40 steps
        if discrete:  # scores that tie make p larger, never smaller
            assert stats.kstest(spread, "uniform", alternative="greater").pvalue > 0.01
            assert (p <= 0.5).mean() > 0.35
        else:
            assert stats.kstest(spread, "uniform").pvalue > 0.01
        partner = np.array([row["partner_pval"] for row in rows])
        assert (partner[np.isfinite(partner)] >= p - 1e-12).all()


@pytest.mark.parametrize("draws", [1, 19])
def test_draws_of_which_no_q_value_can_come_are_refused(draws: int) -> None:
    with pytest.raises(InputError, match="at least 20 draws"):
        CompareOptions(permutations=draws)


def test_too_few_draws_for_few_counterparts_are_told_with_how_many_would_do() -> None:
    rng = np.random.default_rng(11)
    same = sparse_codes(rng, 300, 3, 0.3)
    a, b = (sp.csr_array(sp.hstack([same, sparse_codes(rng, 300, 27, 0.3)])) for _ in range(2))
    found = compare(of_codes(a), of_codes(b), CompareOptions(permutations=39))
    assert (found.table["best_qval"] >= 0.05).all()
    above = int((found.table["best_pval"] == 1 / 40).sum())
    needed = int(30 / above / 0.05)
    assert f"{above} are above all 39 draws" in found.few_draws
    assert f"give {needed} permutations" in found.few_draws
    more = compare(of_codes(a), of_codes(b), CompareOptions(permutations=needed))
    assert (more.table["best_qval"][:3] < 0.05).all()
    assert more.few_draws == ""


def test_labels_alone_make_matches_unless_cells_are_held_within_them() -> None:
    rng = np.random.default_rng(5)
    label = np.repeat(np.arange(4), 100)
    lift = np.eye(4)[:, np.arange(12) % 4] > 0
    a, b = (sparse_codes(rng, 400, 12, 0.6).toarray() * lift[label] for _ in range(2))
    sides = of_codes(a, kind=label), of_codes(b, kind=label)
    assert (compare(*sides).table["best_qval"] < 0.05).all()
    assert (compare(*sides, CompareOptions(within="kind")).table["best_pval"] < 0.05).mean() < 0.4


@pytest.mark.parametrize("gap", [None, np.nan, pd.NA, ""])
def test_cells_without_a_label_are_left_out_where_labels_hold_cells_together(gap: object) -> None:
    rng = np.random.default_rng(5)
    label = np.repeat(np.array(["x", "y"], dtype=object), 50)
    a, b = (sparse_codes(rng, 100, 8, 0.6) for _ in range(2))
    names = [f"c{i}" for i in range(100)]
    some = label.copy()
    some[::10] = gap
    known = np.flatnonzero(np.arange(100) % 10)
    options = CompareOptions(within="kind", permutations=20)
    found = compare(of_codes(a, names, kind=some), of_codes(b, names), options)
    assert found.info["basis"] == "on 90 shared cells, chance within kind (10 cells without one left out)"
    kept = [names[i] for i in known]
    right = compare(of_codes(a[known], kept, kind=label[known]), of_codes(b[known], kept), options)
    pd.testing.assert_frame_equal(found.table, right.table)


def test_cells_are_found_by_name() -> None:
    rng = np.random.default_rng(6)
    codes = sparse_codes(rng, 120, 9)
    names = [f"c{i}" for i in range(120)]
    order = rng.permutation(120)[:90]
    turned = of_codes(codes[order][:, ::-1], [names[i] for i in order])
    found = compare(of_codes(codes, names), turned)
    assert found.info["basis"] == "on 90 shared cells"
    np.testing.assert_array_equal(found.table["partner_feature"], found.table["feature"].to_numpy()[::-1])
    np.testing.assert_allclose(found.table["partner_correlation"], 1)
    assert (found.table["relation"] == "shared").all()
    assert (found.others["partner_feature"] == found.table["feature"].to_numpy()[::-1]).all()
    assert (found.table["partner_pval"] == 1 / 1000).all()


def test_symbols_are_found_by_name_and_silent_features_told() -> None:
    rng = np.random.default_rng(7)
    genes = [f"G{i}" for i in range(200)]
    table = planes(rng, 10, 200)
    table[4] = 0
    order = rng.permutation(200)[:150]
    found = compare(
        of_genes(table, genes), of_genes(table[:, order], [genes[i] for i in order]), CompareOptions("genes")
    )
    live = np.arange(10) != 4
    dense = np.corrcoef(table[live][:, order])
    np.testing.assert_allclose(found.table["best_correlation"][live], dense.max(axis=1))
    assert found.table["relation"][4] == "silent"
    assert found.table.loc[4, ["best_correlation", "best_pval", "best_qval"]].isna().all()
    assert found.table["best_feature"][4] == -1
    # the other way round is no match
    found = compare(of_genes(table, genes), of_genes(-table, genes), CompareOptions("genes"))
    assert (found.table["best_feature"] != found.table["feature"]).all()


def test_sets_up_are_not_sets_down() -> None:
    rng = np.random.default_rng(8)
    sets = [f"S{i}" for i in range(40)]
    has = rng.random((8, 40)) < 0.2
    none = np.zeros_like(has)
    found = compare(of_sets(has, sets), of_sets(has, sets), CompareOptions("sets"))
    np.testing.assert_array_equal(found.table["partner_feature"], found.table["feature"])
    np.testing.assert_array_equal(found.table["partner_jaccard"], 1)
    assert (
        compare(of_sets(has, sets), of_sets(none, sets, has), CompareOptions("sets")).table["best_feature"] == -1
    ).all()


def test_directions_are_compared_in_one_space_alone() -> None:
    rng = np.random.default_rng(9)
    codes, place = sparse_codes(rng, 50, 8), rng.normal(size=(50, 6))
    ways = rng.normal(size=(8, 6))
    one = Dictionary(named(8), codes, of_codes(codes).cells, place, ways)
    other = Dictionary(named(8), codes, of_codes(codes).cells, place.copy(), 2 * ways[::-1])
    found = compare(one, other, CompareOptions("decoder"))
    np.testing.assert_array_equal(found.table["partner_feature"], found.table["feature"].to_numpy()[::-1])
    np.testing.assert_allclose(found.table["partner_cosine"], 1)
    strangers = Dictionary(named(8), codes, of_codes(codes, [f"x{i}" for i in range(50)]).cells, place, ways, "m 1")
    same_model = Dictionary(named(8), codes, one.cells, place, ways, "m 1")
    assert "by the same model" in compare(same_model, strangers, CompareOptions("decoder")).info["basis"]
    for wrong, met in (
        (Dictionary(named(8), codes, one.cells, place + 1, ways), "lie elsewhere"),
        (Dictionary(named(8), codes, one.cells, place, ways[:, :5]), "6 and 5 dimensions"),
        (strangers, "neither shared cells"),
    ):
        with pytest.raises(InputError, match=met):
            compare(one, wrong, CompareOptions("decoder"))


RELATIONS = {
    "one is one": ([[0.7]], ["shared"], ["shared"]),
    "one is two": ([[0.7, 0.6]], ["split"], ["merged", "merged"]),
    "two are one": ([[0.7], [0.6]], ["merged", "merged"], ["split"]),
    "two are two": ([[0.7, 0.6, 0], [0, 0.65, 0]], ["shared", "shared", ], ["shared", "shared", "unique"]),
    "several are several": ([[0.8, 0.7], [0.6, 0]], ["mixed", "mixed"], ["mixed", "mixed"]),
    "the same leaves the rest": ([[0.95, 0.7]], ["shared"], ["shared", "unclear"]),
    "nothing is like it": ([[0.4]], ["unique"], ["unique"]),
}  # fmt: skip


@pytest.mark.parametrize(("scores", "here", "there"), RELATIONS.values(), ids=RELATIONS.keys())
def test_relations(scores: list[list[float]], here: list[str], there: list[str]) -> None:
    matrix = sp.csr_array(np.array(scores))
    every = [np.ones(n, dtype=bool) for n in matrix.shape]
    found = relations(matrix, 0.5, *every)
    assert [list(words) for words in found] == [here, there]
    turned = relations(sp.csr_array(matrix.T), 0.5, *every[::-1])
    assert [list(words) for words in turned[::-1]] == [list(words) for words in found]
    by_chance = relations(matrix, 0.5, *(~one for one in every))
    assert all((matrix.max(axis=1).toarray().ravel() >= 0.5) == (by_chance[0] == "unclear"))


def test_a_feature_in_two_halves_is_split() -> None:
    rng = np.random.default_rng(10)
    whole = sparse_codes(rng, 800, 6, 0.15).toarray()
    half = rng.random(800) < 0.5
    parts = np.column_stack(
        [whole[:, 0] * half, whole[:, 0] * ~half, whole[:, 1:5], sparse_codes(rng, 800, 1).toarray()]
    )
    found = compare(of_codes(whole), of_codes(parts))
    assert found.table["relation"].tolist() == ["split", *["shared"] * 4, "unique"]
    assert found.others["relation"].tolist() == ["merged", "merged", *["shared"] * 4, "unique"]
    assert found.info["relations"] == {"shared": 4, "split": 1, "unique": 1}


def genes_of(prefix: str, n: int = 100) -> Dictionary:
    return of_genes(np.ones((3, n)) * np.arange(1, 4)[:, None], [f"{prefix}{i}" for i in range(n)])


CODES = of_codes(np.eye(40))
REFUSED: dict[str, tuple[Dictionary, Dictionary, dict[str, Any], str]] = {
    "other cells": (
        CODES,
        of_codes(np.eye(40), [f"x{i}" for i in range(40)]),
        {},
        "0 shared of 40 and 40.*by='genes'. or sets",
    ),
    "too few shared": (CODES, of_codes(np.eye(19)), {}, "19 shared"),
    "names twice": (CODES, of_codes(np.eye(40), ["c0"] * 40), {}, "names must be unique"),
    "no cells": (CODES, genes_of("G"), {}, "cells are matched by name"),
    "unknown label": (CODES, CODES, {"within": "kind"}, "column of theirs; met 'kind'"),
    "labels by genes": (genes_of("G"), genes_of("G"), {"by": "genes", "within": "kind"}, "leave `within` out"),
    "other genes": (genes_of("G"), genes_of("H"), {"by": "genes"}, "0 shared of 100 and 100"),
    "two species": (
        genes_of("GENE"),
        genes_of("Gene"),
        {"by": "genes"},
        "100 but for upper and lower case.*gene_symbols=",
    ),
    "no genes": (CODES, genes_of("G"), {"by": "genes"}, "table of genes"),
    "no sets": (genes_of("G"), genes_of("G"), {"by": "sets"}, "no set of one"),
    "other sets": (
        of_sets(np.eye(20, dtype=bool), [f"A{i}" for i in range(20)]),
        of_sets(np.eye(20, dtype=bool), [f"B{i}" for i in range(20)]),
        {"by": "sets"},
        "names of gene sets",
    ),
    "no directions": (CODES, CODES, {"by": "decoder"}, "directions of both"),
    "no such way": (CODES, CODES, {"by": "names"}, "`by` must be of codes, decoder, genes, sets"),
    "level": (CODES, CODES, {"level": 1.5}, "`level` must be at most 1"),
    "permutations": (CODES, CODES, {"permutations": -1}, "`permutations` must be at least 0"),
    "no features": (CODES, of_codes(np.zeros((40, 0))), {}, "with features"),
}


@pytest.mark.parametrize(("first", "second", "options", "met"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(first: Dictionary, second: Dictionary, options: dict[str, Any], met: str) -> None:
    with pytest.raises(InputError, match=f"(?i){met}"):
        compare(first, second, CompareOptions(**options))


def test_labels_to_hold_cells_within_are_named() -> None:
    with pytest.raises(InputError, match="name of a column"):
        compare(CODES, CODES, CompareOptions(within=np.array(["a", "b"])))  # type: ignore[arg-type]


def test_without_draws_there_is_no_p() -> None:
    found = compare(CODES, CODES, CompareOptions(permutations=0))
    assert found.table["best_pval"].isna().all()
    assert (found.table["relation"] == "shared").all()


def test_proteins_are_not_genes_of_their_name() -> None:
    one = genes_of("G")
    assert one.genes is not None
    mixed = Dictionary(one.features, genes=one.genes.assign(modality="protein"))
    with pytest.raises(InputError, match="0 shared"):
        look(one, mixed, "genes")
