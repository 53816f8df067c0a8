"""Arguments that cannot be: each command refuses them by name before any work, with exit code 2 and nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import call

SIMULATE = ("simulate", "large", "--n-cells", "20", "--n-genes", "10", "--n-programs", "3", "-o", "{out}.h5ad")
SMALL = ("simulate", "small", "--n-cells", "20", "--held-out", "2", "-o", "{out}.h5ad")
SWEEP = ("sweep", "small", "-o", "{out}")
BENCHMARK = ("benchmark", "small", "-o", "{out}")
RUN = ("run", "cells.h5ad", "--rep", "X", "-o", "{out}")
FIT = ("fit", "z.npy", "-o", "{out}")
STEER = ("steer", "run", "--feature", "1", "--to", "1", "-o", "{out}")
EXPORT = ("export", "run", "--gmt", "{out}.gmt")

SEEDS = ("-1", "2147483648", "4294967295", "4294967296", "100000000000000000000", "nan", "1.5", "x", "")
NUMBERS = ("nan", "inf", "-inf", "x", "")

CASES = [
    *((*command, "--seed", seed) for command in (SIMULATE, SMALL, SWEEP, BENCHMARK, RUN, FIT, STEER) for seed in SEEDS),
    *((*SIMULATE, "--structure-seed", seed) for seed in SEEDS),
    *(
        (*SIMULATE, option, value)
        for option in ("--library-size", "--dropout", "--p-program-gene", "--p-type-program", "--program-correlation")
        for value in (*NUMBERS, "-1")
    ),
    *((*SIMULATE, option, value) for option in ("--n-cells", "--n-genes", "--n-programs", "--n-cell-types") for value in ("0", "-3", "nan", "1e3")),
    *((*SIMULATE, "--noise", value) for value in ("", "Poisson", "gauss")),
    *((*SMALL, "--held-out", value) for value in ("20", "21", "-1")),
    *((*SWEEP, "--epochs", value) for value in ("0", "-1", "nan")),
    *((*SWEEP, "--variants", value) for value in ("", ",", "nothing", "topk,nothing")),
    *((*SWEEP, "--latent", value) for value in ("0", "-4", "x")),
    *((*BENCHMARK, "--library-size", value) for value in NUMBERS),
    *((*BENCHMARK, "--methods", value) for value in ("nothing", "topk,nothing")),
    *((*RUN, option, value) for option in ("--width", "--k", "--epochs", "--seeds", "--components") for value in ("0", "-1", "nan", "1.5")),
    *((*FIT, option, value) for option in ("--memory-budget",) for value in NUMBERS),
    *((*FIT, "--seeds", value) for value in ("0", "-1")),
    *((*STEER, option, value) for option in ("--to", "--to-quantile", "--scale") for value in NUMBERS),
    *((*EXPORT, "--level", value) for value in (*NUMBERS, "0", "-0.1", "2")),
    *((*EXPORT, "--top", value) for value in ("0", "-1", "x")),
    *(("serve", "run", "--port", value) for value in ("-1", "65536", "x", "")),
    ("verify", "nowhere"),
    ("nothing",),
    ("run",),
    ("export", "run"),
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small inputs under the names that the cases use."""
    import numpy as np
    from helpers import counts_adata

    folder = tmp_path_factory.mktemp("inputs")
    cells = counts_adata(40, 20)
    cells.obsm["X"] = cells.obsm["X_emb"]
    cells.write_h5ad(folder / "cells.h5ad")
    np.save(folder / "z.npy", cells.obsm["X_emb"])
    return folder


@pytest.mark.parametrize("arguments", CASES, ids=" ".join)
def test_refused_before_the_work(
    arguments: tuple[str, ...],
    files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(files)
    before = sorted(p.name for p in files.iterdir())
    done = call(capsys, *(a.replace("{out}", str(tmp_path / "out")) for a in arguments))
    assert done.code == 2, done
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []
    assert sorted(p.name for p in files.iterdir()) == before
