from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from mudata import MuData, set_options
from numpy.typing import NDArray
from scipy import sparse

from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.simulate.measurement import Measurement, peak_counts
from cellprism.simulate.process import BLOCK, Cells, LargeProcess
from cellprism.simulate.small import split_column

__all__ = ["STRIP", "block_rows", "describe", "draw_cells", "large", "multiome", "observations"]

STRIP = 100
"""Cells measured from one random stream, and cells in a chunk on disk: small enough for the allocator to use its memory
again, where fresh pages for every block would cost more than the arithmetic."""

SPARSE_BELOW = 0.3
"""Share of non-zero entries under which counts are kept as CSR; above it CSR takes more room than it saves."""


@numbers_checked
def large(
    n_cells: int = 10_000,
    n_genes: int = 20_000,
    n_programs: int = 100,
    n_cell_types: int = 40,
    n_covariates: int = 3,
    p_program_gene: float = 0.1,
    p_type_program: float | None = None,
    seed: int = 0,
    structure_seed: int = 0,
    *,
    held_out: int | None = None,
    measurement: Measurement | None = None,
    **process: Any,
) -> AnnData:
    """Simulate cells of many types whose programs, batches and types are known.

    Parameters
    ----------
    n_cells, n_genes, n_programs, n_cell_types, n_covariates
        Sizes; the defaults are one data set of the paper.
    p_program_gene, p_type_program
        Densities of the two adjacencies; ``p_type_program=None`` means 0.3, or 0.7 with one covariate.
    seed
        Seed of the cells. Cell i is the same whatever ``n_cells`` is.
    structure_seed
        Seed of the adjacencies, which data sets of different ``seed`` share.
    held_out
        How many cells, the last ones, are marked ``held_out`` in ``obs["split"]``; None: a tenth, at most 2,000.
    measurement
        Sampling noise, library size and dropout; None: X is the published, noise-free expression.
    process
        ``batch_sd``, ``program_correlation``, ``n_modules``, ``continuous`` of
        :class:`~cellprism.simulate.LargeProcess`.

    Returns
    -------
    ``X``: counts (cells, genes) float32, CSR where under 30 % are non-zero, dense else; ``layers["Y"]``: the noise-free
    expression where X is not it. ``obsm["X2_truth"]``, ``["X1_truth"]``, ``["X0_truth"]``: program activities (cells,
    programs) expressed, with the batch noise, and before it. ``obs``: ``cell_type`` (level A), ``batch`` (level B),
    ``split``; with ``continuous`` also ``branch`` and ``pseudotime``. ``varm["program_gene"]``: (genes, programs).
    ``uns["simulation"]``: the arguments, ``type_program`` (types, programs), ``programs`` (a row a program), and
    ``branches`` (edges between types) with ``continuous``.

    Raises
    ------
    InputError
        If a size, a probability or the split cannot be met.

    References
    ----------
    Schuster, arXiv 2410.11468, "large simulation".

    Examples
    --------
    >>> cells = prism.simulate.large(300, 50, held_out=50, seed=0)
    >>> cells.shape, cells.obsm["X2_truth"].shape[0]
    ((300, 50), 300)
    """
    model = LargeProcess(
        n_genes=n_genes,
        n_programs=n_programs,
        n_cell_types=n_cell_types,
        n_covariates=n_covariates,
        p_program_gene=p_program_gene,
        p_type_program=p_type_program,
        structure_seed=structure_seed,
        **process,
    )
    cells = draw_cells(model, n_cells, seed)
    measurement = measurement or Measurement()
    X = np.empty((n_cells, n_genes), dtype=np.float32)
    Y = X if measurement.exact else np.empty_like(X)
    for strip, rows in enumerate(block_rows(n_cells, STRIP)):
        Y[rows] = model.genes(cells.X2[rows])
        X[rows] = measurement.measure(Y[rows], np.random.default_rng([seed, strip, 1]))
    return AnnData(
        X=_fitting(X),
        layers={} if measurement.exact else {"Y": Y},
        obs=observations(model, cells, held_out),
        var=pd.DataFrame(index=[f"gene{g}" for g in range(n_genes)]),
        obsm={"X2_truth": cells.X2, "X1_truth": cells.X1, "X0_truth": cells.X0},
        varm={"program_gene": model.program_gene.T.astype(np.uint8)},
        uns={"simulation": describe(model, measurement, seed)},
    )


