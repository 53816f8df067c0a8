"""Read checkpoints of the public multiDGD implementation into :class:`~cellprism.embed.dgd.DGDModel`.

A checkpoint is a PyTorch state (``NAME.pt``: tensors only, read without unpickling objects) and its settings
(``NAME_hyperparameters.json``). It holds neither gene nor cell names, so the cells it was trained on are needed too.
"""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.embed.base import library_size, split_modalities
from cellprism.embed.dgd import DGDModel, column, counts_of
from cellprism.embed.dgd_config import DGDConfig
from cellprism.embed.dgd_net import DGDNet
from cellprism.errors import InputError

__all__ = ["read_multidgd"]

SPLITS = {"train": "representation", "validation": "validation_rep", "test": "test_rep"}
COVARIATE_SPLITS = {"train": "correction_rep", "validation": "correction_val_rep", "test": "correction_test_rep"}


def read_multidgd(
    weights: str | Path,
    adata: Any,
    *,
    settings: str | Path | None = None,
    covariate: str | None = None,
    split: str | None = "train_val_test",
    layer: str | None = None,
) -> DGDModel:
    """Model of a multiDGD checkpoint.

    Parameters
    ----------
    weights
        ``NAME.pt``.
    adata
        The cells it was trained on, with features in their order then (AnnData, or MuData with the modalities in
        order).
    settings
        The JSON file; None = ``NAME_hyperparameters.json`` beside the weights.
    covariate
        ``obs`` column of the covariate; None = the name in the settings, without its ``covariate_`` prefix.
    split
        ``obs`` column that says ``train``, ``validation`` or ``test``; None = all cells were trained on.
    layer
        Where the counts lie.

    Raises
    ------
    InputError
        When features or cells do not match the checkpoint, or the file is none.
    """
    weights = Path(weights)
    state = read_state(weights)
    about = read_hyperparameters(weights, settings)
    parts = split_modalities(adata)
    parts = by_modality(adata, about) if len(parts) == 1 and len(about["modalities"]) > 1 else parts
    genes = {m: [str(g) for g in p.var_names] for m, p in parts.items()}
    widths, expected = [len(g) for g in genes.values()], list(about["n_features_per_modality"])
    if widths != expected:
        raise InputError("the cells must have the checkpoint's features", f"{widths} for {expected}", "give its cells")
    config = DGDConfig(
        latent=about["latent_dimension"],
        n_components=len(state["gmm.mean"]),
        layers=about["n_hidden"],
        hidden=about["n_units"],
        head_layers=max(about["n_hidden_modality"], 1),
        head_width=about["decoder_width"],
        radius=about["softball_scale"],
        hardness=about["softball_hardness"],
        sd=about["sd_mean"],
        sd_sd=about["sd_sd"],
        dirichlet=about["dirichlet_a"],
        covariate_latent=state["correction_gmm.mean"].shape[1] if "correction_gmm.mean" in state else 2,
    )
    n_batches = len(state["correction_gmm.mean"]) if "correction_gmm.mean" in state else 0
    net = DGDNet(dict(zip(genes, widths, strict=True)), n_batches, config)
    net.load_state_dict({k: v for old, value in state.items() for k, v in renamed(old, value)})
    net.requires_grad_(False)

    rows = rows_of_splits(adata, state, split)
    order = np.concatenate(list(rows.values()))
    z = torch.cat([state[f"{SPLITS[s]}.z"] for s in rows]).numpy()
    c = torch.cat([state[f"{COVARIATE_SPLITS[s]}.z"] for s in rows]).numpy() if n_batches else None
    name, categories, reference = None, list[str](), 0
    if n_batches:
        name = covariate or str(about["correction_variable"][0])
        name = name if name in adata.obs else name.removeprefix("covariate_")
        values = column(adata, name)[rows["train"]]
        found, sizes = np.unique(values, return_counts=True)
        if len(found) > n_batches:
            raise InputError(f"the covariate must have {n_batches} categories", f"{len(found)}", "name its column")
        # Components beyond the training's categories were learned for new cells; nothing names them.
        categories = [str(v) for v in found] + [f"unnamed {i + 1}" for i in range(n_batches - len(found))]
        reference = int(sizes.argmax())
    totals = np.stack([library_size(X) for X in counts_of(parts, genes, layer)], 1)[order]
    cells = [str(n) for n in np.asarray(adata.obs_names)[order]]
    return DGDModel(
        net, genes, cells, totals, z, c, covariate=name, categories=categories, reference=reference, layer=layer
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a PyTorch file; anything else in it is refused."""
    if not path.is_file():
        raise InputError("the checkpoint must exist", f"no {path}", "check the path")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise InputError(
            "a checkpoint must hold tensors only", f"{path.name}: {str(error).splitlines()[0]}", "give NAME.pt"
        ) from error
    if not isinstance(state, dict) or not {"gmm.mean", "representation.z"} <= set(state):
        raise InputError("the file must be a state of multiDGD", f"{path.name} without gmm.mean", "give NAME.pt")
    return state


def read_hyperparameters(weights: Path, settings: str | Path | None) -> dict[str, Any]:
    """The settings beside the weights."""
    path = weights.with_name(f"{weights.stem}_hyperparameters.json") if settings is None else Path(settings)
    if not path.is_file():
        raise InputError("the checkpoint's settings must exist", f"no {path}", "name the JSON file with settings=")
    about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "modalities" not in about or "n_features_per_modality" not in about:
        raise InputError("the settings must be multiDGD's", f"{path.name} without modalities", "give its JSON file")
    return about


def by_modality(adata: Any, about: dict[str, Any]) -> dict[str, Any]:
    """Modalities of one AnnData whose features lie one modality after the other."""
    ends = np.cumsum(about["n_features_per_modality"])
    if adata.n_vars != ends[-1]:
        raise InputError(
            "the cells must have the checkpoint's features", f"{adata.n_vars} for {ends[-1]}", "match them"
        )
    starts = [0, *ends[:-1]]
    return {m: adata[:, a:b] for m, a, b in zip(about["modalities"], starts, ends, strict=True)}


def renamed(key: str, value: Tensor) -> list[tuple[str, Tensor]]:
    """A tensor of theirs under the name it has here; none for the representations and flags."""
    if match := re.fullmatch(r"(gmm|correction_gmm)\.(mean|neglogvar|weight)", key):
        return [(f"{'prior' if match[1] == 'gmm' else 'batch_prior'}.{match[2]}", value)]
    if key.startswith("decoder.main."):
        return [(key, value)]
    if match := re.fullmatch(r"decoder\.out_modules\.(\d+)\.fc\.(.+)", key):
        return [(f"decoder.heads.{match[1]}.{match[2]}", value)]
    if match := re.fullmatch(r"decoder\.out_modules\.(\d+)\.distribution\.log_r", key):
        return [(f"decoder.log_r.{match[1]}", value[0])]
    return []


def rows_of_splits(adata: Any, state: dict[str, Tensor], split: str | None) -> dict[str, NDArray[np.intp]]:
    """Rows of ``adata`` whose representations the checkpoint holds, by split."""
    if split is None:
        named = np.full(adata.n_obs, "train")
    else:
        named = column(adata, split)
    rows = {s: np.flatnonzero(named == s) for s, key in SPLITS.items() if f"{key}.z" in state}
    for s, at in rows.items():
        n = len(state[f"{SPLITS[s]}.z"])
        if len(at) != n:
            raise InputError(
                f"the checkpoint has {n} {s} cells, and the data must have as many",
                f"{len(at)}",
                f"give the cells it was trained on, with their split in obs[{split!r}]",
            )
    return rows
