"""Every notebook runs, and what its text says of the results is so."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from page_blocks import ROOT, cells

LEARN = ROOT / "docs" / "learn"


def first_features(ns: dict[str, Any]) -> None:
    assert (ns["typed"]["top_label_auroc"] > 0.9).all()
    assert ns["genes"]["qval"].iloc[0] < 1e-6
    shares = ns["found"].shares.set_index("claim")
    named = shares.loc["features with a set at q < 0.05"]
    assert named["permuted"] < 0.05, "the text says that permuted cells give next to nothing"
    assert named["random"] > 0.5, "the text says that random directions give nearly as much"


def own_scvi(ns: dict[str, Any]) -> None:
    assert ns["leading"].max() >= 2, "the text says that a feature has the genes of plasma cells"
    raised = set(ns["effect"].genes["gene"].head(10))
    assert len(raised & {"MZB1", "IGJ", "TNFRSF17", "PPIB", "SSR4", "MANF", "FKBP11"}) >= 4
    assert ns["same"] < 1e-5, "the text says that new cells are coded as the old ones"


def stimulated(ns: dict[str, Any]) -> None:
    assert len(ns["recovered"]) >= 8
    first = ns["table"].iloc[0]
    assert first["fraction_a"] < 0.1
    assert first["fraction_b"] > 0.9
    assert ns["share"].unstack()["stim"].min() > 0.8, "the text says that the response is in all cell types"
    assert (ns["placebo"].table["qval"] < 0.05).sum() <= 1
    assert abs(ns["others"]["effect"]).max() < abs(first["effect"])


def trust(ns: dict[str, Any]) -> None:
    means = ns["evaluated"].mean()
    assert means["dictionary"] > means["random"]
    assert 0 < len(ns["good"]) < len(ns["features"])
    assert (ns["features"]["stability"] > ns["features"]["null"]).all()
    by_fold = ns["spiked"].recovery.groupby(["fold", "method"])["best_abs_r"].mean().unstack()
    assert by_fold["cellprism"].iloc[-1] > by_fold["cellprism"].iloc[0] + 0.2, "stronger programmes are found better"


def steering(ns: dict[str, Any]) -> None:
    raised = set(ns["effect"].genes["gene"].head(10))
    assert len(raised & {"GNLY", "NKG7", "GZMB", "GZMA", "GZMH", "PRF1", "CST7", "CTSW"}) >= 4, (
        "cytotoxic genes come up"
    )
    assert ns["effect"].genes["null_pval"].head(5).max() < 0.05
    ranked = ns["agreements"].rank(ascending=False)
    assert ranked[ns["killer"]] <= 3, "the right feature brings naive cells nearest to killers"


def multiomics(ns: dict[str, Any]) -> None:
    carried = ns["carried"]
    assert carried["rna: of the top 20"].median() > 0.6
    assert carried["atac: of the top 20"].median() > 0.6
    shares = ns["shares"]
    assert len(shares) >= 4
    led = shares["of the 15 raised most"] > 3 * shares["of all"]
    assert (~led).sum() <= 1, "the text says that peaks of the gene's programme lead for all genes, or all but one"
    assert shares.loc[led, "of the 15 raised most"].median() == 1
    known = ns["programmes"].dropna(subset="best_abs_r")
    assert (known["best_abs_r"] > 3 * known["null_best_abs_r"]).all()


def ground_truth(ns: dict[str, Any]) -> None:
    found = ns["scores"].variables.query("level == 'T'")
    assert (found["best_abs_r"] > 0.95).sum() == 2, "the text says that two regulators come back"
    assert found["probe_abs_r"].min() > 0.95, "the text says that the probe reads all three"
    table = ns["table"]
    assert table.loc["probe", "T"] >= table.loc["cellprism", "T"] > table.loc[["ica-embedding", "untrained"], "T"].max()


CHECKS: dict[str, tuple[Callable[[dict[str, Any]], None], tuple[str, ...]]] = {
    "first-features": (first_features, ()),
    "own-scvi": (own_scvi, ("scvi",)),
    "stimulated": (stimulated, ()),
    "trust": (trust, ()),
    "steering": (steering, ()),
    "multiomics": (multiomics, ()),
    "ground-truth": (ground_truth, ()),
}
"""Notebook -> what must hold after it has run, and the optional packages that it needs."""


def test_every_notebook_is_here() -> None:
    assert set(CHECKS) == {path.stem for path in LEARN.glob("*.md")} - {"index"}
    listed = (LEARN / "index.md").read_text()
    assert all(f"\n{name}\n" in listed for name in CHECKS)


# scvi-tools and lightning warn of their own affairs; the longest waits for `pytest` without -m "not slow"
MARKS = {"own-scvi": pytest.mark.filterwarnings("ignore"), "ground-truth": pytest.mark.slow}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in CHECKS])
def test_it_runs_and_says_what_is_so(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check, needed = CHECKS[name]
    for package in needed:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"this notebook needs {package}, which is not installed")
    monkeypatch.chdir(tmp_path)
    ns: dict[str, Any] = {"__name__": "__main__"}
    with mpl.rc_context({"backend": "agg"}):
        for cell in cells(LEARN / f"{name}.md"):
            at = cell.line - 1  # so that a traceback names the line of the page
            exec(compile("\n" * at + cell.code, str(cell.path), "exec"), ns)
        plt.close("all")
    check(ns)