@numbers_checked
def multiome(
    n_cells: int = 10_000,
    n_genes: int = 2_000,
    n_peaks: int = 5_000,
    *,
    p_program_peak: float = 0.02,
    closed: float = 0.02,
    gain: float = 0.25,
    seed: int = 0,
    **options: Any,
) -> MuData:
    """Simulate a second, ATAC-like modality beside the genes, driven by the same programs.

    Parameters
    ----------
    n_cells, n_genes, n_peaks
        Sizes.
    p_program_peak
        Probability that a program opens a peak.
    closed, gain
        See :func:`~cellprism.simulate.measurement.peak_counts`.
    seed
        Seed of the cells; the genes are those of :func:`large` with the same arguments.
    options
        Everything else that :func:`large` takes.

    Returns
    -------
    Modalities ``rna`` (as :func:`large` returns it, with the truth) and ``atac`` (counts 0-2, CSR, with
    ``varm["program_peak"]``).

    Raises
    ------
    InputError
        As :func:`large`; also if ``n_peaks`` or a probability cannot be met.

    Examples
    --------
    >>> prism.simulate.multiome(300, 50, 80, held_out=50, seed=0)["atac"].shape
    (300, 80)
    """
    rna = large(n_cells, n_genes, seed=seed, **options)
    programs = rna.uns["simulation"]["programs"]
    structure = np.random.default_rng([rna.uns["simulation"]["structure_seed"], 4])
    program_peak = structure.random((len(programs), n_peaks)) < p_program_peak
    rates = programs["rate"].to_numpy()
    blocks = [
        sparse.csr_matrix(
            peak_counts(
                rna.obsm["X2_truth"][rows],
                program_peak,
                rates,
                np.random.default_rng([seed, block, 2]),
                closed=closed,
                gain=gain,
            )
        )
        for block, rows in enumerate(block_rows(n_cells))
    ]
    atac = AnnData(
        X=sparse.vstack(blocks, format="csr"),
        obs=rna.obs.copy(),
        var=pd.DataFrame(index=[f"peak{p}" for p in range(n_peaks)]),
        varm={"program_peak": program_peak.T.astype(np.uint8)},
    )
    with set_options(pull_on_update=False):  # the coming default of mudata: each modality keeps its own columns
        return MuData({"rna": rna, "atac": atac})


def block_rows(n_cells: int, size: int = BLOCK) -> list[slice]:
    """Cut cells into the parts of one random stream each."""
    return [slice(start, min(start + size, n_cells)) for start in range(0, n_cells, size)]


def draw_cells(model: LargeProcess, n_cells: int, seed: int) -> Cells:
    """Draw the hidden variables of all cells."""
    blocks = [model.draw(r.stop - r.start, seed, block) for block, r in enumerate(block_rows(n_cells))]
    return Cells(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def observations(model: LargeProcess, cells: Cells, held_out: int | None) -> pd.DataFrame:
    """Gather ``obs``: cell type, batch, split, and branch and pseudotime where differentiation is continuous."""
    n = len(cells.batch)
    held_out = min(2_000, n // 10) if held_out is None else held_out
    if held_out >= n:
        raise InputError("`held_out` must leave a training cell", f"{held_out} of {n}", "hold out fewer cells")
    obs = pd.DataFrame(
        {
            "cell_type": _categories(cells.cell_type, "type", model.n_cell_types),
            "batch": _categories(cells.batch, "batch", model.n_covariates),
            "split": split_column(n, held_out),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    if model.continuous:
        obs["branch"] = _categories(cells.branch, "branch", len(model.branches))
        obs["pseudotime"] = cells.pseudotime
    return obs


def describe(model: LargeProcess, measurement: Measurement, seed: int) -> dict[str, Any]:
    """Gather ``uns["simulation"]``: all that is needed to draw the data again, and the structure it was drawn from."""
    arguments = {key: value for key, value in asdict(model).items() if value is not None}
    measured = {key: value for key, value in asdict(measurement).items() if value is not None}
    out = {"kind": "large", "seed": int(seed), **arguments, "measurement": measured}
    out["p_type_program"] = model.type_density
    out["type_program"] = model.type_program.astype(np.uint8)
    out["programs"] = model.programs()
    if model.continuous:
        out["branches"] = model.branches
    return out


def _categories(codes: NDArray[np.intp], prefix: str, n: int) -> pd.Categorical[str]:
    return pd.Categorical([f"{prefix}{i}" for i in codes], categories=[f"{prefix}{i}" for i in range(n)])


def _fitting(X: NDArray[np.float32]) -> NDArray[np.float32] | sparse.csr_matrix:
    return sparse.csr_matrix(X) if np.count_nonzero(X) < SPARSE_BELOW * X.size else X
