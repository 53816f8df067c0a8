"""Cells that the figures of real data are drawn from: any counts with labels, or the paper's own public data."""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from numpy.typing import NDArray

import cellprism as prism
from cellprism.data.embedding import align, read_embedding
from cellprism.data.read import read_cells
from cellprism.embed.base import split_modalities
from cellprism.embed.dgd_checkpoint import by_modality, read_hyperparameters, read_multidgd
from cellprism.errors import InputError

CACHE = Path(tempfile.gettempdir()) / "cellprism-paper"
"""Trained dictionaries: several figures share them, and a stopped one goes on."""
SEEDS = (0, 42, 9307)  # the paper's
SIZES = {"quick": (500, 60), "full": (10_000, 500)}  # width and epochs; full is the paper's


@dataclass(frozen=True)
class Public:
    """One of the paper's data sets, as :mod:`cellprism.datasets` knows it."""

    cells: str
    labels: tuple[str, ...]
    """Columns of cell types, as the authors' code names them: the first that is there is taken."""
    source: str | None = None
    target: str | None = None
    """The types of the paper's steering."""


PUBLIC = {
    "bone-marrow": Public("human_bonemarrow", ("cell_type",), "Proerythroblast", "Normoblast"),
    "brain": Public("human_brain", ("celltype", "atac_celltype")),
    "gastrulation": Public("mouse_gastrulation", ("celltype",)),
}


@dataclass(eq=False)
class Given:
    """Cells, what type each is of, and two embeddings of them."""

    cells: ad.AnnData
    """Depth-normalised log1p RNA."""
    labels: NDArray[np.str_]
    model: Any
    """That made the first embedding, and decodes it."""
    Z: NDArray[np.float32]
    make_other: Callable[[], NDArray[np.float32]]
    names: tuple[str, str]
    """Of the two embeddings."""
    sets: dict[str, list[str]]
    symbols: list[str]
    source: str | None = None
    target: str | None = None

    @cached_property
    def other(self) -> NDArray[np.float32]:
        """The second embedding, made when it is asked for."""
        return self.make_other()

    def paper_sae(self, preset: str, seed: int, *, other: bool = False) -> prism.SAE:
        """The paper's SAE on the first embedding or the other."""
        width, epochs = SIZES[preset]
        config = prism.SAEConfig.paper("relu", width, l1=1e-3)
        how = {"epochs": epochs, "batch_size": 128, "lr": 1e-4, "holdout": 0, "patience": None}
        return _trained(self.other if other else self.Z, config, seed, **how)

    def default_sae(self, seed: int) -> prism.SAE:
        """What :func:`cellprism.fit` gives by default."""
        return _trained(self.Z, None, seed)


def _trained(Z: NDArray[np.float32], config: prism.SAEConfig | None, seed: int, **how: Any) -> prism.SAE:
    about = repr((prism.__version__, config, seed, sorted(how.items()))).encode()
    kept = CACHE / hashlib.sha256(np.ascontiguousarray(Z).tobytes() + about).hexdigest()[:16]
    if not kept.is_dir():
        prism.fit(Z, config, seed=seed, **how).sae.save(kept)
    return prism.load(kept)


def _autoencoder(counts: ad.AnnData, preset: str) -> Any:
    how: dict[str, Any] = {"lr": 2e-3, "epochs": 12} if preset == "quick" else {}
    about = repr(
        (prism.__version__, sorted(how.items()), list(counts.obs_names), list(counts.var_names), float(counts.X.sum()))
    ).encode()
    kept = CACHE / f"autoencoder-{hashlib.sha256(about).hexdigest()[:16]}"
    if not kept.is_dir():
        prism.embed.train("autoencoder", counts, latent=20, seed=0, **how).save(kept)
    return prism.embed.load(kept)


def open_cells(asked: argparse.Namespace) -> Given:
    """What the command line names: ``--data`` one of the paper's sets, or ``--cells`` with ``--labels``."""
    sets = prism.genesets.load(asked.sets or "bundled")
    if asked.data:
        return public(asked, sets)
    if not (asked.cells and asked.labels):
        raise SystemExit("figures of real cells need --cells with --labels, or --data with one of the paper's sets")
    cells = ad.read_h5ad(asked.cells)
    cells.X = cells.X.astype(np.float32)
    model = prism.embed.train("pca", cells, n_components=20)
    Z = model.encode(cells)
    counts = cells.copy()
    return Given(
        cells=_logged(cells), labels=cells.obs[asked.labels].astype(str).to_numpy(), model=model, Z=Z,
        make_other=lambda: _autoencoder(counts, asked.preset).encode(counts),
        names=("principal components", "autoencoder"), sets=sets, symbols=_symbols(cells, asked.symbols),
        source=asked.source, target=asked.target,
    )  # fmt: skip


