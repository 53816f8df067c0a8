import pandas as pd
from cli_runner import call


def test_small_benchmark(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("width: 12\nactivation: relu\nl1: 0.01\n")
    arguments = [
        "benchmark",
        "small",
        "--n-cells",
        2_500,
        "--methods",
        "cellprism,pca-embedding,probe",
        "--recipe",
        recipe,
    ]
    result = call(capsys, *arguments, "-o", tmp_path / "out")
    assert result.code == 0, result.err
    assert "pca-embedding" in result.out
    summary = pd.read_parquet(tmp_path / "out" / "summary.parquet")
    assert set(summary["method"]) == {"cellprism", "pca-embedding", "probe"}
    assert set(summary["level"]) == {"Y", "T", "A", "B"}
    assert (tmp_path / "out" / "index.html").is_file()
    assert call(capsys, *arguments, "-o", tmp_path / "out").code == 2


def test_bad_arguments_exit_with_2_and_write_nothing(tmp_path, capsys):
    for arguments in (
        ["huge"],
        ["small", "--methods", "tsne"],
        ["small", "--recipe", tmp_path / "none.yaml"],
        ["small", "--n-programs", 5],
        ["small", "--embed", "umap"],
        ["reduced", "--noise", "cauchy"],
    ):
        result = call(capsys, "benchmark", *arguments, "-o", tmp_path / "out")
        assert result.code == 2
        assert "Traceback" not in result.err
    assert not (tmp_path / "out").exists()


def test_a_sweep_goes_on_where_it_was(tmp_path, capsys):
    arguments = ["sweep", "small", "--short", "--n-cells", 500, "--epochs", 1, "-o", tmp_path / "out"]
    first = call(capsys, *arguments)
    assert first.code == 0, first.err
    assert "vanilla" in first.out
    table = pd.read_parquet(tmp_path / "out" / "sweep.parquet")
    assert len(table) == 3 * (5 + 5 + 7 + 1) * 4  # the last: untrained
    assert call(capsys, *arguments).code == 0
    assert call(capsys, *arguments, "--seed", 1).code == 2
    assert call(capsys, "sweep", "medium", "-o", tmp_path / "new").code == 2
    assert call(capsys, "sweep", "small", "--short", "--full", "-o", tmp_path / "new").code == 2
    assert not (tmp_path / "new").exists()
