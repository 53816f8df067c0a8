import anndata
import mudata
import numpy as np
from anndata.io import read_zarr
from cli_runner import call

from cellprism.simulate import large, small


def test_small(tmp_path, capsys):
    path = tmp_path / "cells.h5ad"
    result = call(capsys, "simulate", "small", "--n-cells", 300, "--held-out", 30, "--seed", 4, "-o", path)
    assert result.code == 0, result.err
    np.testing.assert_array_equal(anndata.read_h5ad(path).X, small(300, held_out=30, seed=4).X)
    assert call(capsys, "simulate", "small", "-o", path).code == 2
    assert call(capsys, "simulate", "small", "-o", path, "--n-cells", 10, "--held-out", 1, "--overwrite").code == 0
    assert anndata.read_h5ad(path).n_obs == 10


def test_large_as_file_and_as_zarr(tmp_path, capsys):
    sizes = ["--n-cells", 200, "--n-genes", 30, "--n-programs", 5, "--continuous", "--noise", "nb"]
    for name in ("cells.h5ad", "cells.zarr"):
        assert call(capsys, "simulate", "large", *sizes, "-o", tmp_path / name).code == 0
    expected = large(200, 30, 5, continuous=True)
    whole, stored = anndata.read_h5ad(tmp_path / "cells.h5ad"), read_zarr(tmp_path / "cells.zarr")
    np.testing.assert_array_equal(whole.obsm["X2_truth"], expected.obsm["X2_truth"])
    np.testing.assert_array_equal(stored.obsm["X2_truth"], expected.obsm["X2_truth"])


def test_peaks_make_a_second_modality(tmp_path, capsys):
    path = tmp_path / "cells.h5mu"
    result = call(capsys, "simulate", "large", "--n-cells", 50, "--n-genes", 20, "--peaks", 30, "-o", path)
    assert result.code == 0, result.err
    with mudata.set_options(pull_on_update=False):
        assert mudata.read_h5mu(path)["atac"].shape == (50, 30)


def test_bad_arguments_exit_with_2(tmp_path, capsys):
    for arguments in (
        ["small", "-o", tmp_path / "cells.txt"],
        ["large", "-o", tmp_path / "cells.h5ad", "--peaks", 5],
        ["large", "-o", tmp_path / "cells.h5ad", "--noise", "loud"],
        ["large", "-o", tmp_path / "cells.h5ad", "--n-programs", 0],
    ):
        result = call(capsys, "simulate", *arguments)
        assert result.code == 2
        assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []
