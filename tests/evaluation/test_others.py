"""Transfer, absorption, held-out molecules and replication on worlds whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism import InputError, SAEConfig
from cellprism.evaluation.absorption import absorption, read_hierarchy
from cellprism.evaluation.molecules import held_out_molecules
from cellprism.evaluation.probing import make_folds
from cellprism.evaluation.replication import _gap, replication
from cellprism.evaluation.result import COLUMNS, THIS
from cellprism.evaluation.targets import Column
from cellprism.evaluation.transfer import transfer
from cellprism.sae import fit


class Rows:
    """Collects what a measure adds."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []

    def __call__(self, *row: Any) -> None:
        self.rows.append(row)

    @property
    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(COLUMNS))

    def value(self, measure: str, target: str, dictionary: str = THIS, k: int | None = None) -> float:
        t = self.table.query("measure == @measure and target == @target and dictionary == @dictionary")
        return float((t if k is None else t[t["k"] == k])["value"].item())


def test_a_feature_that_holds_everywhere_transfers_and_one_of_one_donor_does_not() -> None:
    rng = np.random.default_rng(0)
    n = 1_200
    donor, kind, on = rng.choice(list("xyz"), n), rng.choice(["T", "B"], n), rng.random(n) < 0.5
    codes = {
        "all": sp.csr_array(np.column_stack([on, rng.random(n) < 0.3]).astype(np.float32)),
        # a column a donor and type: each is perfect where it is chosen
        "one": sp.csr_array(
            np.column_stack([on & (donor == d) & (kind == t) for d in "xyz" for t in "TB"]).astype(np.float32)
        ),
    }
    rows = Rows()
    column = Column.of("stim", np.where(on, "stim", "ctrl"), ("stim",))
    records = transfer(codes, [column], donor, kind, rows)
    gaps = pd.DataFrame(records, columns=["measure", "target", "rival", "k", "difference", "low", "high", "pval", "n"])
    assert (gaps["rival"] == "one").all()  # the first dictionary less each other
    for measure, gap in (("transfer_f1", 1.0), ("transfer_auroc", 0.5)):
        of = gaps[gaps["measure"] == measure].set_index("target")
        assert list(of.index) == ["stim: stim", "mean"]
        assert (of[["difference", "low", "high"]] == gap).all(axis=None)  # the same in every context
        assert of["pval"].tolist() == [1 / 1001] * 2
    assert rows.value("transfer_f1", "stim: stim", "all") == 1
    assert rows.value("transfer_auroc", "stim: stim", "all") == 1
    assert rows.value("transfer_f1", "stim: stim", "one") == 0
    assert rows.value("transfer_auroc", "stim: stim", "one") == 0.5
    assert rows.table["low"].notna().all()
    apart = Rows()
    transfer(codes, [column], np.where(np.arange(n) < 5, "few", "many"), None, apart)
    assert apart.table.empty  # one donor has too few cells to choose on


def test_absorption_by_hand() -> None:
    kinds = np.repeat(["CD4", "CD8", "B", "NK"], 100)
    lineage = np.where(np.isin(kinds, ["CD4", "CD8"]), "T", "other")
    t, cd8 = (lineage == "T").astype(float), (kinds == "CD8").astype(float)
    t[100:130] = 0  # the T feature is silent in 30 of 100 CD8 cells
    t[:10] = 0  # and in 10 CD4 cells, where nothing fires in its stead
    cd4 = (kinds == "CD4").astype(float)
    cd4[:10] = 0
    codes = sp.csr_array(np.column_stack([t, cd8, cd4, kinds == "B", kinds == "NK", lineage == "other"]).astype(float))
    columns = [Column.of("lineage", lineage), Column.of("kind", kinds)]
    for hierarchy in (("lineage", "kind"), {"CD4": "T", "CD8": "T", "B": "other", "NK": "other"}):
        rows = Rows()
        absorption({THIS: codes}, columns, hierarchy, make_folds(400, None, 0), rows)
        name = "lineage" if isinstance(hierarchy, tuple) else "broad kind"
        assert rows.value("absorption", f"{name}: T in CD8") == pytest.approx(0.3)
        assert rows.value("silent", f"{name}: T in CD8") == pytest.approx(0.3)
        assert rows.value("absorption", f"{name}: T in CD4") == 0
        assert rows.value("silent", f"{name}: T in CD4") == pytest.approx(0.1)
        assert rows.value("absorption", f"{name}: other in B") == 0
        assert rows.value("absorption", "mean") == pytest.approx(30 / 400)


