import numpy as np
import pandas as pd
import pytest

from cellprism.errors import InputError
from cellprism.recovery import Preset, Task, Trial, grid, sweep, sweep_embeddings
from cellprism.recovery.grid import short
from cellprism.recovery.plots import landscape, landscape_by_level, probe_against_loss
from cellprism.simulate import small

GRIDS = {
    # widths x penalties (or percents) x learning rates
    "small, one rate": (("small", ["vanilla"], {}), 8 * 5),
    "small, all rates": (("small", ["vanilla"], {"full": True}), 8 * 5 * 4),
    "small, paper": (("small", ["vanilla", "relu", "topk"], {}), 8 * (5 + 5 + 7)),
    "large, all rates": (("large", ["relu"], {"full": True}), 6 * 4 * 3),
    "large, batchtopk": (("large", ["batchtopk"], {}), 6 * 5),
}


@pytest.mark.parametrize("case", GRIDS)
def test_grids_have_the_size_of_the_papers(case):
    (simulation, variants, options), size = GRIDS[case]
    trials = grid(simulation, variants, **options)
    assert len(trials) == size == len(set(trials))


def test_trials_become_configs():
    published = Trial("topk", 50, 1e-4, 500, l1=1e-3, k_percent=10).config(4)
    assert (published.width, published.k, published.penalty_reduction) == (200, 20, "mean")
    assert Trial("jumprelu", 10, 1e-4, 5, k_percent=50).config(4).k == 20
    assert Trial("batchtopk", 2, 1e-4, 5, k_percent=1).config(4).k == 1


def test_a_stopped_sweep_goes_on(tmp_path, monkeypatch):
    cells = small(500, held_out=100)
    task = Task.of(cells, cells.X[:, :4] + 0.0)
    trials = grid("small", ["vanilla", "topk"], factors=[2, 5], epochs=1)
    lines = []
    first = sweep(task, trials, folder=tmp_path, report=lines.append)
    assert len(first) == 2 * (5 + 7 + 1) * 4  # with an untrained one a width
    assert len(lines) == 2
    pd.testing.assert_frame_equal(sweep(task, trials, folder=tmp_path, report=lines.append), first)
    assert len(lines) == 2  # nothing was trained again
    assert first["width"].unique().tolist() == [8, 20]
    assert (first["n_live"] <= first["width"]).all()
    figure = landscape(first, "width", ["n_live", "l0", "mean_best_abs_r"], level="T")
    assert [ax.get_title() for ax in figure.axes] == ["n live", "l0", "mean best abs r"]
    axes = landscape_by_level(first, ["T", "Y"]).axes
    assert [ax.get_title() for ax in axes[:5]] == ["live", "L0", "redundant", "best |r|, T", "best |r|, Y"]
    assert len(axes) == 2 * 5  # a row a variant
    vanilla, topk = (ax.get_legend_handles_labels()[1] for ax in (axes[4], axes[9]))
    assert vanilla == ["L1 1e-05", "L1 0.0001", "L1 0.001", "L1 0.01", "L1 0.1"]
    assert topk == ["1 %", "5 %", "10 %", "20 %", "50 %", "75 %", "100 %"]


def test_a_stopped_sweep_does_not_take_other_trials_for_its_own(tmp_path):
    cells = small(300, held_out=60)
    task = Task.of(cells, cells.X[:, :4] + 0.0)
    for variant in ("vanilla", "relu"):  # as many SAEs of the same width, rate and length
        table = sweep(task, grid("small", [variant], factors=[2], epochs=1), folder=tmp_path)
        assert table["variant"].unique().tolist() == [variant, "untrained"]


@pytest.mark.slow
def test_a_sweep_of_embeddings_goes_on_and_refuses_other_cells(tmp_path):
    tiny = Preset(
        simulation="small",
        cells={"n_cells": 400, "held_out": 100},
        autoencoder={"latent": 4, "depth": 1, "lr": 1e-3, "batch_size": 300, "epochs": 5, "patience": 5},
        methods=("probe",),
        level="T",
    )
    trials = short(grid("small", ["vanilla"]), factors=[2], epochs=1)
    lines = []
    first = sweep_embeddings(tiny, trials, tmp_path, latents=[3, 4], report=lines.append)
    assert len(first) == 2 * (5 + 1) * 4
    assert len(lines) == 2 * 2
    assert {p.name for p in tmp_path.iterdir()} == {"sweep.parquet", "figures", "parts"}
    again = sweep_embeddings(tiny, trials, tmp_path, latents=[3, 4], report=lines.append)
    pd.testing.assert_frame_equal(again, first)
    assert len(lines) == 2 * 2 + 2  # the embeddings were read, no SAE was trained
    with pytest.raises(InputError, match="cells, autoencoder and seed"):
        sweep_embeddings(tiny, trials, tmp_path, seed=1)


def test_probe_plot_has_a_panel_a_level():
    rows = [
        {"latent": n, "depth": 2, "shape": s, "seed": 0, "validation_loss": 1.0 + n, "level": level, "r2": 0.5}
        for n in (20, 150)
        for s in ("narrow", "wide")
        for level in ("X2", "X1")
    ]
    figure = probe_against_loss(pd.DataFrame(rows), ["X2", "X1"])
    assert [ax.get_title() for ax in figure.axes] == ["X2", "X1"]
    assert np.isclose(figure.axes[0].collections[0].get_offsets()[0], [21, 0.5]).all()


def test_refuses():
    with pytest.raises(InputError):
        grid("medium")
    with pytest.raises(InputError):
        grid("small", ["gelu"])
