"""Baselines from optional packages: LDVAE (scvi-tools) and consensus NMF (cnmf)."""

from __future__ import annotations

import io
import tempfile
import warnings
from contextlib import redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.decomposition import non_negative_factorization

from cellprism.errors import InputError
from cellprism.recovery.task import Task

__all__ = ["cnmf", "ldvae"]


def ldvae(task: Task, seed: int, *, latent: int = 100, epochs: int = 50) -> NDArray[np.float32]:
    """Linearly decoded VAE (Svensson et al., Bioinformatics 2020): scvi-tools' LinearSCVI on rounded expression.

    Raises
    ------
    InputError
        If scvi-tools is not installed.
    """
    _needs("scvi", "ldvae", "scvi-tools (the [scvi] extra)")
    scvi: Any = import_module("scvi")

    train, held = (_rounded(task, rows) for rows in (~task.held_out, task.held_out))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own deprecations
        scvi.settings.seed = seed
        scvi.model.LinearSCVI.setup_anndata(train)
        model = scvi.model.LinearSCVI(train, n_latent=min(latent, train.n_vars))
        model.train(max_epochs=epochs, accelerator="cpu", enable_progress_bar=False, logger=False)
        return np.asarray(model.get_latent_representation(held), dtype=np.float32)


def cnmf(
    task: Task, seed: int, *, components: int = 100, runs: int = 10, genes: int = 2_000, threshold: float = 0.5
) -> NDArray[np.float32]:
    """Consensus NMF (Kotliar et al., eLife 2019): programs agreed on by many runs, refitted to the held-out cells.

    Raises
    ------
    InputError
        If the cnmf package is not installed.
    """
    _needs("cnmf", "cnmf", "the package cnmf")
    cNMF = import_module("cnmf").cNMF

    every = _rounded(task, ~task.held_out)
    counts = np.asarray(every.X)
    # The package divides by totals and by spreads: empty cells and constant genes would become NaN.
    train = every[counts.sum(axis=1) > 0, counts.std(axis=0) > 0].copy()
    components = min(components, train.n_vars)
    with redirect_stdout(io.StringIO()), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own deprecations
        source = Path(folder) / "train.h5ad"
        train.write_h5ad(source)
        run = cNMF(output_dir=folder, name="run")
        run.prepare(
            counts_fn=str(source),
            components=[components],
            n_iter=runs,
            seed=seed,
            num_highvar_genes=min(genes, train.n_vars),
        )
        run.factorize(worker_i=0, total_workers=1)
        run.combine()
        run.consensus(k=components, density_threshold=threshold, show_clustering=False)
        spectra = run.load_results(K=components, density_threshold=threshold)[2]
    programs = _by_gene(spectra, every.var_names)
    held = np.maximum(task.dense(task.held_out), 0).astype(np.float64)
    usage, _, _ = non_negative_factorization(
        held, H=programs, n_components=len(programs), update_H=False, init=None, solver="mu", max_iter=200
    )
    return np.asarray(usage, dtype=np.float32)


def _by_gene(spectra: pd.DataFrame, genes: pd.Index[Any]) -> NDArray[np.float64]:
    """Programs (components, genes) in the order of the cells' genes, whichever way the package turns its table."""
    table = spectra if set(spectra.columns) <= set(genes) else spectra.T
    spectra_by_gene: NDArray[np.float64] = table.reindex(columns=genes, fill_value=0).to_numpy(dtype=np.float64)
    return np.maximum(spectra_by_gene, 1e-12)


def _rounded(task: Task, rows: NDArray[np.bool_]) -> AnnData:
    """Counts as these packages ask for: expression rounded, without empty cells' names in common."""
    counts = np.rint(np.maximum(task.dense(rows), 0))
    obs = pd.DataFrame(index=[f"cell{i}" for i in np.flatnonzero(rows)])
    return AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"gene{g}" for g in range(counts.shape[1])]))


def _needs(module: str, method: str, package: str) -> None:
    if find_spec(module) is None:
        raise InputError(
            f"method {method!r} needs an optional package",
            f"no {package}",
            "pip install 'cellprism[bench]', or leave the method out",
        )
