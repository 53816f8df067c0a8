"""Further cells by a run's own model and dictionary: the run's own cells come out as they were, others comparable."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, type_sets

from cellprism import embed
from cellprism.run import RunFolder, run
from cellprism.run.encode import encode, fit_of
from cellprism.run.options import RunOptions
from cellprism.sae import load


@pytest.fixture(scope="module", params=["pca", "dgd"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on half of the molecules, and its file of cells."""
    folder = tmp_path_factory.mktemp("encode")
    cells = counts_adata(240, 60, seed=3)
    cells.layers["counts"] = cells.X.copy()
    cells.write_h5ad(folder / "cells.h5ad")
    (folder / "sets.gmt").write_text("".join(f"{n}\t\t" + "\t".join(g) + "\n" for n, g in type_sets(60).items()))
    run(
        RunOptions(
            data=folder / "cells.h5ad",
            output=folder / "run",
            embed=request.param,
            layer="counts",
            gene_sets=(str(folder / "sets.gmt"),),
            width=16,
            k=3,
            seeds=1,
            components=5,
            epochs=30,
        )
    )
    return folder / "run", folder / "cells.h5ad"


def test_the_runs_own_cells_come_out_as_they_were(made: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    run_dir, cells = made
    done = call(capsys, "encode", run_dir, cells, "-o", tmp_path / "c.npz")
    assert done.code == 0, done.err
    folder = RunFolder.open(run_dir)
    assert folder.info["thinned"]
    codes = sp.load_npz(tmp_path / "c.npz")
    np.testing.assert_allclose(codes.toarray(), folder.codes.toarray(), atol=1e-4)
    with np.load(tmp_path / "c.npz") as content:
        assert content["cells"].tolist() == folder.cells["cell"].tolist()
    assert "50% of the molecules" in done.err
    assert "Note" not in done.out
    trained = folder.info["metrics"]["explained_variance"]
    assert f"explained variance {trained:.3f} (in training {trained:.3f})" in done.out
    # and so they do without the command line
    read = ad.read_h5ad(cells)
    np.testing.assert_allclose(embed.load(run_dir / "model").encode(read), folder.embedding, atol=1e-4)


def test_other_cells_are_comparable(made: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    """Cells of the same types, drawn anew: features fire as often, and as strongly, as in the run."""
    run_dir, _ = made
    folder = RunFolder.open(run_dir)
    new = counts_adata(240, 60, seed=4)[:, ::-1].copy()  # genes are found by name
    new.write_h5ad(tmp_path / "new.h5ad")
    done = call(capsys, "encode", run_dir, tmp_path / "new.h5ad", "-o", tmp_path / "c.h5ad")
    assert done.code == 0, done.err
    assert "which these cells lack: X is taken" in done.err
    found = ad.read_h5ad(tmp_path / "c.h5ad")
    assert found.obs_names.tolist() == new.obs_names.tolist()
    assert found.obsm["X_embedding"].shape == folder.embedding.shape
    live = folder.features["feature"].to_numpy()
    assert found.var["name"].iloc[live].tolist() == folder.features["name"].tolist()
    here, there = (np.asarray((m > 0).mean(axis=0)).ravel() for m in (found.X, folder.codes))
    assert np.abs(here - there).max() < 0.25
    assert np.abs(here - there).mean() < 0.06
    assert np.abs(found.obsm["X_embedding"].std(0) / folder.embedding.std(0) - 1).max() < 0.35


def test_cells_that_do_not_fit_are_told(made: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    run_dir, _ = made
    folder = RunFolder.open(run_dir)
    np.save(tmp_path / "x.npy", 0.01 * np.asarray(folder.embedding))
    done = call(capsys, "encode", run_dir, tmp_path / "x.npy", "-o", tmp_path / "c.npz")
    assert done.code == 0, done.err
    assert "do not fit the dictionary" in done.out
    sae = load(run_dir)
    _, misfit = fit_of(sae, folder.embedding, folder.codes, folder.info["metrics"])
    assert misfit == ""
    turned = np.asarray(folder.embedding)[:, ::-1].copy()
    assert encode(sae, turned, (), folder.info["metrics"]).misfit


def test_what_cannot_be_embedded_is_told(made: tuple[Path, Path], tmp_path: Path, capsys) -> None:
    run_dir, cells = made
    alone = call(capsys, "encode", run_dir / "sae", cells, "-o", tmp_path / "c.npz")
    assert (alone.code, "an SAE alone" in alone.err) == (2, True)
    wrong = ad.read_h5ad(cells)
    wrong.X = wrong.X.astype(np.float32) * 0.5
    del wrong.layers["counts"]
    wrong.write_h5ad(tmp_path / "half.h5ad")
    scaled = call(capsys, "encode", run_dir, tmp_path / "half.h5ad", "-o", tmp_path / "c.npz")
    assert scaled.code == 2
    assert "raw counts" in scaled.err
    few = ad.read_h5ad(cells)[:, :50].copy()
    few.write_h5ad(tmp_path / "few.h5ad")
    missing = call(capsys, "encode", run_dir, tmp_path / "few.h5ad", "-o", tmp_path / "c.npz")
    assert missing.code == 2
    assert "10 of 60 missing" in missing.err
    assert not (tmp_path / "c.npz").exists()
