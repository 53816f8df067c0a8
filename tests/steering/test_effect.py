from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cellprism.errors import InputError
from cellprism.steering import effect, steer
from cellprism.steering.decode import Decoded, columns, decode_rates, log2_change

SETS = {
    "driven": [f"g{i}" for i in range(5)],
    "other": [f"g{i}" for i in range(20, 30)],
    "small": ["g1", "g2"],
    "absent": ["x1", "x2", "x3", "x4", "x5", "x6"],
}


@pytest.fixture(scope="module")
def result(scene):
    return effect(
        scene.sae,
        scene.model,
        scene.Z,
        0,
        to_quantile=0.9,
        cells=scene.labels == "a",
        labels=pd.DataFrame({"type": scene.labels}),
        gene_sets=SETS,
        targets=SETS["driven"],
        n_null=60,
    )


def by_hand(scene, after: np.ndarray, rows: np.ndarray) -> np.ndarray:
    a, b = (scene.model.decode(z[rows])["rna"].astype(float) for z in (scene.Z, after))
    p = 0.1 * 1e4 / 60
    return np.log2((b + p) / (a + p))


def test_change_and_paired_test_are_those_by_hand(scene, result) -> None:
    rows = np.flatnonzero(scene.labels == "a")
    change = by_hand(scene, steer(scene.sae, scene.Z, 0, to_quantile=0.9, cells=rows), rows)
    table = result.genes.set_index("gene").loc[scene.model.genes["rna"]]
    np.testing.assert_allclose(table["log2fc"], change.mean(0), atol=1e-4)
    oracle = stats.ttest_1samp(change, 0)
    np.testing.assert_allclose(table["pval"], oracle.pvalue, rtol=1e-2, atol=1e-12)
    interval = oracle.confidence_interval(0.95)
    np.testing.assert_allclose(table[["low", "high"]], np.stack(interval, 1), atol=1e-4)
    np.testing.assert_allclose(table["qval"], stats.false_discovery_control(table["pval"]))


def test_driven_genes_rise_beyond_every_null(result) -> None:
    table = result.genes.set_index("gene")
    assert set(result.genes["gene"][:5]) == set(SETS["driven"])
    assert (table.loc[SETS["driven"], "null_pval"] < 0.05).all()
    assert (table.loc[SETS["driven"], "monotonicity"] == 1).all()
    for null in result.summary["target_nulls"].values():
        assert null["pval"] == pytest.approx(1 / 61)
    assert result.summary["off_target_share"] < 0.5
    assert result.summary["off_target_share"] < result.summary["off_target_share_nulls"]["covariance"]


def test_sets_are_tested_against_genes_and_against_random_moves(result) -> None:
    table = result.sets.set_index("set")
    assert list(result.sets["set"]) == ["driven", "other"]
    assert table.loc["driven", "auroc"] == 1
    assert table.loc["driven", "null_pval"] == pytest.approx(1 / 61)
    assert table.loc["other", "null_pval"] > 0.05
    x = result.genes.set_index("gene")["log2fc"]
    inside, outside = x[SETS["other"]], x.drop(SETS["other"])
    assert table.loc["other", "effect"] == pytest.approx(inside.mean() - outside.mean())
    oracle = stats.mannwhitneyu(inside, outside, method="asymptotic")
    assert table.loc["other", "pval"] == pytest.approx(oracle.pvalue)
    assert table.loc["other", "auroc"] == pytest.approx(oracle.statistic / (10 * 50))


def test_neighbours_become_those_of_the_label(result) -> None:
    table = result.neighbours.set_index("value")
    assert table.loc["b", "after"] > table.loc["b", "before"] + 0.3
    assert table.loc["b", "null_pval"] == pytest.approx(1 / 61)
    assert table["before"].sum() == pytest.approx(1)
    assert table["after"].sum() == pytest.approx(1)


def test_dose_response_passes_through_nothing_and_the_edit(result) -> None:
    doses = result.doses.set_index("dose")
    assert doses.loc[0.0, "strength"] == 0
    assert doses["strength"].is_monotonic_increasing
    full = result.genes.set_index("gene")["log2fc"]
    np.testing.assert_allclose(doses.loc[1.0, full.index].astype(float), full, atol=1e-6)
    assert doses.loc[1.0, "value"] == pytest.approx(result.summary["activation_after"])


