"""Models of scvi-tools behind the common protocol, with the decoding of edited latents that they leave out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cellprism.data.missing import groups
from cellprism.data.modalities import with_protein
from cellprism.embed.base import DEFAULT_LIBRARY, aligned, check_width, library_size, split_modalities
from cellprism.embed.dgd import column, counts_of
from cellprism.embed.files import read_model, write_model
from cellprism.embed.scvi_covariates import Covariates
from cellprism.embed.scvi_file import ONLY_STEERING, described, read_saved
from cellprism.embed.scvi_kinds import KINDS, build, expected_counts, library, table
from cellprism.embed.scvi_training import epoch_callback, seeded
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.progress import Steps

__all__ = ["SCVIModel"]


class SCVIModel:
    """A trained model of scvi-tools: SCVI, LinearSCVI, SCANVI, MULTIVI, TOTALVI or PEAKVI.

    Make one with :meth:`fit`, or from a model that was trained elsewhere with :meth:`wrap`.

    Parameters
    ----------
    kind
        Class name in ``scvi.model``.
    model
        The object, set up on a template of this class.
    genes
        Feature names by modality.
    options
        Arguments of the model's constructor.
    batch, categories, reference
        Column of ``obs``, its categories, the commonest one.
    labels, label_categories
        The same for SCANVI's labels; the last category is the unlabeled one.
    layer
        Where the counts lie.
    covariates
        Further columns of ``obs`` that the model was told.
    told
        Whether ``reference`` is the commonest batch of known cells.
    """

    name = "scvi"

    def __init__(
        self,
        kind: str,
        model: Any,
        genes: Mapping[str, Sequence[str]],
        options: Mapping[str, Any],
        *,
        batch: str | None = None,
        categories: Sequence[str] = ("all",),
        reference: int = 0,
        labels: str | None = None,
        label_categories: Sequence[str] = (),
        layer: str | None = None,
        covariates: Covariates | None = None,
        told: bool = True,
    ) -> None:
        self.kind, self.model, self.options = kind, model, dict(options)
        self.covariates, self.told = covariates or Covariates(), told
        self.genes = {m: list(g) for m, g in genes.items()}
        self.batch, self.categories, self.reference = batch, list(categories), reference
        self.labels, self.label_categories, self.layer = labels, list(label_categories), layer
        self.model.module.eval()

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the modalities."""
        return tuple(self.genes)

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
        kind: str | None = None,
        batch: str | None = None,
        labels: str | None = None,
        unlabeled: str = "Unknown",
        layer: str | None = None,
        n_latent: int = 10,
        epochs: int | None = None,
        seed: int = 0,
        progress: bool = False,
        training: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> SCVIModel:
        """Train a model of scvi-tools on raw counts.

        Parameters
        ----------
        adata
            AnnData; MuData with ``rna`` and ``protein`` for TOTALVI, ``rna`` and ``atac`` for MULTIVI.
        kind
            One of the classes above; None = by the modalities: SCVI for an AnnData, TOTALVI for RNA and protein, MULTIVI for
            RNA and ATAC, PEAKVI for ATAC alone.
        batch
            Column of ``obs``.
        labels, unlabeled
            Column of ``obs`` and the name of cells without a label, for SCANVI.
        layer
            Where the counts lie.
        n_latent, options
            Handed to the model's constructor.
        epochs
            None = scvi-tools' own rule.
        seed
            Of everything random; torch's and NumPy's global states are put back afterwards.
        training
            Handed to the model's ``train``: ``early_stopping``, ``lr`` (MULTIVI's own is small for few cells) ...
        """
        library()
        kind = kind_for(adata) if kind is None else kind
        wanted = check_kind(kind)
        parts = pick_modalities(adata, wanted, kind)
        genes = {m: [str(g) for g in p.var_names] for m, p in parts.items()}
        data = counts_of(parts, genes, layer)
        categories, index, reference = batches_of(adata, batch)
        label_categories: list[str] = []
        label_index = None
        if (labels is None) == (kind == "SCANVI"):
            raise InputError("labels belong to SCANVI, and SCANVI needs them", f"{kind}, {labels}", "match the two")
        if labels is not None:
            values = column(adata, labels, missing=unlabeled)
            label_categories = [*sorted(set(values) - {unlabeled}), unlabeled]
            label_index = np.asarray([label_categories.index(v) for v in values])
        options = {"n_latent": n_latent, **options}
        cells = table(kind, genes, data, categories, index, label_categories, label_index)
        with seeded(seed):
            model = build(kind, cells, genes, options, label_categories)
            given = {"enable_progress_bar": False, "accelerator": "auto", **(training or {})}
            with Steps(f"training {kind}", epochs, progress) as steps, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of lightning, about its own affairs
                given["callbacks"] = [*given.get("callbacks", ()), epoch_callback(steps)]
                model.train(max_epochs=epochs, **given)
        out = cls(
            kind,
            model,
            genes,
            options,
            batch=batch,
            categories=categories,
            reference=reference,
            labels=labels,
            label_categories=label_categories,
            layer=layer,
        )
        return out._detached()

    @classmethod
    def wrap(cls, model: Any) -> SCVIModel:
        """Take over a model that was set up and trained with scvi-tools itself.

        Parameters
        ----------
        model
            SCVI, LinearSCVI, SCANVI, TOTALVI, MULTIVI or PEAKVI. Where no cell is given, it is decoded at its commonest
            batch, the commonest categories of further covariates and the means of continuous ones.
        """
        library()
        kind = type(model).__name__
        if kind not in KINDS:
            raise InputError(f"a wrapped model must be a trained {', '.join(KINDS)}", kind, ONLY_STEERING)
        manager, adata = model.adata_manager, model.adata
        names = {k: v.var_names for k, v in adata.mod.items()} if hasattr(adata, "mod") else adata.var_names
        saved = {
            "kind": kind,
            "registry": manager.registry,
            "init_params": model.init_params_,
            "var_names": names,
            "trained": bool(model.is_trained),
            "state": {k: v.detach().cpu() for k, v in model.module.state_dict().items()},
        }
        return cls._of(saved).refer(adata.obs)

    @classmethod
    def open(cls, folder: str | Path) -> SCVIModel:
        """Take over a folder that scvi-tools saved (``model.save(folder)``); its cells are not needed."""
        library()
        return cls._of(read_saved(folder))

    @classmethod
    def _of(cls, saved: Mapping[str, Any]) -> SCVIModel:
        kind, about = saved["kind"], described(saved)
        model = restored(
            kind,
            about["genes"],
            about["options"],
            about["categories"],
            about["label_categories"],
            saved["state"],
            about["covariates"],
        )
        return cls(kind, model, **about)

    def refer(self, obs: pd.DataFrame) -> SCVIModel:
        """The same model, decoded at the commonest batch, categories and means of these cells where no cell is given."""
        if self.batch is not None and self.batch in obs:
            found = groups(obs[self.batch])
            sizes = dict(zip(found.names, found.sizes, strict=True))
            self.reference = int(np.argmax([sizes.get(name, 0) for name in self.categories]))
            self.told = True
        self.covariates = self.covariates.referred(obs)
        return self

    def reference_words(self) -> str:
        """What is decoded at where no cell is given, in words; empty for a model without batches and covariates."""
        parts = []
        if len(self.categories) > 1:
            told = "the commonest" if self.told else "the first: its cells are not known"
            parts.append(f"{self.batch} {self.categories[self.reference]!r} ({told})")
        return ", ".join(parts + ([self.covariates.reference()] if self.covariates else []))

    def _detached(self) -> SCVIModel:
        """The same model on a template of its own, so that the training cells are not kept alive."""
        state = {k: v.detach().cpu() for k, v in self.model.module.state_dict().items()}
        self.model = restored(
            self.kind, self.genes, self.options, self.categories, self.label_categories, state, self.covariates
        )
        return self

    def encode(self, adata: Any) -> NDArray[np.float32]:
        """Posterior means of the latent, (cells, d) float32."""
        parts = pick_modalities(adata, tuple(self.genes), self.kind)
        data = counts_of(parts, self.genes, self.layer)
        index = known_batches(adata, self.batch, self.categories)
        labels = np.full(adata.n_obs, len(self.label_categories) - 1) if self.label_categories else None
        beside = self.covariates.values(adata.obs, adata.n_obs)
        cells = table(
            self.kind, self.genes, data, self.categories, index, self.label_categories, labels, self.covariates, beside
        )
        with seeded(0):  # nothing is drawn that counts, but the global generators are moved
            return np.asarray(self.model.get_latent_representation(cells), dtype=np.float32)

    @torch.no_grad()
    def decode(self, Z: NDArray[Any], adata: Any = None) -> dict[str, NDArray[np.float32]]:
        """Expected counts at the points ``Z``, ``{modality: (cells, features) float32}``.

        Library size and batch are those of ``adata``'s cells, or 10,000 counts and the commonest batch. Proteins are
        foreground and background weighted by the model's own probability, and peaks the probability of access times
        the region's factor; peaks are scaled to the library size, proteins are on TOTALVI's scale.

        Raises
        ------
        InputError
            For a batch the model was not trained on.
        """
        Z = check_width(Z, self.d, None if adata is None else adata.n_obs)
        n = len(Z)
        if adata is None:
            totals = {m: np.full(n, DEFAULT_LIBRARY) for m in self.genes}
            index = np.full(n, self.reference)
        else:
            parts = pick_modalities(adata, tuple(self.genes), self.kind)
            totals = {m: library_size(aligned(parts[m], g, self.layer)) for m, g in self.genes.items()}
            index = known_batches(adata, self.batch, self.categories)
        cat, cont = self.covariates.values(None if adata is None else adata.obs, n)
        blocks = [
            expected_counts(
                self.kind,
                self.model.module,
                Z[i : i + 512],
                index[i : i + 512],
                {m: t[i : i + 512] for m, t in totals.items()},
                tuple(None if v is None else v[i : i + 512] for v in (cat, cont)),  # type: ignore[arg-type]
            )
            for i in range(0, n, 512)
        ]
        return {m: np.concatenate([b[m] for b in blocks]) for m in self.genes}

    def save(self, path: str | Path) -> None:
        """Write ``model.json`` and ``model.safetensors`` into ``path``."""
        keep = ("kind", "genes", "options", "batch", "categories", "reference", "labels", "label_categories", "layer")
        arrays = {k: v.detach().cpu().numpy() for k, v in self.model.module.state_dict().items()}
        settings = {k: getattr(self, k) for k in keep} | {"told": self.told, "covariates": self.covariates.to_dict()}
        write_model(path, self.name, settings, arrays)

    @classmethod
    def load(cls, path: str | Path) -> SCVIModel:
        """Read a model that :meth:`save` wrote."""
        library()
        settings, arrays = read_model(path, cls.name)
        kind, genes, options = settings.pop("kind"), settings.pop("genes"), settings.pop("options")
        state = {k: torch.as_tensor(v) for k, v in arrays.items()}
        settings["covariates"] = beside = Covariates.from_dict(settings.pop("covariates", None))
        model = restored(kind, genes, options, settings["categories"], settings["label_categories"], state, beside)
        return cls(kind, model, genes, options, **settings)


