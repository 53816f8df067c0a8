"""The annotation runner: tables, options, nulls, answers to bad input."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellprism.errors import InputError
from cellprism.features import support
from cellprism.features.annotate import Annotation, annotate
from cellprism.stats.fdr import Family

N_CELLS, N_GENES, N_FEATURES = 400, 120, 12


@pytest.fixture(scope="module")
def planted() -> dict:
    """Feature f < 4 drives genes 10 f ... 10 f + 9; set f holds eight of them."""
    rng = np.random.default_rng(0)
    codes = (rng.gamma(2.0, 1.0, (N_CELLS, N_FEATURES)) * (rng.random((N_CELLS, N_FEATURES)) < 0.15)).astype(np.float32)
    codes[:, 10] = 0.0
    codes[:, 11] = 0.0
    codes[:3, 11] = 1.0
    rate = np.full((N_CELLS, N_GENES), 0.6)
    for f in range(4):
        rate[:, 10 * f : 10 * f + 10] *= np.where(codes[:, [f]] > 0, 5.0, 1.0)
    genes = [f"G{i}" for i in range(N_GENES)]
    sets = {f"programme {f}": genes[10 * f : 10 * f + 8] for f in range(4)}
    sets |= {f"other {i}": list(rng.choice(genes[40:], 12, replace=False)) for i in range(20)}
    types = np.where(codes[:, 0] > 0, "first", np.where(codes[:, 1] > 0, "second", "rest"))
    return {
        "codes": codes,
        "expression": np.log1p(rng.poisson(rate)),
        "genes": genes,
        "gene_sets": sets,
        "labels": pd.DataFrame({"type": types, "age": rng.random(N_CELLS)}),
        "embedding": codes @ rng.normal(size=(N_FEATURES, 8)) + rng.normal(size=(N_CELLS, 8)),
    }


@pytest.fixture(scope="module")
def found(planted) -> Annotation:
    return annotate(**planted, nulls=("random", "permuted", "random_sets"))


def test_no_look_into_all_tests_is_made_for_each_feature(planted, monkeypatch) -> None:
    """Each takes as long as there are features and items: one a feature would make the time grow with the square of features."""

    def looks(n: int) -> int:
        calls = []
        for owner, name in ((Family, "__init__"), (Family, "q"), (Family, "critical"), (support, "reach")):
            one = getattr(owner, name)
            monkeypatch.setattr(owner, name, lambda *a, one=one: (calls.append(1), one(*a))[1])
        twice = dict(planted, codes=np.tile(planted["codes"][:, :10], n))
        features = annotate(**twice, nulls=("random",)).features
        monkeypatch.undo()
        assert (features["top_set_qval"] < 0.05).sum() >= 4 * n
        return len(calls)

    assert looks(1) == looks(3)


def test_planted_programmes_are_found_and_named(found: Annotation) -> None:
    features = found.features.set_index("feature")
    for f in range(4):
        own = {f"G{i}" for i in range(10 * f, 10 * f + 10)}
        assert len(set(features.loc[f, "top_genes"].split(", ")) & own) >= 9
        assert features.loc[f, "top_set"] == f"programme {f}"
        assert features.loc[f, "top_set_qval"] < 0.05
    assert features.loc[0, "name"].startswith("first: programme 0 · G")
    assert features.loc[2, "name"].startswith("programme 2 · G")
    assert features.loc[6, "name"] == f"no evidence ({features.loc[6, 'n_active']} cells)"


def test_tables_say_how_they_were_made(planted, found: Annotation) -> None:
    split = annotate(**planted, nulls=(), independent=True)
    predicted = annotate(**planted, nulls=(), independent=True, expression_kind="predicted")
    for result, words in (
        (found, ("measured", "descriptive")),
        (split, ("measured", "calibrated")),
        (predicted, ("predicted", "descriptive")),
    ):
        assert (result.info["expression"], result.info["pvalues"]) == words
        for table in (result.features, result.genes, result.sets, result.labels):
            assert set(zip(table["expression"].astype(str), table["pvalues"].astype(str), strict=True)) == {words}


def test_the_level_per_feature_is_that_of_simes(planted) -> None:
    found = annotate(**planted, nulls=(), keep="all", association=True)
    q = found.features.set_index("feature")["any_set_qval"]
    assert (q.loc[:3] < 0.05).all()
    assert (q.loc[4:9] > 0.05).all()
    assert np.isnan(q.loc[11])
    # a planted gene follows the activation, and others do not
    rho = found.genes.pivot(index="feature", columns="gene", values="spearman")
    assert rho.loc[0, "G0"] > 0.3
    assert rho.loc[4:9].abs().to_numpy().mean() < 0.06


def test_columns_are_the_documented_ones(found: Annotation) -> None:
    assert found.features.columns[:13].tolist() == [
        "feature", "name", "kind", "n_active", "mean_active", "max_active", "stability", "confound", "top_genes",
        "top_set", "top_set_qval", "top_label", "top_label_auroc",
    ]  # fmt: skip
    assert found.genes.columns[:9].tolist() == [
        "feature", "gene", "symbol", "modality", "log2fc", "statistic", "logpval", "pval", "qval",
    ]  # fmt: skip
    assert found.sets.columns[:10].tolist() == [
        "feature", "set", "direction", "n_measured", "n_hits", "effect", "pval_rank", "qval_rank", "pval_ora",
        "qval_ora",
    ]  # fmt: skip
    assert found.labels.columns[:8].tolist() == [
        "feature", "column", "value", "auroc", "f1", "precision", "recall", "qval",
    ]  # fmt: skip


def test_untestable_features_stay_with_their_reason(found: Annotation) -> None:
    assert found.untestable["feature"].tolist() == [10, 11]
    assert found.untestable["reason"].tolist() == ["never active", "3 active cells, fewer than 10"]
    assert found.features["feature"].tolist() == [*range(10), 11]
    assert found.features["name"].iloc[-1] == "not testable (3 active cells, fewer than 10)"


def test_shares_stand_beside_every_null(found: Annotation) -> None:
    shares = found.shares.set_index("claim")
    assert shares.columns.tolist() == ["observed", "random", "permuted", "random_sets"]
    genes = shares.loc["features with a gene at q < 0.05"]
    sets = shares.loc["features with a set at q < 0.05"]
    assert 0.4 <= genes["observed"] <= 0.6
    assert 0.4 <= sets["observed"] <= 0.6
    assert genes["permuted"] == 0
    assert sets["permuted"] == 0
    assert np.isnan(genes["random_sets"])
    assert sets["random_sets"] < sets["observed"]  # only the planted genes are as correlated as the planted sets


def test_set_rows_come_in_pairs_with_the_rank_test_on_its_sign(found: Annotation) -> None:
    pairs = found.sets.groupby(["feature", "set"], observed=True)
    assert (pairs.size() == 2).all()
    assert (pairs["qval_rank"].count() == 1).all()
    up = found.sets[found.sets["direction"] == "up"]
    assert (up["effect"][up["pval_rank"].notna()] >= 0).all()


def test_keep_all_keeps_every_pair(planted) -> None:
    found = annotate(**planted, nulls=(), keep="all")
    assert len(found.genes) == 10 * N_GENES
    assert len(found.sets) == 10 * 24 * 2
    assert found.shares.columns.tolist() == ["claim", "observed"]


@pytest.mark.parametrize("method", ["welch", "paper"])
def test_other_methods_find_the_programmes(planted, method: str) -> None:
    found = annotate(**(planted | {"min_cells": 4}), nulls=(), method=method)
    top = found.features.set_index("feature")["top_set"]
    assert top.loc[[0, 1, 2, 3]].tolist() == [f"programme {f}" for f in range(4)]


def test_strata_and_depth_make_blocks(planted) -> None:
    rng = np.random.default_rng(3)
    found = annotate(**planted, nulls=(), strata=np.repeat(["a", "b"], 200), depth=rng.gamma(5.0, 100.0, N_CELLS))
    assert found.info["n_strata"] == 8
    assert (found.features["top_set_qval"].iloc[:4] < 0.05).all()


def test_a_feature_that_reads_a_covariate_is_marked(planted) -> None:
    age = planted["labels"]["age"].to_numpy()
    codes = planted["codes"].copy()
    codes[:, 9] = np.maximum(age - 0.8, 0.0)
    found = annotate(**(planted | {"codes": codes}), nulls=())
    row = found.features.set_index("feature").loc[9]
    assert row["confound"] == "+age"
    assert row["name"].startswith("[+age] ")
    assert (found.features["confound"] == "+age").sum() == 1


def test_a_feature_of_one_cell_is_not_marked_by_the_covariate_that_is_largest_there(planted) -> None:
    codes = planted["codes"].copy()
    codes[:, 9] = 0.0
    codes[int(planted["labels"]["age"].to_numpy().argmax()), 9] = 1.0
    found = annotate(**(planted | {"codes": codes}), nulls=())
    assert found.features.set_index("feature").loc[9, "confound"] == ""


def test_symbols_may_be_empty_or_repeated(planted) -> None:
    symbols = [f"G{i}" for i in range(N_GENES)]
    symbols[9], symbols[19], symbols[29] = "G8", "nan", ""
    found = annotate(**planted, nulls=(), symbols=symbols)
    assert set(found.genes["gene"]) >= {"G9", "G19"}
    assert found.info["n_genes_in_sets"] == N_GENES - 3


def test_the_same_seed_gives_the_same_tables(planted, found: Annotation) -> None:
    again = annotate(**planted, nulls=("random", "permuted", "random_sets"))
    pd.testing.assert_frame_equal(again.sets, found.sets)
    pd.testing.assert_frame_equal(again.shares, found.shares)


def test_all_features_dead_is_an_answer(planted) -> None:
    found = annotate(**(planted | {"codes": np.zeros((N_CELLS, 3))}))
    assert len(found.features) == 0
    assert found.untestable["reason"].tolist() == ["never active"] * 3
    assert found.shares.set_index("claim").loc["testable features", "observed"] == 0


BAD = {
    "negative expression": ({"expression": -np.ones((N_CELLS, N_GENES))}, "before scaling"),
    "counts": ({"expression": np.full((N_CELLS, N_GENES), 900.0)}, "log1p"),
    "NaN": ({"expression": np.full((N_CELLS, N_GENES), np.nan)}, "finite"),
    "cells": ({"codes": np.ones((7, 2))}, "same cells"),
    "negative codes": ({"codes": -np.ones((N_CELLS, 2))}, "non-negative"),
    "gene names": ({"genes": ["A"] * N_GENES}, "unique"),
    "gene count": ({"genes": ["A"]}, "every column"),
    "one stratum": ({"strata": np.zeros(N_CELLS)}, "two levels"),
    "strata length": ({"strata": np.arange(3)}, "one value a cell"),
    "labels length": ({"labels": {"x": [1, 2]}}, "one value a cell"),
    "other naming": ({"gene_sets": {"x": ["ENSG01", "ENSG02"]}}, "ENSG01"),
    "small sets": ({"gene_sets": {"x": ["G1", "G2"]}}, "5 to 500 measured genes"),
    "method": ({"method": "magic"}, "ranksum"),
    "null": ({"nulls": ("magic",)}, "permuted"),
}


@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_with_a_remedy(planted, change: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        annotate(**(planted | change))


def test_three_donors_are_the_unit(planted) -> None:
    donor = np.tile(["a", "b", "c", "d"], 100)
    found = annotate(**planted, nulls=("permuted",), strata=donor)
    assert found.info["unit"] == "donor"
    assert (found.features["top_set_qval"].iloc[:4] < 0.05).all()
    cells = annotate(**planted, nulls=(), strata=donor, donor=None)
    assert cells.info["unit"] == "cell"
    lopsided = planted["codes"].copy()
    lopsided[np.isin(donor, ["b", "c"]), 5] = 0.0
    found = annotate(**(planted | {"codes": lopsided}), nulls=(), strata=donor)
    assert "both sides in 2 donors, fewer than 3" in found.untestable["reason"].tolist()