def test_doses_start_from_the_cells_own_activations(scene) -> None:
    """With chosen cells that are active and cells that are not."""
    rows = np.flatnonzero(scene.labels != "c")
    c = scene.sae.codes[:, [0]].toarray().ravel()
    found = effect(scene.sae, scene.model, scene.Z, 0, to_quantile=0.9, cells=rows, n_null=2)
    assert found.summary["activation_before"] == pytest.approx(c[rows].mean())
    level = np.quantile(c[c > 0], 0.9)
    doses = found.doses.set_index("dose")
    assert doses.loc[1.0, "strength"] == pytest.approx(found.summary["strength"])
    for dose in (0.25, 0.5, 1.5):
        to = np.maximum(c[rows] + dose * (level - c[rows]), 0)
        after = scene.Z.copy()
        after[rows] += (to - c[rows])[:, None] * scene.sae.directions[0]
        by_dose = by_hand(scene, after, rows).mean(0)
        np.testing.assert_allclose(doses.loc[dose, scene.model.genes["rna"]].astype(float), by_dose, atol=1e-4)
        assert doses.loc[dose, "value"] == pytest.approx(to.mean(), rel=1e-5)


def test_a_random_feature_is_not_significant_on_the_driven_genes(scene) -> None:
    other = effect(scene.sae, scene.model, scene.Z, 4, to_quantile=0.9, targets=SETS["driven"], n_null=60)
    assert other.summary["target_nulls"]["covariance"]["pval"] > 0.05


def test_gene_p_values_of_null_edits_are_uniform(scene) -> None:
    from cellprism.steering.gene_table import gene_null

    rng = np.random.default_rng(0)
    scales = rng.gamma(1.0, 1.0, 50)
    p = np.concatenate(
        [gene_null(rng.standard_normal(50) * scales, rng.standard_normal((80, 50)) * scales) for _ in range(40)]
    )
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_the_cells_are_sampled_with_the_seed(scene) -> None:
    a, b, c = (
        effect(scene.sae, scene.model, scene.Z, 0, off=True, max_cells=20, n_null=2, seed=s).cells for s in (1, 1, 2)
    )
    assert a.size == 20
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_modalities_have_their_own_pseudocount(scene) -> None:
    decoded = decode_rates(scene.model, scene.Z[:3])
    moved = decoded._replace(rates=decoded.rates * 2)
    change = log2_change(decoded, moved, ["rna"] * 20 + ["atac"] * 40)
    p = np.repeat([0.1 * 1e4 / 20, 0.1 * 1e4 / 40], [20, 40])
    np.testing.assert_allclose(change, np.log2((decoded.rates * 2 + p) / (decoded.rates + p)), atol=1e-4)
    assert columns(scene.model)[1] == ["rna"] * 60


def test_a_cell_without_molecules_of_a_modality_does_not_change_there() -> None:
    rates = np.array([[2.0, 6.0, 0.0, 0.0], [1.0, 1.0, 3.0, 1.0]], dtype=np.float32)
    total = np.array([[8.0, 8.0, 0.0, 0.0], [2.0, 2.0, 4.0, 4.0]], dtype=np.float32)
    change = log2_change(Decoded(rates, total), Decoded(rates * 2, total * 2), ["rna", "rna", "atac", "atac"])
    assert np.isfinite(change).all()
    np.testing.assert_array_equal(change[0, 2:], 0)
    assert (change[0, :2] > 0.8).all()
    assert (change[1] > 0.8).all()


def test_files(result, tmp_path: Path) -> None:
    result.save(tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out" / "steering.parquet")
    fixed = ["gene", "symbol", "modality", "log2fc", "pval", "qval", "null_pval", "monotonicity"]
    assert list(table)[:8] == fixed
    content = json.loads((tmp_path / "out" / "steering.json").read_text())
    assert content["summary"]["features"] == [0]
    assert {n["kind"] for n in content["nulls"]} == {"covariance", "pairs", "features"}
    assert len(content["doses"]) == 7


WRONG = {
    "targets": ({"targets": ["nothing"]}, "among the decoded"),
    "symbols": ({"symbols": ["a"]}, "every decoded feature"),
    "labels": ({"labels": ["a"]}, "one entry a cell"),
    "no change": ({"scale": 1.0}, "must change some chosen cell"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(scene, case: str) -> None:
    keywords, text = WRONG[case]
    keywords = keywords if "scale" in keywords else {"off": True, **keywords}
    with pytest.raises(InputError, match=text):
        effect(scene.sae, scene.model, scene.Z, 0, n_null=2, **keywords)


def test_a_model_without_a_decoder_is_told(scene) -> None:
    class Encoder:
        name, modalities, genes = "encoder", ("rna",), {"rna": ["g0"]}

    with pytest.raises(InputError, match="which has none"):
        effect(scene.sae, Encoder(), scene.Z, 0, off=True, n_null=2)
