from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from cellprism.errors import InputError
from cellprism.recovery.task import Task

__all__ = ["METHODS", "Method", "codes_of", "probe_readouts"]


@dataclass(frozen=True)
class Method:
    """A way to features of cells."""

    kind: Literal["sae", "data", "embedding", "null", "ceiling"]
    """What it is in the table: an SAE or a rival on the embedding or on the data itself, a null, or the ceiling."""
    function: str
    """``module:name`` of ``function(task, seed, **options)``, imported on use: some need torch or an optional package."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What makes it this method."""
    package: str | None = None
    """Module of the optional package that it needs."""

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return self.package is None or find_spec(self.package) is not None


_SAES, _PARTS = "cellprism.recovery.baselines.saes", "cellprism.recovery.baselines.decompositions"
_VAE, _EXTERNAL = "cellprism.recovery.baselines.vae:vae", "cellprism.recovery.baselines.external"

METHODS: dict[str, Method] = {
    "cellprism": Method("sae", f"{_SAES}:cellprism"),
    "paper-vanilla": Method("sae", f"{_SAES}:paper", {"form": "vanilla"}),
    "paper-relu": Method("sae", f"{_SAES}:paper", {"form": "relu"}),
    "paper-topk": Method("sae", f"{_SAES}:paper", {"form": "topk", "k_percent": 5}),
    "topk": Method("sae", f"{_SAES}:topk"),
    "batchtopk": Method("sae", f"{_SAES}:batchtopk"),
    "embedding": Method("embedding", f"{_PARTS}:embedding"),
    "pca-embedding": Method("embedding", f"{_PARTS}:pca_embedding"),
    "ica-embedding": Method("embedding", f"{_PARTS}:ica_embedding"),
    "dictionary-learning": Method("embedding", f"{_PARTS}:dictionary_learning"),
    "pca-data": Method("data", f"{_PARTS}:pca_data"),
    "ica-data": Method("data", f"{_PARTS}:ica_data"),
    "svd-data": Method("data", f"{_PARTS}:svd_data"),
    "nmf-data": Method("data", f"{_PARTS}:nmf_data"),
    "vae-gaussian": Method("data", _VAE, {"prior": "gaussian"}),
    "vae-laplace": Method("data", _VAE, {"prior": "laplace"}),
    "vae-cauchy": Method("data", _VAE, {"prior": "cauchy"}),
    "ldvae": Method("data", f"{_EXTERNAL}:ldvae", package="scvi"),
    "cnmf": Method("data", f"{_EXTERNAL}:cnmf", package="cnmf"),
    "untrained": Method("null", f"{_SAES}:untrained"),
    "shuffled": Method("null", f"{_SAES}:shuffled"),
    "probe": Method("ceiling", "cellprism.recovery.methods:probe_readouts"),
}
"""Every method by its name in the tables."""


def codes_of(name: str, task: Task, seed: int, **options: Any) -> Any:
    """Run a method.

    Parameters
    ----------
    name
        One of :data:`METHODS`.
    task
        Cells, embedding and split.
    seed
        Of everything random in it.
    options
        Over the method's own.

    Returns
    -------
    Codes of the held-out cells, (cells, features), dense or CSR.

    Raises
    ------
    InputError
        If there is no such method, an option is unknown to it, or its package is missing.
    """
    if name not in METHODS:
        raise InputError("a method must be one of " + ", ".join(METHODS), repr(name), "correct the name")
    method = METHODS[name]
    module, function = method.function.split(":")
    return getattr(import_module(module), function)(task, seed, **(dict(method.options) | options))


def probe_readouts(task: Task, seed: int) -> Any:
    """Give the probe's readouts themselves as features: the best that linear features with the truth at hand can do."""
    directions = np.concatenate(list(task.ceiling.directions.values()))
    return task.held_embedding @ directions.T
