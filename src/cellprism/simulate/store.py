"""Simulations larger than memory, written to Zarr strip by strip."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from anndata import AnnData
from anndata.io import write_elem
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from cellprism.errors import InputError
from cellprism.files import replacing
from cellprism.numeric import numbers_checked
from cellprism.simulate.large import STRIP, block_rows, describe, draw_cells, observations
from cellprism.simulate.measurement import Measurement
from cellprism.simulate.process import Cells, LargeProcess

__all__ = ["large_zarr"]

ZARR_WORKERS = 2
"""Strips of 100 cells in the making at once."""


@numbers_checked
def large_zarr(
    path: str | Path,
    n_cells: int = 100_000,
    *,
    seed: int = 0,
    held_out: int | None = None,
    measurement: Measurement | None = None,
    **process: Any,
) -> Path:
    """Simulate as :func:`~cellprism.simulate.large` does, but write every 100 cells to Zarr once drawn.

    Parameters
    ----------
    path
        Folder to write; it must not exist yet.
    n_cells
        Cells; the default with the default 20,000 genes is the paper's ten data sets in size.
    seed, held_out, measurement
        As for :func:`~cellprism.simulate.large`.
    process
        The sizes, densities and options of :class:`~cellprism.simulate.LargeProcess`.

    Returns
    -------
    The path, which :func:`anndata.io.read_zarr` reads; equal, cell by cell, to what ``large`` returns, with X dense.

    Raises
    ------
    InputError
        If the folder exists, or as for :func:`~cellprism.simulate.large`.

    Notes
    -----
    The expression is never in memory as a whole: the peak is the hidden variables (three arrays of cells x programs)
    and a few hundred cells. The noise-free expression of a measured simulation is not stored; it is
    ``obsm["X2_truth"] @ varm["program_gene"].T``.

    Examples
    --------
    >>> path = prism.simulate.large_zarr("cells.zarr", 200, n_genes=40, held_out=50, seed=0)
    >>> path.name
    'cells.zarr'
    """
    path = Path(path)
    if path.exists():
        raise InputError("the Zarr folder must be new", str(path), "remove it or write elsewhere")
    model = LargeProcess(**process)
    measurement = measurement or Measurement()
    cells = draw_cells(model, n_cells, seed)
    frame = AnnData(
        obs=observations(model, cells, held_out),
        var=pd.DataFrame(index=[f"gene{g}" for g in range(model.n_genes)]),
        obsm={"X2_truth": cells.X2, "X1_truth": cells.X1, "X0_truth": cells.X0},
        varm={"program_gene": model.program_gene.T.astype(np.uint8)},
        uns={"simulation": describe(model, measurement, seed)},
    )
    with replacing(path, overwrite=False) as beside:
        _write(beside, frame, model, measurement, cells, seed)
    return path


def _write(path: Path, frame: AnnData, model: LargeProcess, measurement: Measurement, cells: Cells, seed: int) -> None:
    """All of the data set, its expression strip by strip."""
    n_cells = frame.n_obs
    group = zarr.open_group(path, mode="w", zarr_format=2)  # every release of anndata reads it
    write_elem(group, "/", frame)
    strips = block_rows(n_cells, STRIP)
    X = group.create_array(
        "X",
        shape=(n_cells, model.n_genes),
        chunks=(strips[0].stop, model.n_genes),
        dtype="float32",
        compressors=None,  # sums of Gaussian noise hardly compress, and writing them plainly is what keeps the pace
        overwrite=True,
    )
    X.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})

    def write(strip: int) -> None:
        rows = strips[strip]
        X[rows] = measurement.measure(model.genes(cells.X2[rows]), np.random.default_rng([seed, strip, 1]))

    # The strips share the cores; threads within each product would wait for one another.
    with threadpool_limits(1), ThreadPoolExecutor(ZARR_WORKERS) as pool:
        for _ in pool.map(write, range(len(strips))):
            pass
