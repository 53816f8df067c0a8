"""What is kept of a dictionary in ``adata``: codes in ``obsm``, all else in ``uns``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import torch

from cellprism.data.checks import check_embedding
from cellprism.data.embedding import align, embedding_from_obsm
from cellprism.errors import InputError
from cellprism.sae import SAE, SAEConfig
from cellprism.sae.scaling import AffineScaling

__all__ = ["TABLES", "embedding", "forget", "names_of", "record", "refuse_taken", "sae", "stored"]

TABLES = ("features", "genes", "sets", "labels")


def sae(adata: ad.AnnData, key: str = "prism") -> SAE:
    """The SAE that :func:`fit` stored in ``uns[key]``.

    Examples
    --------
    >>> prism.tl.sae(adata).width == adata.obsm["X_prism"].shape[1]
    True
    """
    kept = stored(adata, key)
    tensors = {name: torch.as_tensor(np.asarray(value)) for name, value in kept["tensors"].items()}
    # What is not there was None when it was stored: an .h5ad file holds no None.
    config: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(SAEConfig))
    config |= {k: v.item() if isinstance(v, np.generic) else v for k, v in kept["config"].items()}
    config["matryoshka"] = tuple(int(m) for m in np.atleast_1d(kept["config"].get("matryoshka", ())))
    scaling = AffineScaling(*(tensors[n].numpy() for n in ("mean", "forward_map", "backward_map")))
    model = SAE(SAEConfig.from_dict(config), scaling)
    model.load_state_dict(tensors)
    return model.eval()


def stored(adata: ad.AnnData, key: str) -> dict[str, Any]:
    """What lies in ``uns[key]``; refused where nothing was fitted."""
    if key not in adata.uns or f"X_{key}" not in adata.obsm:
        raise InputError(
            "features must be fitted before they are used",
            f"no uns[{key!r}]",
            f"call prism.tl.fit(adata, rep=…, key={key!r})",
        )
    found: dict[str, Any] = adata.uns[key]
    return found


def record(dictionary: SAE, rep: str, metrics: Mapping[str, float], written: Sequence[str] = ()) -> dict[str, Any]:
    """What is kept of a dictionary in ``uns``; ``written`` names what else was put into ``obs`` and ``obsm``."""
    return ({"written": list(written)} if written else {}) | {
        "rep": rep,
        "config": {k: v for k, v in dictionary.config.to_dict().items() if v is not None},
        "tensors": {name: tensor.numpy().copy() for name, tensor in dictionary.state_dict().items()},
        "metrics": {k: float(v) for k, v in metrics.items()},
    }


def refuse_taken(adata: ad.AnnData, key: str, *, rep: str | None = None, columns: Sequence[str] = ()) -> None:
    """Refuse a key under which something lies that :func:`fit` or :func:`encode` did not put there.

    ``rep`` is the embedding that is read, whose place codes must not take; ``columns`` are those that ``obs`` will get.
    """
    kept = adata.uns.get(key)
    ours = isinstance(kept, Mapping) and {"config", "tensors"} <= set(kept)
    written = _written(adata, key)
    taken = [] if ours else [f"obsm['X_{key}']"] if f"X_{key}" in adata.obsm else []
    taken += [f"uns[{key!r}]"] if key in adata.uns and not ours else []
    made = f"X_{key}_embedding"
    taken += [f"obsm[{made!r}]"] if rep is None and made in adata.obsm and made not in written else []
    taken += [f"obs[{column!r}]" for column in columns if column in adata.obs and column not in written]
    if taken:
        raise InputError(
            "results must not take the place of what adata holds",
            f"{taken[0]}, which is not of fit or encode",
            "give another `key=`",
        )
    if rep == f"X_{key}":
        raise InputError(
            "codes must not take the place of the embedding that they are of",
            f"rep={rep!r} and key={key!r}, whose codes go into obsm[{rep!r}]",
            "give another `key=`",
        )


def forget(adata: ad.AnnData, key: str, rep: str) -> None:
    """Take out what an earlier result put into ``obs`` and ``obsm``, which would stand beside another dictionary; ``rep`` stays."""
    for name in _written(adata, key) - {rep}:
        if name in adata.obs:
            del adata.obs[name]
        if name in adata.obsm:
            del adata.obsm[name]


def _written(adata: ad.AnnData, key: str) -> set[str]:
    kept = adata.uns.get(key)
    return {str(name) for name in np.atleast_1d(kept.get("written", ()))} if isinstance(kept, Mapping) else set()


def embedding(adata: Any, rep: str) -> np.ndarray:
    """An ``obsm`` entry of any stored form as float32, in the order of the cells."""
    source = embedding_from_obsm(adata, rep)
    values = align(source, adata.obs_names)
    return np.ascontiguousarray(check_embedding(values, list(map(str, adata.obs_names))), dtype=np.float32)


def names_of(features: pd.DataFrame | None, numbers: Any) -> list[str]:
    """Names of features by number; empty where there are none."""
    known = {} if features is None else dict(zip(features["feature"], features["name"].astype(str), strict=True))
    return [known.get(n, "") for n in np.asarray(numbers).tolist()]
