"""The whole evaluation on arrays."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from statsmodels.stats.multitest import multipletests

import cellprism as prism
from cellprism import InputError
from cellprism.evaluation.evaluate import evaluate
from cellprism.evaluation.result import COLUMNS, THIS
from cellprism.evaluation.rivals import RIVALS, STANDARD, fit_rival

mpl.use("Agg")


@pytest.fixture(scope="module")
def world() -> dict[str, Any]:
    """Six kinds of cells in an embedding with fewer axes than kinds, and a feature for each."""
    rng = np.random.default_rng(0)
    n = 800
    kinds = rng.choice(list("abcdef"), n)
    codes = np.stack([kinds == k for k in "abcdef"], axis=1) * rng.gamma(9, size=(n, 6))
    X = codes @ rng.normal(size=(6, 4)) + 0.3 * rng.normal(size=(n, 4))
    genes = rng.poisson(codes @ rng.exponential(size=(6, 20)) * 0.1)
    return {
        "codes": sp.csr_array(codes.astype(np.float32)),
        "embedding": X.astype(np.float32),
        "truth": {"kind": kinds},
        "expression": sp.csr_array(np.log1p(genes).astype(np.float32)),
        "donor": rng.choice(list("xyz"), n),
    }


def test_the_table_has_its_columns_and_perfect_features_score_one(world: dict[str, Any]) -> None:
    found = prism.evaluate(world["codes"], world["embedding"], world["truth"], expression=world["expression"])
    assert tuple(found.table.columns) == COLUMNS
    assert not found.table.duplicated(["measure", "target", "dictionary", "k"]).any()
    mine = found.table.query("dictionary == @THIS and measure.str.startswith('probe')")
    assert (mine["value"] == 1).all()
    assert set(found.rivals) == {"random", "untrained", "pca", "ica", "gene"}
    gaps = found.differences.query("target == 'mean' and measure == 'probe_f1'").set_index("rival")
    assert (gaps["low"] > 0).all()
    np.testing.assert_allclose(gaps["difference"], 1 - found.mean()[gaps.index])
    assert found.features.groupby("target")["feature"].nunique().eq(1).all()
    said = found.summary()
    nulls = found.differences.query("rival in ['random', 'untrained'] and measure == 'probe_f1' and target != 'mean'")
    worst = nulls.groupby("target")["pval"].max()
    beyond = int((multipletests(worst, method="fdr_bh")[1] < 0.05).sum())
    assert beyond >= 3
    assert (
        f"tells {beyond} of 6 labels from all other cells better than any of random directions, untrained SAE" in said
    )
    assert "Not above" not in said


def test_it_says_where_the_dictionary_is_not_above_a_rival(world: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    noise = sp.csr_array((rng.random(world["codes"].shape) < 0.3).astype(np.float32))
    found = prism.evaluate(
        noise, world["embedding"], world["truth"], rivals=["random"], others={"right": world["codes"]}
    )
    said = found.summary()
    assert "tells 0 of 6 labels" in said
    assert "Not above: right" in said
    assert found.mean()["right"] == 1
    assert found.mean("probe_auroc")[THIS] == pytest.approx(0.5, abs=0.05)


def test_an_embedding_without_truth_says_so(world: dict[str, Any]) -> None:
    found = prism.evaluate(world["codes"], world["embedding"])
    assert found.table.empty
    assert tuple(found.table.columns) == COLUMNS
    assert "No label" in found.summary()


def test_donors_choose_and_score_apart_and_are_warned_of(world: dict[str, Any]) -> None:
    donor = world["donor"]
    leak = sp.csr_array(sp.hstack([world["codes"], sp.csr_array((donor == "x")[:, None].astype(np.float32))]))
    found = prism.evaluate(leak, world["embedding"], world["truth"], replicate=donor, rivals=["random"])
    assert found.features["fold"].nunique() == 3
    assert {"transfer_f1", "transfer_auroc", "batch_f1", "batch_auroc"} <= set(found.table["measure"])
    held = found.differences.query("measure == 'transfer_auroc' and target == 'mean'")
    assert held["rival"].tolist() == ["random"]
    assert held["low"].item() > 0
    assert any("feature 6 reads replicate: x (AUROC 1.00)" in note for note in found.notes)
    assert not found.table.query("measure.str.startswith('probe') and target.str.startswith('replicate')").size


def test_rivals_learn_from_the_cells_that_the_dictionary_was_fitted_to(world: dict[str, Any]) -> None:
    fitted = np.arange(800) < 300
    part, whole = (
        prism.evaluate(world["codes"], world["embedding"], world["truth"], rivals=["ica"], fitted=rows).mean()["ica"]
        for rows in (fitted, None)
    )
    assert part != whole


def test_the_full_preset_holds_everything(world: dict[str, Any]) -> None:
    X = world["embedding"]
    sae = prism.fit(X, prism.SAEConfig(8, "batchtopk", k=1), epochs=20).sae
    genes = [f"g{i}" for i in range(20)]
    sets = {f"set {i}": genes[5 * i : 5 * i + 5] for i in range(4)}
    full = {"expression": world["expression"], "genes": genes, "gene_sets": sets, "counts": world["expression"]}
    found = prism.evaluate(sae, X, world["truth"], ks=(1, 2), epochs=3, preset="full", **full)
    assert set(found.rivals) == set(STANDARD)
    parts = {m.split("_")[0] for m in found.table["measure"]}
    assert parts == {"probe", "molecules", "replication"}
    assert set(found.table.query("measure == 'probe_f1'")["k"]) == {1, 2}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"codes": -np.ones((800, 2))}, "not negative"),
        ({"codes": np.full((800, 2), np.nan)}, "finite"),
        ({"codes": np.ones((700, 2))}, "same cells"),
        ({"expression": np.ones((700, 2))}, "`expression` has a row a cell"),
        ({"replicate": ["a"] * 700}, "`replicate` has a row a cell"),
        ({"replicate": ["a"] * 800}, "one replicate"),
        ({"rivals": ["best"]}, "rival must be one of"),
        ({"rivals": ["nmf"]}, "fitted to expression"),
        ({"expression": sp.csr_array((800, 9)), "rivals": ["nmf"]}, "genes that vary"),
        ({"counts": sp.csr_array((800, 9))}, "must vary over cells"),
        ({"preset": "quick"}, "cheap or full"),
        ({"gene_sets": {"a": ["g"]}}, "Gene sets need expression"),
        ({"ks": (0,)}, "1 or more"),
        ({"truth": {"a": ["x"] * 3}}, "a row a cell"),
    ],
)
def test_wrong_input_is_refused(world: dict[str, Any], change: dict[str, Any], match: str) -> None:
    given: dict[str, Any] = {k: world[k] for k in ("codes", "embedding", "truth")} | change
    with pytest.raises(InputError, match=match):
        prism.evaluate(**given)


@pytest.mark.parametrize(("n", "d"), [(12, 2), (45, 1), (60, 80)])
def test_few_cells_and_odd_shapes_are_taken(n: int, d: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.random((n, 6)) * (rng.random((n, 6)) < 0.3)
    genes = np.log1p(rng.poisson(1, (n, 15)))
    found = prism.evaluate(codes, rng.normal(size=(n, d)), {"l": rng.choice(list("ab"), n)}, expression=genes)
    assert found.table["value"].notna().all()
    assert bool(len(found.table)) == (n >= 40)  # of twelve cells no label has enough


def test_dead_features_find_nothing(world: dict[str, Any]) -> None:
    found = prism.evaluate(sp.csr_array((800, 6)), world["embedding"], world["truth"], rivals=["random"])
    assert found.mean()[THIS] == 0
    assert found.mean("probe_auroc")[THIS] == 0.5


def test_the_picture_shows_every_dictionary(world: dict[str, Any]) -> None:
    found = prism.evaluate(world["codes"], world["embedding"], world["truth"], rivals=["random", "pca"])
    ax = prism.pl.evaluation(found)
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        {"dictionary": "these features", "random": "random directions", "pca": "principal axes, both signs"}[name]
        for name in found.mean().index[::-1]
    ]
    with pytest.raises(InputError, match="choose of"):
        prism.pl.evaluation(found.table, "absorption")


GAPS = {
    "None": lambda donor, gap: np.where(gap, None, donor.astype(object)),
    "NaN": lambda donor, gap: np.where(gap, np.nan, donor.astype(object)),
    "blank": lambda donor, gap: np.where(gap, "", donor),
    "categorical": lambda donor, gap: pd.Categorical(np.where(gap, None, donor.astype(object))),
    "nullable text": lambda donor, gap: pd.array(np.where(gap, None, donor.astype(object)), dtype="string"),
    "nullable numbers": lambda donor, gap: pd.array(np.where(gap, None, pd.factorize(donor, sort=True)[0]), "Int64"),
}


@pytest.mark.parametrize("kind", GAPS)
@pytest.mark.parametrize("role", ["replicate", "within"])
def test_cells_of_no_donor_or_type_are_as_if_they_were_not_there(world: dict[str, Any], kind: str, role: str) -> None:
    """They make no donor of their own, whatever says that there is none."""
    rng = np.random.default_rng(3)
    gap, donor, types = np.arange(800) % 10 == 0, world["donor"], rng.choice(["p", "q"], 800)
    given = {"replicate": donor, "within": types}
    asked = {"rivals": ["pca"], "fitted": ~gap}
    with_gaps = {role: GAPS[kind](given[role], gap)}
    found = prism.evaluate(world["codes"], world["embedding"], world["truth"], **given | with_gaps, **asked)
    rows = np.flatnonzero(~gap)
    without = prism.evaluate(
        world["codes"][rows],
        world["embedding"][rows],
        {"kind": world["truth"]["kind"][rows]},
        **{name: values[rows] for name, values in given.items()},
        rivals=["pca"],
    )
    kept = ("transfer",) if role == "within" else ("transfer", "probe")
    key = ["measure", "target", "dictionary", "k"]
    a, b = (
        one.table[one.table["measure"].str.startswith(kept)].set_index(key)["value"].drop("pca", level="dictionary")
        for one in (found, without)
    )
    assert len(b) > 10
    np.testing.assert_allclose(a.loc[b.index], b, atol=2e-3)
    said = "80 of 800 cells without a replicate" if role == "replicate" else "80 of 800 cells have no type"
    assert any(note.startswith(said) for note in found.notes)
    assert not any(t.endswith((" None", " nan", " <NA>")) for t in found.table["target"])


@pytest.mark.parametrize("gap", [False, True])
def test_a_stray_replicate_changes_nothing_but_a_note(world: dict[str, Any], gap: bool) -> None:
    """One cell of a third replicate would turn what is resampled from cells to replicates, and be a fold of its own."""
    two = np.where(np.arange(800) % 2, "x", "y").astype(object)
    asked = {"rivals": ["pca"], "preset": "cheap"}
    stray = np.arange(800) == 7
    found = prism.evaluate(
        world["codes"], world["embedding"], world["truth"], replicate=np.where(stray, "z", two), **asked
    )
    without = prism.evaluate(
        world["codes"], world["embedding"], world["truth"], replicate=np.where(stray, None, two), **asked
    )
    pd.testing.assert_frame_equal(found.table, without.table)
    assert found.notes[0] == (
        "1 of 800 cells of the replicate 'z', which has fewer than 20 cells: neither chosen on nor scored."
    )
    assert without.notes[0] == "1 of 800 cells without a replicate: neither chosen on nor scored."
    with pytest.raises(InputError, match="one replicate; 1 of 800 cells of the replicate 'z'"):
        prism.evaluate(world["codes"], world["embedding"], world["truth"], replicate=np.where(stray, "z", "x"), **asked)


@pytest.mark.parametrize("levels", [1, 2, 300, 800])
def test_batches_may_be_one_or_as_many_as_cells(world: dict[str, Any], levels: int) -> None:
    """They are no labels: whatever their number, they bar nothing and are warned of where features read them."""
    batch = {"plate": pd.Series([f"p{i % levels}" for i in range(800)]).astype("category")}
    found = prism.evaluate(world["codes"], world["embedding"], world["truth"], batch=batch, rivals=["random"])
    read = found.table[found.table["measure"] == "batch_f1"]
    assert len(read) == (2 if levels == 2 else 0)
    if levels == 300:
        many = prism.evaluate(
            world["codes"], world["embedding"], world["truth"], replicate=batch["plate"], rivals=["random"]
        )
        assert many.mean()["dictionary"] == 1


@pytest.mark.parametrize("kind", ["floats", "Float64", "table"])
def test_cells_without_a_number_are_neither_high_nor_low(world: dict[str, Any], kind: str) -> None:
    """Without a value they were called low: a protein that was not measured in them."""
    member = world["truth"]["kind"] == "a"
    level = np.where(member, 5.5, 0.5) + np.random.default_rng(0).normal(0, 0.2, 800)
    gap = member & (np.arange(800) % 2 == 0)
    values = pd.Series(np.where(gap, np.nan, level))
    truth = (
        values.astype("Float64") if kind == "Float64" else pd.DataFrame({"P": values}) if kind == "table" else values
    )
    found = prism.evaluate(world["codes"], world["embedding"], {"P": truth}, rivals=())
    assert found.table.query("measure == 'probe_precision'")["value"].eq(1).all()
    assert f"{gap.sum()} of 800 cells have no P: neither chosen on nor scored there." in found.notes


def test_types_without_donors_are_refused(world: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give `replicate` too"):
        prism.evaluate(world["codes"], world["embedding"], world["truth"], within=world["donor"])


def test_what_is_drawn_at_random_is_told_in_the_mean_of_its_draws(world: dict[str, Any]) -> None:
    given = {name: world[name] for name in ("embedding", "truth")}
    found = evaluate(world["codes"], **given, rivals=["random"], seed=4)
    width, n = world["codes"].shape[1], RIVALS["random"].draws
    single = {
        f"draw {i}": fit_rival("random", given["embedding"], width, seed=4 + i).encode(given["embedding"])
        for i in range(n)
    }
    apart = evaluate(world["codes"], **given, rivals=[], others=single, seed=4)
    for measure in ("probe_f1", "probe_auroc"):
        draws = [apart.mean(measure)[name] for name in single]
        assert found.mean(measure)["random"] == pytest.approx(np.mean(draws), abs=1e-12)
        assert np.std(draws) > 0
    gaps, of_draws = (
        one.differences.query("measure == 'probe_f1' and target != 'mean'").groupby("target") for one in (found, apart)
    )
    np.testing.assert_allclose(gaps["difference"].mean(), of_draws["difference"].mean(), atol=1e-12)
    width = gaps["high"].max() - gaps["low"].min()
    assert (width >= (of_draws["high"].min() - of_draws["low"].max())).all()  # the spread of the draws is in it
    np.testing.assert_allclose(gaps["pval"].mean(), of_draws["pval"].mean(), atol=0.03)


def test_a_random_dictionary_is_not_better_than_random_ones_more_often_than_it_may() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 4, 240)
    X = (rng.normal(size=(4, 6))[kind] + rng.normal(size=(240, 6))).astype(np.float32)
    p = []
    for seed in range(60):
        codes = fit_rival("random", X, 12, seed=1_000 + seed).encode(X)
        gaps = evaluate(codes, X, {"kind": kind.astype(str)}, rivals=["random"], seed=seed).differences
        p.append(gaps.query("measure == 'probe_f1' and target != 'mean'")["pval"].to_numpy())
    small = np.array([(one < 0.1).mean() for one in p])  # labels of one draw hang together: a mean a draw
    assert small.mean() <= 0.1 + 2.5 * small.std() / len(small) ** 0.5
    assert 0.3 < np.mean([one.mean() for one in p]) < 0.7
