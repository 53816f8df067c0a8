"""What differs between the models of scvi-tools: their tables, their constructors, their decoders."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse

from cellprism.embed.scvi_covariates import Covariates
from cellprism.errors import InputError

__all__ = ["KINDS", "build", "expected_counts", "library", "table"]

# Class in scvi.model -> modalities it needs.
KINDS: dict[str, tuple[str, ...]] = {
    "SCVI": ("rna",),
    "LinearSCVI": ("rna",),
    "SCANVI": ("rna",),
    "PEAKVI": ("atac",),
    "MULTIVI": ("rna", "atac"),
    "TOTALVI": ("rna", "protein"),
}


def library() -> Any:
    """The scvi module, or an :class:`InputError` that names the extra."""
    state = np.random.get_state()  # noqa: NPY002
    try:
        with warnings.catch_warnings(), torch.random.fork_rng():  # the first import seeds the global generators
            warnings.simplefilter("ignore")  # its imports warn of their own dependencies
            import scvi  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise InputError("models of scvi-tools need scvi-tools", str(error), "pip install 'cellprism[scvi]'") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return scvi


def table(
    kind: str,
    genes: Mapping[str, Sequence[str]],
    data: Sequence[Any],
    categories: Sequence[str],
    batch: NDArray[np.integer],
    label_categories: Sequence[str],
    labels: NDArray[np.integer] | None,
    covariates: Covariates | None = None,
    obs_values: tuple[NDArray[np.int64] | None, NDArray[np.float32] | None] = (None, None),
) -> Any:
    """Cells as scvi-tools wants them, with fixed categories: an AnnData, proteins in ``obsm``; a MuData for MULTIVI."""
    from anndata import AnnData

    obs = pd.DataFrame({"batch": pd.Categorical(np.asarray(categories)[batch], list(categories))})
    obs.index = obs.index.astype(str)
    if labels is not None:
        obs["label"] = pd.Categorical(np.asarray(label_categories)[labels], list(label_categories))
    cat, cont = obs_values
    categorical, continuous = covariates.columns if covariates else ([], [])
    for i, (name, known) in enumerate(categorical):
        obs[name] = pd.Categorical(np.asarray(known)[cat[:, i]], known) if cat is not None else known[0]
    for i, (name, _) in enumerate(continuous):
        obs[name] = cont[:, i] if cont is not None else 0.0
    names = list(genes)
    if kind == "MULTIVI":
        import mudata

        parts = {
            m: AnnData(
                sparse.csr_matrix(d), obs=obs.copy(), var=pd.DataFrame(index=pd.Index(list(genes[m])).astype(str))
            )
            for m, d in zip(names, data, strict=True)
        }
        with mudata.set_options(pull_on_update=False):
            both = mudata.MuData(parts)
        both.obs["_indices"] = np.arange(both.n_obs)  # a column of its own that MULTIVI asks new cells for
        return both
    X = [sparse.csr_matrix(d) for d in data]
    beside = kind == "TOTALVI"
    out = AnnData(X[0], obs=obs, var=pd.DataFrame(index=pd.Index(list(genes[names[0]])).astype(str)))
    if beside:
        proteins = X[1].toarray()
        out.obsm["protein"] = pd.DataFrame(proteins, index=obs.index, columns=list(genes[names[1]]))
    return out


def build(
    kind: str,
    cells: Any,
    genes: Mapping[str, Sequence[str]],
    options: Mapping[str, Any],
    labels: Sequence[str],
    covariates: Covariates | None = None,
) -> Any:
    """Set up the table and construct the model."""
    scvi = library()
    cls = getattr(scvi.model, kind)
    more_keys: dict[str, Any] = {}
    if covariates:
        categorical, continuous = covariates.columns
        more_keys["categorical_covariate_keys"] = [name for name, _ in categorical] or None
        more_keys["continuous_covariate_keys"] = [name for name, _ in continuous] or None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few cells a category in templates
        if kind == "SCANVI":
            cls.setup_anndata(cells, batch_key="batch", labels_key="label", unlabeled_category=labels[-1], **more_keys)
        elif kind == "TOTALVI":
            cls.setup_anndata(cells, batch_key="batch", protein_expression_obsm_key="protein", **more_keys)
        elif kind == "MULTIVI":
            where = {"rna_layer": "rna", "atac_layer": "atac", "batch_key": "rna"}
            cls.setup_mudata(cells, batch_key="batch", modalities=where, **more_keys)
        else:
            if labels:
                more_keys["labels_key"] = "label"
            cls.setup_anndata(cells, batch_key="batch", **more_keys)
        sizes = [len(g) for g in genes.values()]
        more = {"n_genes": sizes[0], "n_regions": sizes[1]} if kind == "MULTIVI" else {}
        # TOTALVI would fit its start of the protein background to a template's made-up cells.
        more |= {"empirical_protein_background_prior": False} if kind == "TOTALVI" else {}
        return cls(cells, **{**more, **options})


def expected_counts(
    kind: str,
    module: Any,
    Z: NDArray[np.float32],
    batch: NDArray[np.integer],
    totals: Mapping[str, NDArray[np.floating]],
    beside: tuple[NDArray[np.int64] | None, NDArray[np.float32] | None] = (None, None),
) -> dict[str, NDArray[np.float32]]:
    """Decode latents with given batch and library sizes; zero inflation, a loss in measuring, is left out."""
    device = next(module.parameters()).device
    z = torch.as_tensor(Z, device=device)
    b = torch.as_tensor(np.asarray(batch, dtype=np.int64)[:, None], device=device)
    size = {m: torch.as_tensor(np.asarray(t, dtype=np.float32)[:, None], device=device) for m, t in totals.items()}
    nothing = torch.zeros_like(b)
    cat, cont = beside
    covs = {
        "cat_covs": None if cat is None else torch.as_tensor(cat, device=device),
        "cont_covs": None if cont is None else torch.as_tensor(cont, device=device),
    }

    def peaks(p: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        if module.region_factors is not None:
            p = p * torch.sigmoid(module.region_factors)
        return p / p.sum(1, keepdim=True) * total

    if kind == "PEAKVI":
        (name,) = size
        out = {name: peaks(module.generative(z, z, b, **covs)["px"], size[name])}
    elif kind == "MULTIVI":
        made = module.generative(z, z, b, libsize_expr=torch.log(size["rna"]), label=nothing, **covs)
        out = {"rna": made["px_scale"] * size["rna"], "atac": peaks(made["p"], size["atac"])}
    elif kind == "TOTALVI":
        with torch.random.fork_rng():  # the model draws a background that is not used
            made = module.generative(z, size["rna"], b, nothing, **covs)
        protein = made["py_"]
        background = torch.sigmoid(protein["mixing"])
        # The mean of the background, a log-normal variable.
        back = torch.exp(protein["back_alpha"] + protein["back_beta"] ** 2 / 2)
        mean = back * ((1 - background) * protein["fore_scale"] + background)
        out = {"rna": made["px_"]["rate"], "protein": mean}
    else:
        (name,) = size
        made = module.generative(z, torch.log(size[name].clamp_min(1e-8)), b, y=nothing, **covs)
        out = {name: made["px"].scale * size[name]}
    return {m: v.cpu().numpy().astype(np.float32) for m, v in out.items()}