def public(asked: argparse.Namespace, sets: dict[str, list[str]]) -> Given:
    """Training cells of one of the paper's sets: multiDGD's published representations, and Geneformer's from a file."""
    known = PUBLIC[asked.data]
    data = read_cells(asked.cells) if asked.cells else prism.datasets.load(known.cells)
    weights, settings = asked.weights, asked.settings
    if weights is None:
        weights, settings = prism.datasets.fetch(f"{known.cells}_model")
    layer = "counts" if "counts" in (getattr(data, "layers", None) or ()) else None  # a MuData has none
    model = read_multidgd(weights, data, settings=settings, layer=layer)
    train = (data.obs["train_val_test"] == "train").to_numpy()
    parts = split_modalities(data)
    about = read_hyperparameters(Path(weights), settings)
    if len(parts) == 1:
        parts = by_modality(data, about)
    rna = parts[next(iter(model.genes))]
    columns = [asked.labels] if asked.labels else list(known.labels)
    labels = _types(data, rna, columns)[train]
    cells = rna[train].copy()
    if layer:
        cells.X = cells.layers[layer]
    cells.X = cells.X.astype(np.float32)
    Z = pd.DataFrame(model.z, index=model.cells).loc[cells.obs_names].to_numpy(np.float32)
    return Given(
        cells=_logged(cells), labels=labels, model=model, Z=Z,
        make_other=lambda: geneformer(asked.geneformer, data.obs_names, _types(data, rna, columns))[train],
        names=("multiDGD", "Geneformer"), sets=sets, symbols=_symbols(cells, asked.symbols),
        source=asked.source or known.source, target=asked.target or known.target,
    )  # fmt: skip


def geneformer(path: Path | None, names: pd.Index, types: NDArray[np.str_]) -> NDArray[np.float32]:
    """Cell embeddings as Geneformer's ``EmbExtractor`` writes them: a CSV with the asked labels in its last columns.

    Its rows are sorted by length of the cells and have numbers for names, so the cells' names must be among the labels;
    without them the rows are taken in the order of the cells only where the types agree, each for each.
    """
    remedy = "keep the cells' names: custom_attr_name_dict={'cell': 'cell'} when tokenising, emb_label=['cell']"
    if path is None:
        raise InputError(
            "the second embedding is Geneformer's, of the same cells", "no file", "give it by --geneformer"
        )
    if path.suffix != ".csv":
        return np.asarray(align(read_embedding(path), names), dtype=np.float32)
    table = pd.read_csv(path, index_col=0)
    text = table.select_dtypes(exclude="number")
    Z = table.drop(columns=text.columns)
    for column in [table.index.to_series(), *(text[c] for c in text)]:
        found = pd.Index(column.astype(str))
        if found.is_unique and names.isin(found).all():
            return Z.set_axis(found).loc[names].to_numpy(np.float32)
    agree = len(table) == len(names) and any((text[c].astype(str).to_numpy() == types).all() for c in text)
    if not agree:
        raise InputError("rows of Geneformer's table are joined with the cells by name", f"{path.name} without", remedy)
    return Z.to_numpy(np.float32)


def _types(data: Any, rna: ad.AnnData, columns: list[str]) -> NDArray[np.str_]:
    for column in columns:
        for obs in (data.obs, rna.obs):
            if column in obs:
                return obs[column].astype(str).to_numpy()
    raise InputError(
        "the cells must have their types", f"none of {', '.join(columns)} in obs", "name the column by --labels"
    )


def _symbols(cells: ad.AnnData, column: str | None) -> list[str]:
    """Human symbols: a column of ``var``, or the names in capitals (the orthologs of most mouse genes)."""
    return list((cells.var[column] if column else cells.var_names.to_series()).astype(str).str.upper())


def _logged(cells: ad.AnnData) -> ad.AnnData:
    sc.pp.normalize_total(cells, target_sum=1e4)
    sc.pp.log1p(cells)
    return cells
