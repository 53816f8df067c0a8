import json

import pandas as pd
import pytest
from cli_runner import call
from helpers import counts_adata

METHODS = ("--methods", "random,pca,probe")
SMALL = (
    "--n",
    4,
    "--per-round",
    2,
    "--genes",
    8,
    "--share",
    0.2,
    "--fold",
    2,
    "--fold",
    8,
    "--components",
    5,
    *METHODS,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "counts.h5ad"
    counts_adata(400, 60).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "recipe.yaml"
    path.write_text("width: 16\nactivation: topk\nk: 3\n")
    return path


@pytest.mark.slow
def test_planted_benchmark(file, recipe, tmp_path, capsys):
    arguments = ["benchmark", "planted", file, *SMALL, "--recipe", recipe, "--regions", "cell_type"]
    result = call(capsys, *arguments, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "round 2 of 2" in result.err
    assert "In your cells a programme of 8 genes in 20 % of the cells is" in result.out
    summary = pd.read_parquet(tmp_path / "out" / "summary.parquet")
    assert set(summary["method"]) == {"cellprism", "random", "pca", "probe"}
    recovery = pd.read_parquet(tmp_path / "out" / "recovery.parquet")
    assert recovery["fold"].value_counts().to_dict() == {2.0: 8, 8.0: 8}
    about = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(about["regions"]) == {"type 0", "type 1", "type 2"}
    assert (tmp_path / "out" / "figures" / "power.png").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert call(capsys, *arguments, "-o", tmp_path / "out").code == 2
    again = call(capsys, *arguments, "-o", tmp_path / "out", "--overwrite")
    assert again.code == 0, again.err
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out" / "recovery.parquet"), recovery)


def test_an_interrupted_benchmark_goes_on(file, recipe, tmp_path, capsys, monkeypatch):
    from cellprism.cli import common

    arguments = ["benchmark", "planted", file, *SMALL, "--recipe", recipe, "-o", tmp_path / "out"]
    shown = common.say

    def stop(line):
        if line.startswith("round 2"):
            raise KeyboardInterrupt
        shown(line)

    monkeypatch.setattr(common, "say", stop)
    assert call(capsys, *arguments).code == 130
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(common, "say", shown)
    result = call(capsys, *arguments)
    assert result.code == 0, result.err
    assert result.err.count("cellprism:") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bad_arguments_exit_with_2_and_write_nothing(file, tmp_path, capsys):
    scaled = counts_adata(400, 60)
    scaled.X = scaled.X * 0.5
    scaled.write_h5ad(tmp_path / "scaled.h5ad")
    for arguments in (
        [tmp_path / "none.h5ad"],
        [tmp_path / "scaled.h5ad"],
        [file, "--embed", "umap"],
        [file, "--embed", "transformer", "--components", 5],
        [file, "--methods", "tsne"],
        [file, "--regions", "nothing"],
        [file, "--layer", "nothing"],
        [file, "--n", 0],
        [file, "--genes", 61],
        [file, "--share", 0],
        [file, "--fold", -1],
        [file, "--per-round", 0],
        [file, "--seed", -1],
        [file, "--held-out", 0.1],
        [file, "--recipe", tmp_path / "none.yaml"],
        [],
    ):
        result = call(capsys, "benchmark", "planted", *arguments, "-o", tmp_path / "out")
        assert result.code == 2, arguments
        assert "Traceback" not in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["scaled.h5ad"]
