"""``cellprism evaluate`` on a small run."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from cli_runner import call
from helpers import counts_adata, type_sets

import cellprism.run.evaluation as evaluation
from cellprism import InputError
from cellprism.cli.choose import listed
from cellprism.evaluation.result import COLUMNS
from cellprism.genesets.gmt import write_gmt
from cellprism.report.bundle import bundle
from cellprism.report.pack import unpack
from cellprism.report.source import read_source
from cellprism.run import RunFolder, RunOptions, run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 300 cells with a label, whose file also holds proteins and donors."""
    folder = tmp_path_factory.mktemp("evaluate")
    cells = counts_adata(300, 60)
    rng = np.random.default_rng(0)
    on = cells.obs["cell_type"].to_numpy() == cells.obs["cell_type"].iloc[0]
    cells.obsm["protein"] = pd.DataFrame({"CD1": rng.poisson(np.where(on, 300, 5))}, index=cells.obs_names)
    cells.obs["donor"] = rng.choice(["d1", "d2", "d3"], 300)
    cells.write_h5ad(folder / "cells.h5ad")
    write_gmt(type_sets(60), folder / "sets.gmt")
    options = RunOptions(
        data=folder / "cells.h5ad", output=folder / "out", rep="X_emb", width=16, k=3, seeds=1, epochs=60,
        gene_sets=(str(folder / "sets.gmt"),), labels=("cell_type",), strata="donor",
    )  # fmt: skip
    run(options)
    return folder


def test_a_run_is_evaluated_as_it_is_made(made: Path) -> None:
    folder = RunFolder.open(made / "out")
    assert tuple(folder.evaluation.columns) == COLUMNS
    asked = set(folder.evaluation.query("measure == 'probe_f1'")["target"]) - {"mean"}
    assert asked
    assert all(target.startswith("cell_type: ") for target in asked)  # not the donor, which a feature need not read
    assert {t.split(":")[0] for t in folder.evaluation.query("measure == 'batch_f1'")["target"]} == {"donor"}
    said = folder.info["evaluation"]["headline"]
    assert said[0].startswith("One feature alone tells ")
    told = unpack(bundle(read_source(folder.path)).blocks["overview"])[1]
    assert told["found"] == said
    means = folder.evaluation.query("measure == 'probe_f1' and target == 'mean' and k == 1").set_index("dictionary")
    assert {row["dictionary"]: row["value"] for row in told["beside"]} == means["value"].to_dict()
    assert [row["value"] for row in told["beside"]] == sorted(means["value"], reverse=True)


def test_more_truth_is_read_from_the_data(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = call(
        capsys, "evaluate", made / "out", "--truth", "obsm:protein", "--truth", "cell_type", "--replicate", "donor",
        "--quick",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "these features" in done.out
    assert "linear probe" in done.out
    folder = RunFolder.open(made / "out")
    measures = set(folder.evaluation["measure"])
    assert {"probe_f1", "transfer_auroc", "batch_auroc"} <= measures
    assert "CD1: high" in set(folder.evaluation["target"])
    kept = json.loads((made / "out" / "run.json").read_text())["evaluation"]["headline"]
    assert " ".join(kept[0].split()) in " ".join(done.out.split())
    differences = pd.read_parquet(made / "out" / "evaluation_differences.parquet")
    assert set(differences["rival"]) == {"random", "untrained", "pca", "ica", "gene"}


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (("--truth", "nothing"), "is one of obs"),
        (("--truth", "obsm:nothing"), "names a table"),
        (("--hierarchy", "cell_type"), "two or more columns"),
        (("--truth", "obsm:protein", "--data", "gone.h5ad"), "give the path with --data"),
    ],
)
def test_wrong_columns_are_refused(
    made: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], match: str
) -> None:
    done = call(capsys, "evaluate", made / "out", "--quick", *options)
    assert done.code == 2
    assert match in done.err


def test_a_folder_without_an_evaluation_says_how_to_get_one(made: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(InputError, match="cellprism evaluate"):
        _ = folder.evaluation


def test_other_cells_are_refused(made: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ad.read_h5ad(made / "cells.h5ad")[:100].write_h5ad(tmp_path / "part.h5ad")
    done = call(
        capsys, "evaluate", made / "out", "--quick", "--truth", "obsm:protein", "--data", tmp_path / "part.h5ad"
    )
    assert done.code == 2
    assert "every cell of the run" in done.err


def test_what_was_evaluated_stands_in_the_log_of_the_run(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (made / "out" / "run.log").read_text(encoding="utf-8")
    assert call(capsys, "evaluate", made / "out", "--quick", "--quiet").code == 0
    after = (made / "out" / "run.log").read_text(encoding="utf-8")
    assert after.startswith(before)
    added = [json.loads(line) for line in after[len(before) :].splitlines()]
    assert added[0]["step"].startswith("evaluating")
    assert call(capsys, "verify", made / "out").code == 0


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (["a,b"], ("a", "b")),
        (["a, b"], ("a", "b")),
        (['"a,b",c'], ("a,b", "c")),
        (["a,b", "c"], ("a,b", "c")),
        (["a"], ("a",)),
        ([], ()),
    ],
)
def test_lists_of_names_may_hold_names_with_commas(given: list[str], names: tuple[str, ...]) -> None:
    assert listed(given) == names


@pytest.mark.parametrize("option", ["--truth", "--replicate", "--within", "--hierarchy"])
def test_a_column_that_is_not_there_is_refused_before_programmes_are_planted(
    option: str, made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def planted(*_: object, **__: object) -> None:
        raise AssertionError("programmes are planted")

    monkeypatch.setattr(evaluation, "spike_in_run", planted)
    done = call(capsys, "evaluate", made / "out", option, "no such", "--spike-in", "60")
    assert done.code == 2
    assert "'no such'" in done.err