def batches_of(adata: Any, batch: str | None) -> tuple[list[str], NDArray[np.int64], int]:
    """Categories of a column of ``obs``, the number of each cell's, and that of the commonest; one for all without a column."""
    if batch is None:
        return ["all"], np.zeros(adata.n_obs, np.int64), 0
    found, index, sizes = np.unique(column(adata, batch), return_inverse=True, return_counts=True)
    return [str(v) for v in found], index.astype(np.int64), int(sizes.argmax())


def known_batches(adata: Any, batch: str | None, categories: Sequence[str]) -> NDArray[np.int64]:
    """The number of each cell's batch among those that a model was trained on, or an :class:`InputError`."""
    if batch is None:
        return np.zeros(adata.n_obs, np.int64)
    values = column(adata, batch)
    known = {v: i for i, v in enumerate(categories)}
    new = sorted(set(values) - set(known))
    if new:
        raise InputError(
            f"the batch ({batch!r}) must be one the model knows: {list(categories)}",
            ", ".join(new),
            "name one of these, bring the model to the new cells first (load_query_data of scvi-tools), or decode with adata=None, "
            "at the reference batch",
        )
    return np.asarray([known[v] for v in values], dtype=np.int64)


def kind_for(adata: Any) -> str:
    """The class for the modalities at hand."""
    parts = split_modalities(adata)
    if "rna" not in parts:
        return "PEAKVI" if "atac" in parts else "SCVI"
    return "TOTALVI" if "protein" in parts else "MULTIVI" if "atac" in parts else "SCVI"


