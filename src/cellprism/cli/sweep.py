"""``cellprism fit --sweep``: many configs at once, as a tidy table and a picture of the landscape."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.sae import Fit, SAEConfig, fit_many
from cellprism.sae.training import TrainingOptions

__all__ = ["expand", "run_sweep"]


def expand(content: dict[str, Any]) -> tuple[list[SAEConfig], dict[str, list[Any]]]:
    """Configs of a sweep file, and the training options of each.

    Parameters
    ----------
    content
        ``grid``: a mapping from fields of :class:`SAEConfig`, training options or ``seed`` to a value or a list of values,
        of which every combination is trained; or ``configs``: a list of such mappings without lists.

    Raises
    ------
    InputError
        If the file has neither or both, or a field is unknown.
    """
    if set(content) not in ({"grid"}, {"configs"}):
        raise InputError(
            "a sweep file has `grid` or `configs`", f"{sorted(content)}", "write 'grid:' and its fields below"
        )
    if "grid" in content:
        axes = {k: v if isinstance(v, list) and k != "matryoshka" else [v] for k, v in content["grid"].items()}
        rows = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    else:
        rows = list(content["configs"])
    known = {*TrainingOptions.__annotations__, "seed"}
    training = {name: [row.get(name) for row in rows] for name in known if any(name in row for row in rows)}
    for name, values in training.items():
        if any(v is None for v in values):
            raise InputError(f"`{name}` is given to all models or to none", f"{values}", "add it to every config")
    configs = [SAEConfig.from_dict({k: v for k, v in row.items() if k not in known}) for row in rows]
    return configs, training


def run_sweep(
    X: NDArray[Any], content: dict[str, Any], *, seed: int, progress: bool, memory_budget: float = 2.0**33
) -> tuple[pd.DataFrame, list[Fit]]:
    """Train a sweep; ``memory_budget`` in bytes, as :func:`cellprism.fit_many`.

    Returns
    -------
    table
        A row a model: the fields that vary, the seed, and the held-out metrics.
    fits
        In the table's order.
    """
    configs, training = expand(content)
    seeds = training.pop("seed", [seed] * len(configs))
    options: dict[str, Any] = dict(training)
    fits = fit_many(X, configs, seeds=seeds, progress=progress, memory_budget=memory_budget, **options)
    rows = pd.DataFrame([c.to_dict() for c in configs])
    rows["matryoshka"] = rows["matryoshka"].map(str)
    varying = [c for c in rows if rows[c].nunique(dropna=False) > 1 or c in ("width", "activation")]
    table = rows[varying].assign(seed=seeds, **training)
    metrics = pd.DataFrame([fit.metrics for fit in fits])
    table = pd.concat([table, metrics], axis=1)
    table.insert(0, "model", np.arange(len(table)))
    return table, fits
