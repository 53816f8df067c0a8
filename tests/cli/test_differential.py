"""``cellprism differential``: names that hold separators, choices with one meaning, what is printed and written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runner import call
from scipy import sparse

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.scaling import AffineScaling

N = 180
CONDITIONS = {"a": "plain", "b": "plain", "c": "plain", "T, act": "comma", "B": "comma"}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command reads of a run folder: feature 2 is doubled in condition b, feature 5 fires in two cells."""
    folder = tmp_path_factory.mktemp("differential") / "run"
    folder.mkdir()
    rng = np.random.default_rng(0)
    plain = np.repeat(["a", "b", "c"], 60)
    cells = pd.DataFrame(
        {
            "cell": [f"c{i}" for i in range(N)],
            "plain": plain,
            "comma": np.where(np.arange(N) % 2, "T, act", "B"),
            "a=b": np.where(np.arange(N) < 90, "x=1", "y"),
            "other": np.where(np.arange(N) % 3, "x=1", "z"),
            "three": np.where(plain == "a", "T", np.where(plain == "b", "act", "T,act")),
            "donor": np.char.add("d", (np.arange(N) % 6).astype(str)),
            "gap": np.where(np.arange(N) < 20, None, plain),
            "[markup]": np.where(np.arange(N) % 2, "[/x]", "[bold]"),
        }
    )
    codes = (rng.random((N, 6)) < 0.4) * rng.gamma(2.0, 1.0, (N, 6))
    codes[plain == "b", 2] *= 3
    codes[:, 5] = 0
    codes[:2, 5] = 1
    sparse.save_npz(folder / "codes.npz", sparse.csr_array(codes.astype(np.float32)))
    names = [f"name {f}" for f in range(5)] + ["not testable [/x]"]
    pd.DataFrame({"feature": range(6), "name": names}).to_parquet(folder / "features.parquet")
    for name in ("genes", "sets", "labels"):
        pd.DataFrame({"feature": []}).to_parquet(folder / f"{name}.parquet")
    cells.to_parquet(folder / "cells.parquet")
    np.save(folder / "embedding.npy", np.zeros((N, 2), np.float32))
    SAE(SAEConfig(6, k=2), AffineScaling(np.zeros(2, "f4"), np.eye(2, dtype="f4"), np.eye(2, dtype="f4"))).save(
        folder / "sae"
    )
    about = {"format_version": 1, "label_columns": list(cells.columns[1:]), "arguments": {"gene_sets": []}}
    (folder / "run.json").write_text(json.dumps(about))
    return folder


CHOSEN = {
    "two": (["--by", "plain", "--conditions", "a,b"], ("a", "b")),
    "the other way": (["--by", "plain", "--conditions", "b,a"], ("b", "a")),
    "blanks beside the comma": (["--by", "plain", "--conditions", "a, b"], ("a", "b")),
    "given twice": (["--by", "plain", "--conditions", "a", "--conditions", "c"], ("a", "c")),
    "a name with a comma": (["--by", "comma", "--conditions", "T, act,B"], ("T, act", "B")),
    "quoted": (["--by", "comma", "--conditions", '"T, act",B'], ("T, act", "B")),
    "a comma, given twice": (["--by", "comma", "--conditions", "B", "--conditions", "T, act"], ("B", "T, act")),
    "two there are": (["--by", "comma"], ("B", "T, act")),
    "within leaves two": (["--by", "plain", "--within", "a=b=x=1"], ("a", "b")),
    "markup": (["--by", "[markup]"], ("[/x]", "[bold]")),
}


@pytest.mark.parametrize("case", CHOSEN)
def test_conditions_are_matched_against_the_names_there_are(run_dir: Path, tmp_path: Path, capsys, case: str) -> None:
    arguments, (a, b) = CHOSEN[case]
    done = call(capsys, "differential", run_dir, *arguments, "-o", tmp_path / "d")
    assert done.code == 0, done.err
    about = json.loads((tmp_path / "d" / "run.json").read_text())
    assert (about["a"], about["b"]) == (a, b)
    assert f"{b} against {a} ({about['cells_b']} against {about['cells_a']} cells)" in " ".join(done.out.split())