def check_kind(kind: str) -> tuple[str, ...]:
    """Modalities of a kind."""
    if kind not in KINDS:
        raise InputError(f"the kind must be one of {', '.join(KINDS)}", repr(kind), "correct the name")
    return KINDS[kind]


def pick_modalities(adata: Any, wanted: Sequence[str], kind: str) -> dict[str, Any]:
    """The modalities a model needs; the only one of an AnnData is taken for the only one wanted, proteins from ``obsm``."""
    parts = split_modalities(with_protein(adata)[0] if "protein" in wanted else adata)
    if not hasattr(adata, "mod") and len(wanted) == 1:
        return {wanted[0]: adata}
    missing = [m for m in wanted if m not in parts]
    if missing:
        raise InputError(
            f"{kind} needs a MuData with the modalities {', '.join(wanted)}", f"{list(parts)}", "name them so"
        )
    return {m: parts[m] for m in wanted}


def restored(
    kind: str,
    genes: Mapping[str, Sequence[str]],
    options: Mapping[str, Any],
    categories: Sequence[str],
    label_categories: Sequence[str],
    state: Mapping[str, torch.Tensor],
    covariates: Covariates | None = None,
) -> Any:
    """A model on a template of made-up cells, one a category, with given weights."""
    covariates = covariates or Covariates()
    n = max(len(categories), len(label_categories), *map(len, covariates.categorical.values()), 3)
    data = [np.ones((n, len(g)), np.float32) for g in genes.values()]
    index = np.arange(n) % len(categories)
    labels = np.arange(n) % len(label_categories) if label_categories else None
    cat = [np.arange(n) % len(names) for names in covariates.categorical.values()]
    cont = [np.linspace(0, 1, n, dtype=np.float32) for _ in covariates.continuous]
    beside = (np.stack(cat, 1) if cat else None, np.stack(cont, 1) if cont else None)
    cells = table(kind, genes, data, categories, index, label_categories, labels, covariates, beside)
    with seeded(0):
        model = build(kind, cells, genes, options, label_categories, covariates)
    model.module.load_state_dict(state)
    model.module.eval()
    model.is_trained_ = True
    return model
