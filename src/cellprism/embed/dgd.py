"""Deep generative decoder (multiDGD): a generative model of multi-omics counts without an encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from cellprism.data.missing import groups
from cellprism.embed.base import (
    DEFAULT_LIBRARY,
    aligned,
    check_width,
    is_counts,
    library_size,
    split_modalities,
    without_zeros,
)
from cellprism.embed.dgd_config import DGDConfig
from cellprism.embed.dgd_embed import embed_cells, pca_start
from cellprism.embed.dgd_likelihood import constant, counts_batch
from cellprism.embed.dgd_net import DGDNet
from cellprism.embed.dgd_train import TrainOptions, train
from cellprism.embed.files import read_model, write_model
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked

__all__ = ["DGDModel"]

CHUNK = 2**24  # decoded values held at a time


class DGDModel:
    """Trained deep generative decoder.

    Each cell has a representation z, a parameter found by maximum a posteriori under a Gaussian-mixture prior; a
    decoder with one head a modality gives each feature's share of the cell's counts, which are negative-binomial with
    a learned dispersion a feature. A covariate (batch) has a second small representation. Source: Schuster et al.,
    multiDGD, Nature Communications 15:10031 (2024); Schuster & Krogh, arXiv 2110.06672.

    Parameters
    ----------
    net
        Decoder and priors.
    genes
        Feature names by modality.
    cells
        Names of the training cells.
    totals
        (cells, modalities) their library sizes: together with the name they tell a training cell again.
    z, c
        Their representations.
    covariate, categories
        Name of the ``obs`` column and its categories; None and empty without.
    layer
        Where the counts lie.
    history
        A dict an epoch.
    """

    name = "dgd"

    def __init__(
        self,
        net: DGDNet,
        genes: Mapping[str, Sequence[str]],
        cells: Sequence[str],
        totals: NDArray[Any],
        z: NDArray[np.float32],
        c: NDArray[np.float32] | None,
        *,
        covariate: str | None = None,
        categories: Sequence[str] = (),
        reference: int = 0,
        layer: str | None = None,
        history: Sequence[Mapping[str, float]] = (),
    ) -> None:
        self.net = net.eval()
        self.genes = {m: list(g) for m, g in genes.items()}
        self.cells, self.totals, self.z, self.c = list(cells), np.asarray(totals, np.float64), z, c
        self.covariate, self.categories, self.reference = covariate, list(categories), reference
        self.layer, self.history = layer, [dict(h) for h in history]

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities, in the order of the decoder's heads."""
        return tuple(self.genes)

    @property
    def d(self) -> int:
        """Dimension of the embedding."""
        return self.net.config.latent

    @classmethod
    @numbers_checked
    def fit(
        cls,
        adata: Any,
        *,
        latent: int = 20,
        n_components: int = 10,
        batch: str | None = None,
        layer: str | None = None,
        config: DGDConfig | None = None,
        start: str = "pca",
        seed: int = 0,
        device: str = "auto",
        progress: bool = False,
        **training: Any,
    ) -> DGDModel:
        """Train on raw counts.

        Parameters
        ----------
        adata
            AnnData (one modality, named ``rna``) or MuData with raw counts in every modality.
        latent, n_components
            Of :class:`DGDConfig`, for convenience.
        batch
            Column of ``obs`` with the covariate to be held apart.
        layer
            Of each modality; None = ``X``.
        config
            All settings of the architecture; overrides ``latent`` and ``n_components``.
        start
            ``pca`` places the cells at scaled principal components, ``zero`` at the origin as multiDGD does.
        seed
            Of everything random.
        device
            ``auto`` takes a GPU where there is one.
        progress
            Show a progress bar.
        **training
            Fields of :class:`cellprism.embed.dgd_train.TrainOptions`.
        """
        unknown = sorted(set(training) - set(TrainOptions.__dataclass_fields__))
        if unknown:
            raise InputError(
                f"training options must be among {', '.join(TrainOptions.__dataclass_fields__)}",
                ", ".join(unknown),
                "correct the name",
            )
        if start not in {"pca", "zero"}:
            raise InputError("`start` must be pca or zero", repr(start), "correct it")
        options = TrainOptions(**training)
        config = DGDConfig(latent=latent, n_components=n_components) if config is None else config
        parts = split_modalities(adata)
        genes = {m: [str(g) for g in p.var_names] for m, p in parts.items()}
        data = counts_of(parts, genes, layer)
        labels, categories, reference = None, list[str](), 0
        if batch is not None:
            values = column(adata, batch)
            found, labels, sizes = np.unique(values, return_inverse=True, return_counts=True)
            categories, reference = [str(v) for v in found], int(sizes.argmax())
        where = torch.device(pick_device(device))
        net = DGDNet({m: len(g) for m, g in genes.items()}, len(categories), config, seed).to(where)
        n = adata.n_obs
        z = np.zeros((n, config.latent), np.float32)
        if start == "pca":
            z = pca_start(data, config.latent, config.radius, seed)
            place_components(net, z, seed)
        c = None
        if net.batch_prior is not None and labels is not None:
            c = net.batch_prior.mean.detach()[torch.as_tensor(labels, device=where)]
        z_end, c_end, history = train(
            net, data, labels, torch.as_tensor(z, device=where), c, options, seed=seed, progress=progress
        )
        return cls(
            net.cpu(),
            genes,
            [str(n) for n in adata.obs_names],
            np.stack([library_size(X) for X in data], 1),
            z_end.cpu().numpy(),
            None if c_end is None else c_end.cpu().numpy(),
            covariate=batch,
            categories=categories,
            reference=reference,
            layer=layer,
            history=history,
        )

    def encode(self, adata: Any, *, steps: int = 150) -> NDArray[np.float32]:
        """Representations of cells, (cells, d) float32.

        Training cells (told by name and library sizes) get the representation that was trained; others one found by
        optimisation with the model frozen, which is deterministic.
        """
        parts = self._parts(adata)
        data = counts_of(parts, self.genes, self.layer)
        totals = np.stack([library_size(X) for X in data], 1)
        at = dict(zip(self.cells, range(len(self.cells)), strict=True))
        row = np.asarray([at.get(str(n), -1) for n in adata.obs_names])
        known = (
            (row >= 0) & (np.abs(self.totals[row] - totals) < 0.5).all(1) if self.cells else np.zeros(len(row), bool)
        )
        out = np.empty((len(row), self.d), np.float32)
        out[known] = self.z[row[known]]
        if not known.all():
            new = np.flatnonzero(~known)
            batch = self._batch(adata, strict=False)
            z, _ = embed_cells(
                self.net,
                [X[new] for X in data],
                None if batch is None else batch[new],
                self._candidates(),
                steps=steps,
            )
            out[new] = z.numpy()
        return out

    @torch.no_grad()
    def decode(self, Z: NDArray[Any], adata: Any = None) -> dict[str, NDArray[np.float32]]:
        """Expected counts at the points ``Z``, ``{modality: (cells, features) float32}``.

        Parameters
        ----------
        Z
            (cells, d).
        adata
            The cells' library sizes and batch; None = 10,000 counts a modality and the training's commonest batch.

        Raises
        ------
        InputError
            For a batch the model was not trained on.
        """
        Z = check_width(Z, self.d, None if adata is None else adata.n_obs)
        if adata is None:
            totals = np.full((len(Z), len(self.genes)), DEFAULT_LIBRARY)
            batch = np.full(len(Z), self.reference) if self.covariate else None
        else:
            parts = self._parts(adata)
            totals = np.stack([library_size(aligned(parts[m], g, self.layer)) for m, g in self.genes.items()], 1)
            batch = self._batch(adata, strict=True)
        out = {m: np.empty((len(Z), len(g)), np.float32) for m, g in self.genes.items()}
        rows = max(1, CHUNK // sum(map(len, self.genes.values())))
        for begin in range(0, len(Z), rows):
            part = slice(begin, begin + rows)
            logits = self.net.logits(torch.as_tensor(Z[part]), self._where(None if batch is None else batch[part]))
            for i, (m, l) in enumerate(zip(self.genes, logits, strict=True)):
                out[m][part] = torch.softmax(l, 1).numpy() * totals[part, i : i + 1]
        return out

    @torch.no_grad()
    def log_likelihood(self, adata: Any, Z: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Negative-binomial log-likelihood of each cell's counts at ``Z`` (default: its own embedding), (cells,)."""
        Z = self.encode(adata) if Z is None else check_width(Z, self.d, adata.n_obs)
        data = counts_of(self._parts(adata), self.genes, self.layer)
        batch = self._batch(adata, strict=True)
        out = np.empty(len(Z))
        for begin in range(0, len(Z), 512):
            part = slice(begin, begin + 512)
            counts = [counts_batch(X[part], torch.device("cpu")) for X in data]
            z = torch.as_tensor(Z[part])
            where = self._where(None if batch is None else batch[part])
            total = self.net.log_likelihood(z, where, counts)
            out[part] = (total + sum(constant(k, len(z)) for k in counts)).numpy()
        return out

    def components(self, Z: NDArray[Any]) -> NDArray[np.intp]:
        """Index of the likeliest mixture component of each row, (cells,): the model's own clustering."""
        with torch.no_grad():
            z = torch.as_tensor(check_width(Z, self.d))
            each = self.net.prior.component_log_density(z) + torch.log_softmax(self.net.prior.weight, 0)
        return np.asarray(each.argmax(1))

    def save(self, path: str | Path) -> None:
        """Write ``model.json`` and ``model.safetensors`` into ``path``."""
        arrays = {f"net.{k}": v.cpu().numpy() for k, v in self.net.state_dict().items()}
        arrays |= {"z": self.z, "totals": self.totals}
        if self.c is not None:
            arrays["c"] = self.c
        keep = ("genes", "cells", "covariate", "categories", "reference", "layer", "history")
        settings = {k: getattr(self, k) for k in keep}
        write_model(path, self.name, {"config": asdict(self.net.config), **settings}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> DGDModel:
        """Read a model that :meth:`save` wrote."""
        settings, arrays = read_model(path, cls.name)
        config = DGDConfig(**settings.pop("config"))
        features = {m: len(g) for m, g in settings["genes"].items()}
        net = DGDNet(features, len(settings["categories"]), config)
        net.load_state_dict({k[4:]: torch.as_tensor(v) for k, v in arrays.items() if k.startswith("net.")})
        net.requires_grad_(False)
        genes, cells = settings.pop("genes"), settings.pop("cells")
        return cls(net, genes, cells, arrays["totals"], arrays["z"], arrays.get("c"), **settings)

    def _parts(self, adata: Any) -> dict[str, Any]:
        parts = split_modalities(adata)
        missing = [m for m in self.genes if m not in parts]
        if missing:
            raise InputError(
                f"the cells must have the model's modalities {list(self.genes)}",
                f"{list(parts)}",
                "give a MuData with these names",
            )
        return parts

    def _batch(self, adata: Any, *, strict: bool) -> NDArray[np.int64] | None:
        """Category of each cell; -1 for unknown ones where that is allowed."""
        if self.covariate is None:
            return None
        values = column(adata, self.covariate)
        index = {v: i for i, v in enumerate(self.categories)}
        out = np.asarray([index.get(v, -1) for v in values], dtype=np.int64)
        if strict and (out < 0).any():
            raise InputError(
                f"the batch ({self.covariate!r}) of decoded cells must be one the model knows: {self.categories}",
                repr(str(values[out < 0][0])),
                "decode with adata=None for the reference batch, or name a known one",
            )
        return out

    def _where(self, batch: NDArray[Any] | None) -> torch.Tensor | None:
        if batch is None or self.net.batch_prior is None:
            return None
        return self.net.batch_prior.mean.detach()[torch.as_tensor(batch)]

    def _candidates(self, most: int = 400) -> torch.Tensor:
        """Component means and evenly spaced training cells."""
        some = self.z[np.linspace(0, len(self.z) - 1, min(most, len(self.z))).astype(int)] if len(self.z) else self.z
        return torch.cat([self.net.prior.mean.detach(), torch.as_tensor(some)])


def counts_of(
    parts: Mapping[str, Any], genes: Mapping[str, Sequence[str]], layer: str | None
) -> list[sparse.csr_array]:
    """Raw counts a modality, genes found by name."""
    out = []
    for m, names in genes.items():
        X = aligned(parts[m], names, layer)
        if not is_counts(X):
            raise InputError(
                "this model needs raw counts (non-negative integers)",
                f"other values in modality {m!r}",
                "name the layer that holds the counts",
            )
        out.append(without_zeros(X))
    return out


def column(adata: Any, name: str, missing: str | None = None) -> NDArray[np.str_]:
    """An ``obs`` column as text; cells without a value get ``missing``, or are refused: models know none without a batch."""
    if name not in adata.obs:
        raise InputError("the batch column must be in obs", f"{name!r} among {list(adata.obs)}", "name a column")
    found = groups(adata.obs[name])
    if found.n_missing and missing is None:
        raise InputError(
            "every cell of a model with batches needs one",
            f"{found.n_missing} of {adata.n_obs} cells without a value in {name!r}",
            "leave these cells out, give them a batch, or train without it",
        )
    return cast("NDArray[np.str_]", np.asarray([missing if t is None else t for t in found.text()], dtype=np.str_))


def pick_device(device: str) -> str:
    """``auto`` resolved."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def place_components(net: DGDNet, z: NDArray[np.float32], seed: int) -> None:
    """Put the mixture's means on the centres of k-means of the starting representations."""
    from sklearn.cluster import KMeans

    k = net.config.n_components
    if len(z) > k:
        centres = KMeans(k, n_init=3, random_state=seed).fit(z).cluster_centers_
        with torch.no_grad():
            net.prior.mean.copy_(torch.as_tensor(centres))


__all__ += ["column", "counts_of", "pick_device"]
