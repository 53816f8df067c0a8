"""The recipes for clusters are what the tools that read them take, and their commands do what they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runner import call as command
from helpers import counts_adata, type_sets

import cellprism as prism
from cellprism.run import RunFolder

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
TOOLS = {name: shutil.which(name) for name in ("snakemake", "hadolint", "torchrun", "dask", "bash")}
SETS = "--gene-symbols symbol --gene-sets sets.gmt"
SMALL = f"--width 64 --k 4 --activation topk --seeds 1 --no-thin {SETS}"


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if TOOLS[name] is None]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)} is not installed")


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Two files of other cells in one space, and a config that names them."""
    whole = counts_adata(300, 60)
    for name, rows in (("a", slice(150)), ("b", slice(150, 300))):
        part = whole[rows].copy()
        part.obs_names = [f"{name}{i}" for i in range(part.n_obs)]
        part.write_h5ad(tmp_path / f"{name}.h5ad")
    lines = ["\t".join([name, "", *genes]) for name, genes in type_sets(60, prefix="S").items()]
    (tmp_path / "sets.gmt").write_text("\n".join(lines) + "\n")
    (tmp_path / "config.yaml").write_text(f"samples: {{a: a.h5ad, b: b.h5ad}}\nrep: X_emb\noptions: {SMALL}\n")
    return tmp_path


def call(place: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = (
        os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"} | more
    )
    return subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, timeout=500, check=False)


@needs("snakemake")
def test_snakemake_plans_a_run_a_sample_and_a_match_a_pair(samples: Path) -> None:
    done = call(samples, "snakemake", "-s", str(RECIPES / "Snakefile"), "--configfile", "config.yaml", "-n", "-p")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert {sample: f"cellprism run {sample}.h5ad --rep X_emb --width 64" in said for sample in "ab"} == {
        "a": True,
        "b": True,
    }
    assert "cellprism match cellprism-runs/a cellprism-runs/b --encode" in said
    assert "cellprism match cellprism-runs/b cellprism-runs/a --encode" in said


@needs("snakemake")
def test_snakemake_matches_no_samples_that_share_no_space(samples: Path) -> None:
    (samples / "config.yaml").write_text("samples: {a: a.h5ad, b: b.h5ad}\nembed: pca\n")
    done = call(samples, "snakemake", "-s", str(RECIPES / "Snakefile"), "--configfile", "config.yaml", "-n", "-p")
    assert "--embed pca" in done.stdout + done.stderr
    assert "cellprism match" not in done.stdout + done.stderr


@pytest.mark.slow
@needs("snakemake")
def test_snakemake_makes_the_runs_and_the_matches(samples: Path) -> None:
    done = call(samples, "snakemake", "-s", str(RECIPES / "Snakefile"), "--configfile", "config.yaml", "-c", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    made = {str(p.relative_to(samples)) for p in samples.rglob("*.parquet") if "matches" in str(p)}
    assert {f"cellprism-runs/matches/{pair}.parquet" for pair in ("a-in-b", "b-in-a")} <= made


def test_runs_on_other_cells_are_matched_through_the_second_dictionary(
    samples: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(samples)
    for name in "ab":
        run = ("run", samples / f"{name}.h5ad", "--rep", "X_emb", *SMALL.split(), "-o", samples / name)
        assert command(capsys, *run).code == 0
    words = ("match", samples / "a", samples / "b", "-o", samples / "match.csv")
    refused = command(capsys, *words)
    assert refused.code == 2
    assert "--encode" in refused.err
    assert command(capsys, *words, "--encode").code == 0
    assert "by genes" in command(capsys, *words, "--encode", "--by", "genes", "--overwrite").err
    table, a = pd.read_csv(samples / "match.csv"), RunFolder.open(samples / "a")
    theirs = prism.load(samples / "b").encode(a.embedding)
    first = table.iloc[0]
    pair = (
        codes[:, [int(first[name])]].toarray()[:, 0] for codes, name in ((a.codes, "feature"), (theirs, "best_feature"))
    )
    assert np.corrcoef(*pair)[0, 1] == pytest.approx(first["best_correlation"], abs=1e-5)


SRUN = """#!/usr/bin/env bash
while [[ "$1" == -* ]]; do shift; done
exec "$@"
"""


@needs("bash")
def test_the_slurm_script_says_what_it_lacks() -> None:
    assert call(RECIPES, "bash", "-n", "slurm.sh").returncode == 0
    done = call(RECIPES, "bash", "slurm.sh", CELLS="cells.h5ad", REP="X_emb")
    assert done.returncode != 0
    assert "OUT" in done.stderr


@pytest.mark.slow
@needs("bash", "torchrun", "dask")
def test_the_slurm_script_trains_on_processes_and_annotates_on_workers(samples: Path) -> None:
    """With stand-ins for what SLURM itself does: starting a command on each node, and naming the nodes."""
    tools = samples / "bin"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", "#!/usr/bin/env bash\necho 127.0.0.1\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tools / "cellprism").write_text(f'#!/usr/bin/env bash\nexec {sys.executable} -m cellprism "$@"\n')
    (tools / "cellprism").chmod(0o755)
    settings = {
        "CELLS": "a.h5ad", "REP": "X_emb", "OUT": "out", "WIDTH": "16", "K": "4", "EPOCHS": "3", "BATCH": "64", "PORT": "0",
        "SLURM_NNODES": "1", "SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "here", "SLURM_GPUS_ON_NODE": "2",
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    done = call(samples, "bash", str(RECIPES / "slurm.sh"), "--labels", "cell_type", *SETS.split(), **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"sae", "state", "codes.npz", "tables"} <= {p.name for p in (samples / "out").iterdir()}
    assert len(pd.read_parquet(samples / "out" / "tables" / "labels.parquet"))
    again = call(samples, "bash", str(RECIPES / "slurm.sh"), *SETS.split(), **settings)
    assert again.returncode == 0  # a requeued job goes on with the dictionary that there is
    assert "explained variance" not in again.stdout.partition("cells x")[0]


def test_the_container_is_pinned_small_and_not_root() -> None:
    lines = (RECIPES / "Dockerfile").read_text().splitlines()
    said = {
        word: [line for line in lines if line.startswith(f"{word} ")] for word in ("FROM", "USER", "RUN", "ENTRYPOINT")
    }
    assert all(re.search(r":\d[\w.-]+$", line) for line in said["FROM"])
    assert said["USER"]
    assert "0" not in said["USER"][-1].split()
    assert all(
        "--no-cache-dir" in line and "-c constraints.txt" in line for line in said["RUN"] if "pip install" in line
    )
    extras = set(re.findall(r"\[([\w,]+)\]", said["RUN"][0])[0].split(","))
    pyproject = (RECIPES.parent / "pyproject.toml").read_text()
    assert all(f"optional-dependencies.{extra} =" in pyproject for extra in extras)


@needs("hadolint")
def test_hadolint_finds_nothing() -> None:
    done = call(RECIPES, "hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout
