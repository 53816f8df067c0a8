"""New cells beside those of a run: like ones are called new as often as chance allows, unlike ones are told."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cli_runner import call
from helpers import counts_adata, multimodal, type_sets
from scipy import stats

import cellprism as prism
from cellprism.demo import demo_counts
from cellprism.folder.columns import FILES
from cellprism.run import RunFolder, RunOptions, run
from cellprism.run.novelty import Reference

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
COLUMNS = ["novelty", "novelty_pval", "novelty_qval"]


def switched_on(cells: ad.AnnData, genes: int = 30, seed: int = 0) -> ad.AnnData:
    """The cells with a programme that none of them has: genes that few express, raised to three molecules."""
    counts = cells.X.toarray()
    rare = np.argsort((counts > 0).mean(axis=0), kind="stable")[:genes]
    counts[:, rare] += np.random.default_rng(seed).poisson(3, (len(counts), genes))
    obs = cells.obs.set_axis([f"on-{name}" for name in cells.obs_names])
    return ad.AnnData(sp.csr_matrix(counts), obs=obs, var=cells.var.copy())


def split(cells: ad.AnnData, share: float, seed: int) -> tuple[ad.AnnData, ad.AnnData]:
    new = np.random.default_rng(seed).random(cells.n_obs) < share
    return cells[~new].copy(), cells[new].copy()


@pytest.mark.parametrize("source", ["demo", "poisson"])
def test_p_is_uniform_for_cells_of_the_same_kinds(source: str) -> None:
    cells = demo_counts() if source == "demo" else counts_adata(600, 60, seed=1)
    found = []
    for seed in range(6):
        known, new = split(cells, 0.25, seed)
        reference = Reference.of(known, 10, seed=seed)
        assert reference is not None
        found.append(reference.tell(new)["novelty_pval"].to_numpy())
    pval = np.concatenate(found)
    # draws of the same cells are not independent: about as many as there are cells count
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(pval <= level) - level) < 4 * np.sqrt(level * (1 - level) / cells.n_obs)
    assert stats.kstest(pval, "uniform").statistic < 1.95 / np.sqrt(cells.n_obs)


def test_cells_that_a_model_has_seen_would_make_everything_new() -> None:
    """Why the reference is scored in parts: components are nearer to the cells that they are of."""
    cells = counts_adata(240, 300, seed=2)
    known, new = split(cells, 0.4, 0)
    reference = Reference.of(known, 40, seed=0)
    assert reference is not None
    honest = reference.tell(new)["novelty_pval"]
    from cellprism.embed.pca import log_normalise
    from cellprism.embed.unexplained import Components, strangeness

    seen = np.empty(known.n_obs)
    for k in range(5):  # each cell by a model that has learned from it
        own = reference.fold == (k + 1) % 5
        components = Components(reference.axes[k], reference.centre[k])
        seen[own] = strangeness(log_normalise(known.X)[own], components, reference.scale[k])
    by_seen = Reference(**{**vars(reference), "scores": seen}).tell(new)["novelty_pval"]
    assert abs((honest <= 0.05).mean() - 0.05) < 0.09
    assert by_seen.mean() < honest.mean() - 0.1


def test_a_programme_that_no_known_cell_has_is_told() -> None:
    known, new = split(demo_counts(), 0.3, 0)
    reference = Reference.of(known, 20)
    assert reference is not None
    table = reference.tell(ad.concat([new, switched_on(new)]))
    same, other = table.iloc[: new.n_obs], table.iloc[new.n_obs :]
    assert (other["novelty_qval"] < 0.05).mean() > 0.95
    assert (same["novelty_qval"] < 0.05).mean() < 0.06
    assert list(table.columns) == COLUMNS


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data are not here")
def test_stimulated_cells_are_new_to_unstimulated_ones() -> None:
    cells = ad.read_h5ad(DATA / "kang2018_ifnb_muscat.h5ad")
    cells.X = sp.csr_matrix(cells.X.astype(np.float32))
    stim = (cells.obs["condition"] == "stim").to_numpy()
    known, new = split(cells[~stim].copy(), 0.25, 1)
    reference = Reference.of(known, 30)
    assert reference is not None
    told = reference.tell(ad.concat([new, cells[stim]]))["novelty_qval"] < 0.05
    assert told.iloc[: new.n_obs].mean() < 0.06
    by_type = told.iloc[new.n_obs :].groupby(cells.obs["cell_type"][stim].astype(str)).mean()
    assert by_type.min() > 0.8


def test_cells_of_a_donor_lie_in_one_part() -> None:
    cells = counts_adata(300, 40, seed=3)
    donor = cells.obs["donor"].astype(str).copy()
    donor.iloc[:10] = None
    reference = Reference.of(cells, 5, donor)
    assert reference is not None
    assert reference.axes.shape[:2] == (3, 6)
    of = pd.Series(reference.fold[10:]).groupby(donor.to_numpy()[10:])
    assert (of.nunique() == 1).all()
    assert of.first().nunique() == 3


def test_two_donors_make_no_parts() -> None:
    cells = counts_adata(200, 40)
    reference = Reference.of(cells, 5, cells.obs["donor"].astype(str).replace({"d2": "d1"}))
    assert reference is not None
    assert len(reference.axes) == 5


@pytest.mark.parametrize(
    "cells",
    [
        counts_adata(99, 30),
        ad.AnnData(sp.csr_matrix(np.full((200, 30), 0.5, dtype=np.float32))),
        multimodal(atac=counts_adata(200, 30)),
    ],
    ids=["few", "no counts", "no rna"],
)
def test_there_is_no_reference_without_enough_counts(cells: ad.AnnData | mudata.MuData) -> None:
    assert Reference.of(cells, 5) is None


def test_cells_without_molecules_are_not_judged_and_count_nowhere() -> None:
    cells = counts_adata(200, 30)
    cells.X = sp.csr_matrix(cells.X.toarray() * (np.arange(200) >= 3)[:, None])
    reference = Reference.of(cells, 5)
    assert reference is not None
    assert len(reference.scores) == 197
    table = reference.tell(cells[:6])
    assert table.isna().to_numpy()[:3].all()
    assert table.notna().to_numpy()[3:].all()


def test_no_more_cells_are_scored_than_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cellprism.run.novelty._MOST_CELLS", 150)
    cells = counts_adata(300, 30)
    reference = Reference.of(cells, 5, cells.obs["donor"].astype(str))
    assert reference is not None
    assert len(reference.scores) == 150


def test_few_genes_many_dimensions_and_modalities(tmp_path: Path) -> None:
    both = multimodal(rna=counts_adata(150, 8), protein=counts_adata(150, 4))
    reference = Reference.of(both, 64)
    assert reference is not None
    assert reference.axes.shape == (5, 7, 8)
    reference.save(tmp_path / "novelty")
    again = Reference.load(tmp_path / "novelty")
    pd.testing.assert_frame_equal(again.tell(both), reference.tell(both))
    turned = multimodal(rna=both["rna"][:, ::-1].copy())  # genes are found by name
    pd.testing.assert_frame_equal(again.tell(turned), reference.tell(both))


@pytest.fixture(scope="module", params=["pca", pytest.param("dgd", marks=pytest.mark.slow)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("novelty")
    known, new = split(demo_counts(), 0.3, 0)
    known.write_h5ad(folder / "known.h5ad")
    ad.concat([new, switched_on(new)]).write_h5ad(folder / "new.h5ad")
    run(
        RunOptions(
            data=folder / "known.h5ad", output=folder / "run", embed=request.param, components=12,
            width=32, k=4, seeds=1, epochs=10, preset="demo", labels=("bulk_labels",),
        )
    )  # fmt: skip
    return folder


def test_encode_tells_it_for_every_model_and_form(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for ending in ("npz", "h5ad", "zarr"):
        done = call(capsys, "encode", made / "run", made / "new.h5ad", "-o", made / f"c.{ending}")
        assert done.code == 0, done.err
        assert "unlike the run's cells, at q < 0.05: " in done.out
    with np.load(made / "c.npz") as arrays:
        told["npz"] = pd.DataFrame(
            {name: arrays[name] for name in ["top_feature", "top_names", *COLUMNS]}, arrays["cells"]
        )
    told["h5ad"], told["zarr"] = ad.read_h5ad(made / "c.h5ad").obs, ad.read_zarr(made / "c.zarr").obs
    for table in told.values():
        assert list(table.columns) == list(FILES["encode output (.npz, .h5ad, .zarr)"].columns)
        np.testing.assert_allclose(table[COLUMNS], told["npz"][COLUMNS])
        assert table["top_names"].astype(str).tolist() == told["npz"]["top_names"].tolist()
    on = told["npz"].index.str.startswith("on-")
    fresh = told["npz"]["novelty_qval"] < 0.05
    assert fresh[on].mean() > 0.9
    assert fresh[~on].mean() < 0.06


@pytest.mark.filterwarnings("ignore:these cells do not fit the dictionary")  # half of them do not
def test_annotated_cells_tell_it_too(made: Path) -> None:
    new = ad.read_h5ad(made / "new.h5ad")
    encoded = prism.tl.encode(new, made / "run", key="coded")
    assert [c for c in new.obs if c.startswith("coded_")] == [f"coded_{c}" for c in encoded.table]
    assert (new.obs["coded_novelty_qval"].iloc[new.n_obs // 2 :] < 0.05).mean() > 0.9


def test_a_run_that_was_given_its_embedding_tells_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = counts_adata(150, 30)
    model = prism.embed.train("pca", cells, n_components=5)
    cells.obsm["X_emb"] = model.encode(cells)
    model.save(tmp_path / "model")
    cells.write_h5ad(tmp_path / "cells.h5ad")
    sets = "".join(f"{name}\t\t" + "\t".join(genes) + "\n" for name, genes in type_sets(30).items())
    (tmp_path / "sets.gmt").write_text(sets)
    run(
        RunOptions(
            data=tmp_path / "cells.h5ad", output=tmp_path / "run", rep="X_emb", gene_sets=(str(tmp_path / "sets.gmt"),),
            width=16, k=3, seeds=1, epochs=5,
        )
    )  # fmt: skip
    assert RunFolder.open(tmp_path / "run").novelty is None
    words = ("encode", tmp_path / "run", tmp_path / "cells.h5ad", "--model", tmp_path / "model")
    done = call(capsys, *words, "-o", tmp_path / "c.h5ad")
    assert done.code == 0, done.err
    assert "novelty is not told" in done.err
    assert list(ad.read_h5ad(tmp_path / "c.h5ad").obs.columns) == ["top_feature", "top_names"]


def test_a_reference_that_was_changed_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    shutil.copytree(made / "run", tmp_path / "run")
    (tmp_path / "run" / "novelty" / "model.safetensors").write_bytes(b"other")
    done = call(capsys, "encode", tmp_path / "run", made / "new.h5ad", "-o", tmp_path / "c.npz")
    assert done.code == 2
    assert "novelty/model.safetensors" in done.err
    assert not (tmp_path / "c.npz").exists()
