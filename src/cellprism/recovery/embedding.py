"""The embeddings that a benchmark or a sweep stands on, trained on the cells that are not held out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from cellprism.errors import InputError

if TYPE_CHECKING:
    from cellprism.recovery.presets import Preset

__all__ = ["Embedded", "EmbeddingName", "embed"]

EmbeddingName = Literal["autoencoder", "pca", "scvi"]


class Embedded(NamedTuple):
    """Embedding of all cells of a simulation."""

    Z: NDArray[np.float32]
    """(cells, d)."""
    note: str
    """What it is and how well it fits, in a few words."""


def embed(
    adata: AnnData,
    preset: Preset,
    name: str = "autoencoder",
    *,
    seed: int = 0,
    folder: Path | None = None,
) -> Embedded:
    """Embed simulated cells with a model of the training cells.

    Parameters
    ----------
    adata
        A simulation with ``obs["split"]``.
    preset
        Sizes and options of the autoencoder; its ``latent`` holds for every model.
    name
        ``autoencoder``, ``pca`` or ``scvi``.
    seed
        Of the training.
    folder
        Where the trained autoencoder is kept, and taken from where it is there already.

    Returns
    -------
    The embedding of all cells, held-out ones too.

    Raises
    ------
    InputError
        If the name is unknown, scvi-tools is missing, or scVI is asked to model values that are not counts.

    Notes
    -----
    Expression goes in as it is, as in arXiv 2410.11468; where cells have a library size it is log-normalised first,
    since the size would otherwise be the embedding's first axis.
    """
    from cellprism.embed.base import is_counts

    if name not in get_args(EmbeddingName):
        raise InputError(
            "an embedding must be one of " + ", ".join(get_args(EmbeddingName)), repr(name), "correct the name"
        )
    train = adata[(adata.obs["split"] == "train").to_numpy()]
    options: dict[str, Any] = dict(preset.autoencoder)
    latent = options["latent"]
    if name == "scvi":
        if not is_counts(adata.X):
            raise InputError(
                "scVI models counts", "noise-free expression", "simulate with sampling noise: `noise='poisson'`, or nb"
            )
        from cellprism.embed.scvi import SCVIModel

        return Embedded(
            SCVIModel.fit(train, n_latent=latent, batch="batch" if "batch" in adata.obs else None, seed=seed).encode(
                adata
            ),
            f"scVI, {latent} dimensions",
        )
    log = _has_library_size(adata.uns.get("simulation", {}))
    if name == "pca":
        return _pca(adata, train, latent, seed, log=log)
    from cellprism.embed.autoencoder import AutoencoderModel

    if folder is not None and (folder / "model.json").is_file():
        model = AutoencoderModel.load(folder)
    else:
        # A full batch stays one where fewer cells are asked for.
        options["batch_size"] = min(options["batch_size"], adata.n_obs)
        model = AutoencoderModel.fit(train, transform="log1p" if log else "none", seed=seed, **options)
        if folder is not None:
            model.save(folder)
    return Embedded(
        model.encode(adata), f"autoencoder, {latent} dimensions, validation error {model.validation_loss:.4g}"
    )


def _has_library_size(simulation: Mapping[str, Any]) -> bool:
    return "library_size" in simulation.get("measurement", {})


def _pca(adata: AnnData, train: AnnData, latent: int, seed: int, *, log: bool) -> Embedded:
    from sklearn.decomposition import PCA

    from cellprism.embed.pca import PCAModel

    if log:
        model = PCAModel.fit(train, n_components=latent, seed=seed)
        share = float(model.explained.sum())
        Z = model.encode(adata)
    else:  # the model above takes counts and log-expression; the published expression is neither
        plain = PCA(latent, random_state=seed).fit(_dense(train.X))
        share = float(plain.explained_variance_ratio_.sum())
        Z = plain.transform(_dense(adata.X)).astype(np.float32)
    return Embedded(Z, f"{latent} principal components, {100 * share:.0f} % of the variance")


def _dense(X: Any) -> NDArray[np.float32]:
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float32)
