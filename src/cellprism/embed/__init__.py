"""Embedding models behind one protocol: `train` one by name, `load` one from its folder."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from cellprism.data.arrays import readable
from cellprism.embed.base import EmbeddingModel, is_counts, option_names
from cellprism.embed.files import read_settings
from cellprism.embed.thinned import Thinned, thinning
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["BATCH_AWARE", "MODELS", "EmbeddingModel", "dimensions", "is_counts", "load", "train"]

# Name -> module and class. The modules are imported on use: some need torch or an optional package.
# Each class has `fit(adata, *, seed, progress, **options)` and `load(path)` as class methods.
MODELS: dict[str, tuple[str, str]] = {
    "autoencoder": ("cellprism.embed.autoencoder", "AutoencoderModel"),
    "pca": ("cellprism.embed.pca", "PCAModel"),
    "dgd": ("cellprism.embed.dgd", "DGDModel"),
    "drvi": ("cellprism.embed.drvi", "DRVIModel"),
    "scvi": ("cellprism.embed.scvi", "SCVIModel"),
    "transformer": ("cellprism.embed.transformer", "TransformerModel"),
}

BATCH_AWARE = ("dgd", "drvi", "scvi")
"""Models that can be told a batch, as the option ``batch`` that names a column of ``obs``."""

_DIMENSIONS = {"pca": "n_components", "dgd": "latent", "drvi": "n_latent", "scvi": "n_latent", "autoencoder": "latent"}


@numbers_checked
def dimensions(name: str, d: int) -> dict[str, int]:
    """The option by which a model that is trained here is asked for ``d`` dimensions.

    Examples
    --------
    >>> prism.embed.dimensions("pca", 20)
    {'n_components': 20}
    """
    if name not in _DIMENSIONS:
        raise InputError(
            f"the dimensions of an embedding can be asked of {', '.join(_DIMENSIONS)}", repr(name), "leave them out"
        )
    return {_DIMENSIONS[name]: d}


def model_class(name: str) -> Any:
    """The class registered under ``name``."""
    if name not in MODELS:
        raise InputError(f"an embedding model must be one of {', '.join(MODELS)}", repr(name), "correct the name")
    module, cls = MODELS[name]
    return getattr(import_module(module), cls)


@numbers_checked
def train(name: str, adata: Any, *, seed: int = 0, progress: bool = False, **options: Any) -> EmbeddingModel:
    """Train an embedding model on cells.

    Parameters
    ----------
    name
        One of :data:`MODELS`.
    adata
        AnnData, or MuData for the models of several modalities, with raw counts.
    seed
        Of everything random in the training.
    progress
        Show a progress bar.
    **options
        Of the model's own ``fit``, such as ``n_components`` or ``layer``.

    Returns
    -------
    EmbeddingModel
        ``model.encode(adata)`` gives the embedding of these or other cells.

    Examples
    --------
    >>> model = prism.embed.train("pca", cells, n_components=8, seed=0)
    >>> model.encode(cells).shape == (cells.n_obs, 8)
    True
    """
    cls = model_class(name)
    if not hasattr(cls, "fit"):
        raise InputError(
            "a model to train must be one that is trained here", repr(name), f"open it with {cls.__name__}.open"
        )
    parameters = inspect.signature(cls.fit).parameters
    if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):  # such a fit checks its own further options
        option_names(options, [p for p in parameters if p not in {"adata", "genes", "seed", "progress"}], name)
    return cast(EmbeddingModel, cls.fit(adata, seed=seed, progress=progress, **options))


def load(path: str | Path) -> EmbeddingModel:
    """Read any saved embedding model from its folder, or a folder that scvi-tools wrote (``model.pt``).

    The model of a run that split counts sees a part of the molecules of any cell, see :mod:`cellprism.embed.thinned`.

    Examples
    --------
    >>> prism.embed.load("my_scvi").encode(cells).shape == X.shape
    True
    """
    if (Path(path) / "model.pt").is_file() and not (Path(path) / "model.json").is_file():
        return cast(EmbeddingModel, model_class("scvi").open(path))  # a folder that scvi-tools itself wrote
    name, _ = read_settings(path)
    cls = model_class(name)
    with readable(Path(path), "a saved embedding model must be readable", "copy or save the model again"):
        model = cast(EmbeddingModel, cls.load(path))
        seen = thinning(path)
    return model if seen is None else Thinned(model, *seen)
