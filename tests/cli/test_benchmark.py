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
    for arguments in (["huge"], ["small", "--methods", "tsne"], ["small", "--recipe", tmp_path / "none.yaml"]):
        result = call(capsys, "benchmark", *arguments, "-o", tmp_path / "out")
        assert result.code == 2
        assert "Traceback" not in result.err
    assert not (tmp_path / "out").exists()
