import json

import pandas as pd
import pytest

from cellprism.errors import InputError
from cellprism.recovery import PRESETS, Preset, benchmark
from cellprism.recovery.benchmark import RECOVERY_COLUMNS
from cellprism.recovery.methods import METHODS, Method
from cellprism.recovery.page import headline
from cellprism.recovery.plots import overview

TINY = Preset(
    simulation="large",
    cells={"n_cells": 700, "n_genes": 40, "n_programs": 6, "n_cell_types": 4, "held_out": 100},
    autoencoder={"latent": 8, "lr": 3e-3, "epochs": 10, "batch_size": 128},
    methods=("topk", "pca-embedding", "untrained", "probe"),
    options={"topk": {"k": 3, "epochs": 3}, "untrained": {"k": 3}},
)


@pytest.fixture(scope="module")
def found():
    lines = []
    result = benchmark(TINY, seeds=(0, 1), report=lines.append)
    assert len(lines) == 2 * (1 + 4)
    return result


def test_tables_have_a_row_a_method_seed_and_variable(found):
    assert list(found.recovery.columns) == RECOVERY_COLUMNS
    counts = found.recovery.groupby(["method", "seed", "level"]).size().unstack()
    assert len(counts) == 8
    assert counts.iloc[0].to_dict() == {"A": 4, "B": 3, "X0": 6, "X1": 6, "X2": 6, "Y": 40}
    assert len(found.summary) == 4 * 2 * 6
    probe = found.recovery[found.recovery["method"] == "probe"]
    varying = probe.dropna(subset="best_abs_r")
    assert (varying["best_abs_r"] >= varying["probe_abs_r"] - 1e-3).all()


def test_the_folder_holds_tables_figures_and_page(found, tmp_path):
    found.save(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"recovery.parquet", "summary.parquet", "run.json", "figures", "index.html"}
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "recovery.parquet"), found.recovery)
    assert {
        "method",
        "level",
        "share_over_0.95",
        "mean_best_abs_r",
        "mcc",
        "n_live",
        "l0",
        "redundant",
        "seconds",
    } <= set(pd.read_parquet(tmp_path / "summary.parquet"))
    assert json.loads((tmp_path / "run.json").read_text())["seeds"] == [0, 1]
    page = (tmp_path / "index.html").read_text()
    assert page.count("<table>") == 6
    assert page.count("data:image/png") == 3
    assert "http://" not in page
    assert "https://" not in page


def test_headline_is_sorted_by_recovery(found):
    table = headline(found, "X2")
    assert table["method"].iloc[0] == "probe"
    assert table["mean best |r|"].is_monotonic_decreasing


@pytest.mark.parametrize("cells", [{"n_cell_types": 2, "n_covariates": 1}, {"n_programs": 30, "n_genes": 10}], ids=str)
def test_other_simulations_run(cells):
    result = benchmark(TINY, methods=["pca-embedding", "probe"], cells=cells)
    assert result.summary["mean_best_abs_r"].notna().all() or cells.get("n_covariates") == 1


def test_a_recipe_takes_the_place_of_the_automatic_one():
    result = benchmark(
        TINY,
        methods=["cellprism"],
        recipe={"width": 5, "activation": "topk", "k": 2},
        options={"cellprism": {"epochs": 2}},
    )
    assert result.summary["n_features"].unique().tolist() == [5]
    assert result.about["methods"]["cellprism"]["recipe"]["k"] == 2


def test_presets_name_known_methods():
    for preset in PRESETS.values():
        assert set(preset.methods) <= set(METHODS)
        assert set(preset.options) <= set(METHODS)


def test_refuses(found, monkeypatch):
    monkeypatch.setitem(METHODS, "absent", Method("data", "x:y", package="no_such_package"))
    for arguments in (
        {"preset": "huge"},
        {"preset": TINY, "methods": ["tsne"]},
        {"preset": TINY, "methods": ["absent"]},
    ):
        with pytest.raises(InputError):
            benchmark(**arguments)
    with pytest.raises(InputError, match="metric"):
        overview(found, "beauty")
