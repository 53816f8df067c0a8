"""DRVI behind the common protocol: a model of counts whose latent dimensions are decoded each on its own, then summed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cellprism.embed.base import DEFAULT_LIBRARY, aligned, check_width, library_size
from cellprism.embed.dgd import counts_of
from cellprism.embed.files import read_model, write_model
from cellprism.embed.scvi import batches_of, known_batches, pick_modalities
from cellprism.embed.scvi_kinds import table
from cellprism.embed.scvi_training import epoch_callback, seeded
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.progress import Steps

__all__ = ["DRVIModel", "latent_readout"]

MODALITY = "rna"
LIKELIHOODS = ("pnb", "nb", "poisson")
"""Those of counts: the others decode to no counts."""
_BLOCK = 512


class DRVIModel:
    """A trained DRVI (Moinfar and Theis 2024, package ``drvi-py``).

    Make one with :meth:`fit`.

    Parameters
    ----------
    model
        The object, set up on a template of this class.
    genes
        Names of the genes, ``{"rna": [...]}``.
    options
        Arguments of the model's constructor.
    batch, categories, reference
        Column of ``obs``, its categories, the commonest one.
    layer
        Where the counts lie.
    """

    name = "drvi"
    modalities = (MODALITY,)

    def __init__(
        self,
        model: Any,
        genes: Mapping[str, Sequence[str]],
        options: Mapping[str, Any],
        *,
        batch: str | None = None,
        categories: Sequence[str] = ("all",),
        reference: int = 0,
        layer: str | None = None,
    ) -> None:
        self.model, self.options, self.layer = model, dict(options), layer
        self.genes = {m: list(g) for m, g in genes.items()}
        self.batch, self.categories, self.reference = batch, list(categories), reference
        self.model.module.eval()

    @property
    def d(self) -> int:
        """Dimension of the latent space."""
        return int(self.model.module.n_latent)

    @classmethod
    @numbers_checked
    def fit(
        cls,
        adata: Any,
        *,
        batch: str | None = None,
        layer: str | None = None,
        n_latent: int = 32,
        epochs: int | None = None,
        seed: int = 0,
        progress: bool = False,
        training: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> DRVIModel:
        """Train DRVI on raw counts.

        Parameters
        ----------
        adata
            AnnData, or MuData with ``rna``. Time and memory grow with dimensions times genes: its authors take the 2,000
            genes that vary most.
        batch
            Column of ``obs``.
        layer
            Where the counts lie.
        n_latent, options
            Handed to the model's constructor; ``gene_likelihood`` must be one of counts.
        epochs
            None = the rule of scvi-tools, 400 for up to 20,000 cells.
        seed
            Of everything random; torch's and NumPy's global states are put back afterwards.
        progress
            Show a progress bar.
        training
            Handed to the model's ``train``: ``early_stopping``, ``accelerator``, ``plan_kwargs`` ...
        """
        library()
        options = {"n_latent": n_latent, **options}
        _check(options)
        parts = pick_modalities(adata, cls.modalities, "DRVI")
        genes = {MODALITY: [str(g) for g in parts[MODALITY].var_names]}
        categories, index, reference = batches_of(adata, batch)
        cells = table("DRVI", genes, counts_of(parts, genes, layer), categories, index, (), None)
        with seeded(seed):
            model = _build(cells, options)
            given = {"enable_progress_bar": False, "accelerator": "auto", **(training or {})}
            with Steps("training DRVI", epochs, progress) as steps, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of lightning, about its own affairs
                given["callbacks"] = [*given.get("callbacks", ()), epoch_callback(steps)]
                model.train(max_epochs=epochs, **given)
        state = {k: v.detach().cpu() for k, v in model.module.state_dict().items()}
        own = _restored(genes, options, categories, state)  # so that the training cells are not kept alive
        return cls(own, genes, options, batch=batch, categories=categories, reference=reference, layer=layer)

    def encode(self, adata: Any) -> NDArray[np.float32]:
        """Posterior means of the latent, (cells, d) float32."""
        data = counts_of(pick_modalities(adata, self.modalities, "DRVI"), self.genes, self.layer)
        index = known_batches(adata, self.batch, self.categories)
        cells = table("DRVI", self.genes, data, self.categories, index, (), None)
        with seeded(0):  # nothing is drawn that counts, but the global generators are moved
            return np.asarray(self.model.get_latent_representation(cells), dtype=np.float32)

    @torch.no_grad()
    def decode(self, Z: NDArray[Any], adata: Any = None) -> dict[str, NDArray[np.float32]]:
        """Expected counts at the points ``Z``, ``{"rna": (cells, genes) float32}``.

        Library size and batch are those of ``adata``'s cells, or 10,000 counts and the commonest batch.

        Raises
        ------
        InputError
            For a batch the model was not trained on.
        """
        Z = check_width(Z, self.d, None if adata is None else adata.n_obs)
        if adata is None:
            totals, index = np.full(len(Z), DEFAULT_LIBRARY), np.full(len(Z), self.reference)
        else:
            part = pick_modalities(adata, self.modalities, "DRVI")[MODALITY]
            totals = library_size(aligned(part, self.genes[MODALITY], self.layer))
            index = known_batches(adata, self.batch, self.categories)
        module = self.model.module
        device = next(module.parameters()).device
        out = np.empty((len(Z), len(self.genes[MODALITY])), dtype=np.float32)
        for start in range(0, len(Z), _BLOCK):
            rows = slice(start, start + _BLOCK)
            z = torch.as_tensor(Z[rows], device=device)
            size = torch.as_tensor(totals[rows].astype(np.float32), device=device)
            batch = torch.as_tensor(index[rows].astype(np.int64)[:, None], device=device)
            made = module.generative(z=z, library=size, cat_covs=batch)
            out[rows] = made["px"].mean.cpu().numpy()
        return {MODALITY: out}

    def save(self, path: str | Path) -> None:
        """Write ``model.json`` and ``model.safetensors`` into ``path``."""
        arrays = {k: v.detach().cpu().numpy() for k, v in self.model.module.state_dict().items()}
        keep = ("genes", "options", "batch", "categories", "reference", "layer")
        write_model(path, self.name, {k: getattr(self, k) for k in keep}, arrays)

    @classmethod
    def load(cls, path: str | Path) -> DRVIModel:
        """Read a model that :meth:`save` wrote."""
        library()
        settings, arrays = read_model(path, cls.name)
        genes, options = settings.pop("genes"), settings.pop("options")
        state = {k: torch.as_tensor(v) for k, v in arrays.items()}
        return cls(_restored(genes, options, settings["categories"], state), genes, options, **settings)


def latent_readout(train: Any, **settings: Any) -> Callable[[Any], NDArray[np.float32]]:
    """Train on counts (cells, genes) that have no names, and read any cells with the same genes.

    Parameters
    ----------
    train
        Counts, sparse or dense.
    settings
        Of :meth:`DRVIModel.fit`.

    Returns
    -------
    callable
        (cells, genes) counts -> (cells, d) posterior means of the latent.
    """
    from anndata import AnnData
    from scipy import sparse

    model = DRVIModel.fit(AnnData(sparse.csr_matrix(train)), **settings)
    return lambda counts: model.encode(AnnData(sparse.csr_matrix(counts)))


def library() -> Any:
    """The drvi module, or an :class:`InputError` that names the extra."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its imports warn of their own dependencies
            import drvi  # type: ignore[import-not-found, unused-ignore]
            import drvi.model  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise InputError("DRVI needs drvi-py", str(error), "pip install 'cellprism[drvi]'") from error
    return drvi


def _check(options: Mapping[str, Any]) -> None:
    likelihood = options.get("gene_likelihood", LIKELIHOODS[0])
    if likelihood not in LIKELIHOODS:
        raise InputError(
            f"DRVI decodes to counts where its gene_likelihood is {', '.join(LIKELIHOODS)}",
            repr(likelihood),
            "choose one of these, and give raw counts",
        )


def _build(cells: Any, options: Mapping[str, Any]) -> Any:
    """Set up the table and construct the model."""
    cls = library().model.DRVI
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few cells a category in templates
        cls.setup_anndata(cells, batch_key="batch")
        return cls(cells, **options)


def _restored(
    genes: Mapping[str, Sequence[str]],
    options: Mapping[str, Any],
    categories: Sequence[str],
    state: Mapping[str, torch.Tensor],
) -> Any:
    """A model on a template of made-up cells, one a batch, with given weights."""
    n = max(len(categories), 3)
    data = [np.ones((n, len(genes[MODALITY])), dtype=np.float32)]
    cells = table("DRVI", genes, data, categories, np.arange(n) % len(categories), (), None)
    with seeded(0):
        model = _build(cells, options)
    model.module.load_state_dict(state)
    model.is_trained_ = True
    return model