REFUSED = {
    "three": (["--by", "plain", "--conditions", "a,b,c"], "names two"),
    "one": (["--by", "plain", "--conditions", "a"], "names two"),
    "twice the same": (["--by", "plain", "--conditions", "a,a"], "names two"),
    "unknown": (["--by", "plain", "--conditions", "a,z"], "there are 'a', 'b', 'c'"),
    "none of three": (["--by", "plain"], "name the two with --conditions"),
    "ambiguous": (["--by", "three", "--conditions", "T,act"], None),
    "unknown column": (["--by", "plan"], "run again with --labels plan"),
    "within in two columns": (["--by", "plain", "--within", "x=1"], "in one way"),
    "within nobody": (["--by", "plain", "--within", "plain=z"], "'plain' has 'a', 'b', 'c'"),
    "one donor": (["--by", "plain", "--conditions", "a,b", "--donor", "plain"], "two donors in each condition"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_matched_is_refused(run_dir: Path, tmp_path: Path, capsys, case: str) -> None:
    arguments, text = REFUSED[case]
    done = call(capsys, "differential", run_dir, *arguments, "-o", tmp_path / "d")
    if text is None:  # "T,act" is a name, but the two T and act can be meant only
        assert done.code == 0
        assert json.loads((tmp_path / "d" / "run.json").read_text())["b"] == "act"
        return
    assert done.code == 2, done.out
    assert text in " ".join(done.err.split())
    assert "`" not in done.err
    assert not (tmp_path / "d").exists()


def test_rows_come_by_p_without_what_could_not_be_compared(run_dir: Path, tmp_path: Path, capsys) -> None:
    done = call(
        capsys, "differential", run_dir, "--by", "gap", "--conditions", "a,b", "--donor", "donor", "-o", tmp_path / "d"
    )
    assert done.code == 0, done.err
    table = pd.read_parquet(tmp_path / "d" / "differential.parquet")
    assert table["pval"].is_monotonic_increasing
    assert table["feature"].iloc[0] == 2
    assert 5 not in set(table["feature"])
    assert "not testable" not in done.out
    assert pd.read_parquet(tmp_path / "d" / "untestable.parquet")["feature"].tolist() == [5]
    assert "20 of 180 cells have no condition" in done.out
    assert "over donors" in done.out


def test_its_steps_are_kept(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(capsys, "differential", run_dir, "--by", "plain", "--conditions", "a,b", "-o", tmp_path / "d")
    assert done.code == 0, done.err
    kept = [json.loads(line) for line in (tmp_path / "d" / "run.log").read_text(encoding="utf-8").splitlines()]
    assert [one["step"] for one in kept] == [f"comparing the features of {run_dir} between a and b, over cells"]


@pytest.mark.parametrize("role", ["--by", "--donor"])
def test_columns_of_the_run_itself_are_no_conditions(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], role: str
) -> None:
    """A map coordinate is not compared where obs had a column of that name, which was kept beside it."""
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    cells = pd.read_parquet(copy / "cells.parquet")
    cells["x"], cells["depth"], cells["obs:x"] = np.arange(N) % 2, np.arange(N) % 2, cells["donor"]
    cells["obs:y"] = np.where(np.arange(N) % 2, "p", "q")
    cells["y"] = np.arange(N) % 2
    cells.to_parquet(copy / "cells.parquet")
    other = ["--by", "obs:y"] if role == "--donor" else []
    for name, remedy in (("x", "'obs:x'"), ("y", "'obs:y'"), ("depth", "one of obs"), ("cell", "one of obs")):
        refused = call(capsys, "differential", copy, *other, role, name, "-o", tmp_path / "d")
        assert (refused.code, remedy in refused.err) == (2, True), refused.err
    done = call(capsys, "differential", copy, "--by", "obs:y", "-o", tmp_path / "d")
    assert (done.code, "q against p" in done.out) == (0, True), done.err
