"""The way from an own scVI model to steered features works word for word as docs/scvi.md says it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest
from cli_runner import call
from helpers import counts_adata

from cellprism import genesets

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "scvi.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", PAGE, flags=re.DOTALL)


def test_the_page_holds_the_whole_way() -> None:
    commands = [line.split()[1] for language, text in BLOCKS if language == "bash" for line in text.splitlines()[:1]]
    assert commands == ["install", "run", "steer", "differential", "encode", "encode"]
    assert BLOCKS[0] == ("bash", "pip install -c constraints.txt '.[scvi]'\n")


@pytest.mark.filterwarnings("ignore")  # scvi-tools and lightning warn of their own affairs
def test_every_line_of_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    pytest.importorskip("scvi", reason="scvi-tools is not installed", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    cells = counts_adata(480, 60, seed=1)
    members = [gene for genes in genesets.load("bundled").values() for gene in genes]
    cells.var_names = pd.Index(list(dict.fromkeys(members))[:60])
    treated = np.arange(cells.n_obs) % 2 == 0
    cells.X[np.flatnonzero(treated)[:, None], np.arange(0, 9)] = 12.0
    cells.obs["condition"] = pd.Categorical(np.where(treated, "stim", "ctrl"))
    cells.obs["donor"] = pd.Categorical([f"d{i % 4}" for i in np.arange(cells.n_obs) // 2])
    for key in list(cells.obsm):
        del cells.obsm[key]
    cells[:400].write_h5ad("cells.h5ad")
    cells[400:].write_h5ad("new.h5ad")

    for language, text in BLOCKS[1:]:
        if language == "python":
            with matplotlib.rc_context({"backend": "agg"}):
                exec(compile(text, "docs/scvi.md", "exec"), {})
            continue
        for line in text.splitlines():
            _, *words = shlex.split(line)
            done = call(capsys, *words)
            assert done.code == 0, f"{line}\n{done.err}"

    table = pd.read_parquet("out/steering-1/steering.parquet")
    assert len(table) == 60
    differing = pd.read_parquet("out-differential/differential.parquet")
    assert differing["qval"].min() < 0.05
    codes = ad.read_h5ad("new_codes.h5ad")
    assert list(codes.obs_names) == list(cells.obs_names[400:])
    assert codes.n_vars == ad.read_h5ad("query_codes.h5ad").n_vars
    for figure in ("feature", "dotplot", "heatmap", "volcano", "differential", "steering", "new"):
        assert Path(f"{figure}.png").stat().st_size > 5_000