@pytest.mark.parametrize(
    ("hierarchy", "match"),
    [(("lineage",), "1 column"), (("a", "kind"), "no a"), ({"CD3": "T"}, "categories of one column")],
)
def test_wrong_hierarchies_are_refused(hierarchy: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_hierarchy([Column.of("lineage", ["x", "y"]), Column.of("kind", ["CD4", "B"])], hierarchy)


def test_held_out_molecules_by_hand() -> None:
    rng = np.random.default_rng(0)
    n = 600
    on = rng.random((n, 3)) < [0.5, 0.3, 0.2]
    codes = sp.csr_array(on.astype(np.float32))
    log = on @ rng.exponential(size=(3, 12)) + 0.3 * rng.random((n, 12))
    rows = Rows()
    folds = make_folds(n, None, 0)
    noise = sp.csr_array((rng.random((n, 3)) < 0.3).astype(np.float32))
    held_out_molecules({THIS: codes, "noise": noise, "gene": codes}, on.astype(np.float32), log, folds, rows)
    assert set(rows.table["dictionary"]) == {THIS, "noise"}  # genes have seen what they would predict
    design, held = np.column_stack([np.ones(n), on]), folds == 0
    predicted = design @ np.linalg.lstsq(design[~held], log[~held], rcond=None)[0]
    error = ((log - predicted)[held] ** 2).sum() / ((log[held] - log[~held].mean(axis=0)) ** 2).sum()
    ceiling = rows.table["ceiling"].iloc[0]
    assert ceiling == pytest.approx(1 - error, abs=1e-3)
    few = [rows.value("molecules_r2", "all genes", THIS, k) for k in (1, 2)]
    assert 0.3 < few[0] < few[1] < ceiling + 1e-6
    assert rows.value("molecules_r2", "all genes", "noise", 1) < 0.02
    table = rows.table.query("measure == 'molecules_r2'")
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()


def test_replication_of_structure_and_of_none() -> None:
    rng = np.random.default_rng(0)
    n, d = 900, 8
    kinds = rng.choice(6, n)
    clear = 4 * np.eye(d)[kinds] + 0.1 * rng.normal(size=(n, d))
    cfg = SAEConfig(12, "batchtopk", k=1, aux_weight=0.0)
    column = Column.of("kind", kinds)
    found = {}
    ahead = {}
    for name, X in (("clear", clear), ("noise", rng.normal(size=(n, d)))):
        X = X.astype(np.float32)
        rows = Rows()
        gaps = replication(fit(X, cfg, epochs=60).sae, X, [column], None, rows, epochs=60)
        found[name] = rows
        ahead[name] = {(measure, rival): rest for measure, _, rival, _, *rest in gaps}
    value = {name: rows.value("replication_correlation", "all features") for name, rows in found.items()}
    null = {name: rows.value("replication_correlation", "all features", "permuted") for name, rows in found.items()}
    assert value["clear"] > null["clear"] + 0.25
    assert value["clear"] > value["noise"]
    rows = found["clear"]
    assert rows.value("replication_labels", "all features") > 0.75
    cosine = [rows.value("replication_cosine", "all features", name) for name in (THIS, "start")]
    assert cosine[0] > cosine[1]
    assert "replication_labels" not in set(found["noise"].table["measure"])  # no feature of noise carries a label
    for measure, rival in (("replication_correlation", "permuted"), ("replication_cosine", "start")):
        difference, low, high, pval, features = ahead["clear"][measure, rival]
        here = rows.value(measure, "all features") - rows.value(measure, "all features", rival)
        assert difference == pytest.approx(here)
        assert low < difference < high
        assert 0 < features <= cfg.width
        assert (low > 0) == (pval < 0.025)
    assert ahead["clear"]["replication_correlation", "permuted"][1] > 0
    table = rows.table
    assert (table["low"] <= table["value"] + 1e-12).all()
    assert (table["value"] <= table["high"] + 1e-12).all()


def test_gap_of_replication_has_the_error_of_two_means_and_uniform_p() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.beta(5, 2, 80), rng.beta(4, 3, 60)
    difference, low, high, _, n = _gap(a, b, np.random.default_rng(1))
    error = np.sqrt(a.var() / 80 + b.var() / 60)
    assert (difference, n) == (pytest.approx(a.mean() - b.mean()), 80)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    pvals = np.array([_gap(rng.beta(5, 2, 80), rng.beta(5, 2, 60), rng)[3] for _ in range(400)])
    for level in (0.05, 0.25, 0.5, 0.75):
        assert (pvals <= level).mean() == pytest.approx(level, abs=3 * np.sqrt(level * (1 - level) / 400) + 0.01)
