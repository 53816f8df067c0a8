"""The autoencoders that arXiv 2410.11468 embeds its simulations with, as an embedding model."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn

from cellprism.embed.base import (
    DEFAULT_LIBRARY,
    aligned,
    check_width,
    is_counts,
    library_size,
    matrix,
    split_modalities,
)
from cellprism.embed.files import read_model, write_model
from cellprism.embed.pca import log_normalise
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.progress import Steps

__all__ = ["Architecture", "AutoencoderModel", "layer_sizes"]

Shape = Literal["narrow", "wide"]
Transform = Literal["auto", "none", "log1p"]

_ENCODE_ROWS = 8_192


@numbers_checked
@dataclass(frozen=True)
class Architecture:
    """Layers of an autoencoder; its decoder mirrors its encoder."""

    n_genes: int
    """Inputs."""
    latent: int = 150
    """Dimensions of the embedding (20, 100, 150 or 1,000 in the paper)."""
    depth: int = 2
    """Linear layers of the encoder, and as many of the decoder (2, 4 or 6 in the paper; 1 is the small simulation's)."""
    shape: Shape = "narrow"
    """``narrow``: hidden layers of 150 or twice the latent, a first one of 1,000 from depth 4. ``wide``: hidden sizes
    evenly spaced between half the input and the latent."""
    dropout: float = 0.0
    """Share of hidden activations dropped in training."""

    def __post_init__(self) -> None:
        if self.shape not in ("narrow", "wide"):
            raise InputError("`shape` must be narrow or wide", repr(self.shape), "choose one of the two")


def layer_sizes(architecture: Architecture) -> list[int]:
    """Sizes from the genes to the latent, ``depth + 1`` numbers."""
    a = architecture
    if a.shape == "wide":
        hidden = [int(size) for size in np.linspace(max(a.n_genes // 2, a.latent), a.latent, a.depth)[: a.depth - 1]]
    else:
        hidden = [max(150, 2 * a.latent)] * (a.depth - 1)
        if a.depth >= 4:
            hidden[0] = 1_000
    return [a.n_genes, *hidden, a.latent]


class Autoencoder(nn.Module):
    """Encoder and mirrored decoder, with ReLU between layers and on the output, which expression never lies below.

    Expression is centred by gene and divided by one number inside, which only conditions the optimisation: any
    autoencoder of the plain values is one of these, with the same mean squared error.
    """

    centre: torch.Tensor
    scale: torch.Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        sizes = layer_sizes(architecture)
        self.encoder = _layers(sizes, architecture.dropout)
        self.decoder = _layers(sizes[::-1], architecture.dropout)
        self.register_buffer("centre", torch.zeros(architecture.n_genes))
        self.register_buffer("scale", torch.ones(()))

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(cells, genes) -> (cells, latent)."""
        return cast(torch.Tensor, self.encoder((x - self.centre) / self.scale))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """(cells, latent) -> (cells, genes)."""
        return torch.relu(self.decoder(z) * self.scale + self.centre)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(cells, genes) -> (cells, genes)."""
        return self.decode(self.encode(x))


def _layers(sizes: list[int], dropout: float) -> nn.Sequential:
    parts: list[nn.Module] = []
    for i, (before, after) in enumerate(pairwise(sizes)):
        if i:
            parts += [nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
        parts.append(nn.Linear(before, after))
    return nn.Sequential(*parts)


@dataclass(frozen=True, eq=False, repr=False)
class AutoencoderModel:
    """A trained autoencoder of expression under mean squared error."""

    gene_names: list[str]
    network: Autoencoder
    architecture: Architecture
    transform: Literal["none", "log1p"]
    """Whether expression goes in as it is or as log(1 + counts per 10,000)."""
    history: dict[str, list[float]] = field(default_factory=dict)
    """``train`` and ``validation``: mean squared error an epoch."""
    layer: str | None = None
    modality: str = "rna"

    name = "autoencoder"

    def __repr__(self) -> str:
        return f"AutoencoderModel({len(self.gene_names):,} genes in {self.architecture.latent} dimensions)"

    @property
    def modalities(self) -> tuple[str, ...]:
        """The one modality."""
        return (self.modality,)

    @property
    def genes(self) -> dict[str, list[str]]:
        """Gene names by modality."""
        return {self.modality: self.gene_names}

    @property
    def validation_loss(self) -> float:
        """Lowest mean squared error on the validation cells: that of the weights kept."""
        return min(self.history["validation"])

    @classmethod
    @numbers_checked
    def fit(
        cls,
        adata: Any,
        *,
        latent: int = 150,
        depth: int = 2,
        shape: Shape = "narrow",
        dropout: float = 0.0,
        lr: float = 1e-4,
        weight_decay: float = 0.0,
        batch_size: int = 128,
        epochs: int = 500,
        patience: int = 20,
        validation: float = 0.1,
        transform: Transform = "auto",
        layer: str | None = None,
        modality: str = "rna",
        device: str = "cpu",
        seed: int = 0,
        progress: bool = False,
    ) -> AutoencoderModel:
        """Train with Adam and keep the weights of the lowest validation error.

        Parameters
        ----------
        adata
            Cells: AnnData or MuData.
        latent, depth, shape, dropout
            See :class:`Architecture`.
        lr, weight_decay, batch_size, epochs, patience
            The published best settings are the defaults; ``patience`` counts epochs without a lower validation error.
        validation
            Share of the cells kept for early stopping.
        transform
            ``none``: expression as it is, as in the paper; ``log1p``: log of counts per 10,000; ``auto``: the latter
            for raw counts.
        layer, modality
            Where the expression lies.
        device
            Of torch.
        seed
            Of the start, the validation cells and the batches.
        progress
            Show a bar.

        Raises
        ------
        InputError
            If an option is out of range.
        FloatingPointError
            If training diverges.
        """
        part = _part(adata, modality)
        raw = matrix(part, layer)
        if transform == "auto":
            transform = "log1p" if is_counts(raw) else "none"
        X = _prepared(raw, transform)
        n_held = max(1, round(validation * len(X)))
        if len(X) - n_held < 2:
            raise InputError("training needs two cells or more", f"{len(X)} cells in all", "give more cells")
        order = np.random.default_rng(seed).permutation(len(X))
        architecture = Architecture(X.shape[1], latent, depth, shape, dropout)
        with torch.random.fork_rng():  # layers start and drop out from torch's global state: put it back afterwards
            torch.manual_seed(seed)
            network = Autoencoder(architecture)
            train = X[order[n_held:]]
            network.centre.copy_(torch.from_numpy(train.mean(axis=0)))
            network.scale.copy_(torch.tensor(max(float(train.std(axis=0).mean()), 1e-6)))
            history = _train(
                network.to(device),
                torch.from_numpy(train).to(device),
                torch.from_numpy(X[order[:n_held]]).to(device),
                torch.optim.Adam(network.parameters(), lr=lr, weight_decay=weight_decay),
                batch_size,
                epochs,
                patience,
                progress,
            )
        return cls(
            gene_names=[str(g) for g in part.var_names],
            network=network.to("cpu").eval(),
            architecture=architecture,
            transform=transform,
            history=history,
            layer=layer,
            modality=modality,
        )

    @torch.no_grad()
    def encode(self, adata: Any) -> NDArray[np.float32]:
        """Embed cells, (cells, latent) float32; genes are found by name."""
        X = self._expression(adata)
        blocks = [
            self.network.encode(torch.from_numpy(_prepared(X[i : i + _ENCODE_ROWS], self.transform))).numpy()
            for i in range(0, X.shape[0], _ENCODE_ROWS)
        ]
        return np.concatenate(blocks) if blocks else np.empty((0, self.architecture.latent), np.float32)

    @torch.no_grad()
    def decode(self, Z: NDArray[Any], adata: Any = None) -> dict[str, NDArray[np.float32]]:
        """Expression at the points ``Z``, ``{modality: (cells, genes) float32}``.

        Trained on log-transformed counts, it is taken back through ``expm1`` to the library size of ``adata``'s cells,
        or to 10,000.
        """
        Z = check_width(Z, self.architecture.latent, None if adata is None else adata.n_obs)
        out: NDArray[np.float32] = self.network.decode(torch.from_numpy(Z)).numpy()
        if self.transform == "log1p":
            out = np.expm1(out)
            if adata is not None:
                out *= (library_size(self._expression(adata)) / DEFAULT_LIBRARY).astype(np.float32)[:, None]
        return {self.modality: out}

    def save(self, path: str | Path) -> None:
        """Write ``model.json`` and ``model.safetensors`` into ``path``."""
        settings = {k: getattr(self, k) for k in ("gene_names", "transform", "history", "layer", "modality")}
        arrays = {name: value.numpy() for name, value in self.network.state_dict().items()}
        write_model(path, self.name, settings | {"architecture": vars(self.architecture)}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> AutoencoderModel:
        """Read a model that :meth:`save` wrote."""
        settings, arrays = read_model(path, cls.name)
        architecture = Architecture(**settings.pop("architecture"))
        network = Autoencoder(architecture)
        network.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
        return cls(network=network.eval(), architecture=architecture, **settings)

    def _expression(self, adata: Any) -> Any:
        part = _part(adata, self.modality)
        if list(part.var_names) == self.gene_names:
            return matrix(part, self.layer)  # as it is: making dense expression sparse costs more than the encoding
        return aligned(part, self.gene_names, self.layer)


def _part(adata: Any, modality: str) -> Any:
    parts = split_modalities(adata)
    if not hasattr(adata, "mod"):
        return adata
    if modality not in parts:
        raise InputError("the modality must exist", f"{modality!r} among {list(parts)}", "name one of the modalities")
    return parts[modality]


def _prepared(X: Any, transform: str) -> NDArray[np.float32]:
    if transform == "log1p":
        X = log_normalise(X)
    dense: NDArray[np.float32] = np.asarray(X.toarray() if bool(sparse.issparse(X)) else X, dtype=np.float32, order="C")
    if not np.isfinite(dense).all():
        raise InputError("expression must be finite", "NaN or infinity", "drop these cells")
    return dense


def _train(
    network: Autoencoder,
    x: torch.Tensor,
    x_held: torch.Tensor,
    optimiser: torch.optim.Optimizer,
    batch_size: int,
    epochs: int,
    patience: int,
    progress: bool,
) -> dict[str, list[float]]:
    """Train until ``patience`` epochs pass without a lower validation error; leave the best weights in the network."""
    history: dict[str, list[float]] = {"train": [], "validation": []}
    best, since, kept = float("inf"), 0, {}
    with Steps("training the autoencoder", epochs, progress) as steps:
        for epoch in range(epochs):
            network.train()
            total = 0.0
            for rows in torch.split(torch.randperm(len(x), device=x.device), batch_size):
                optimiser.zero_grad(set_to_none=True)
                batch = x[rows]
                loss = nn.functional.mse_loss(network(batch), batch)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += float(loss.detach()) * len(rows)
            if not np.isfinite(total):
                raise FloatingPointError(f"the autoencoder diverged in epoch {epoch + 1}. Remedy: lower lr.")
            network.eval()
            with torch.no_grad():
                error = float(nn.functional.mse_loss(network(x_held), x_held))
            history["train"].append(total / len(x))
            history["validation"].append(error)
            steps.advance(f"validation error {error:.4g}")
            if error < best:
                best, since = error, 0
                kept = {name: value.clone() for name, value in network.state_dict().items()}
            else:
                since += 1
                if since >= patience:
                    break
    network.load_state_dict(kept)
    return history
