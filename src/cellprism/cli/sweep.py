"""``cellprism fit --sweep``: many configs at once, as a tidy table and a picture of the landscape."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.sae import Fit, SAEConfig, fit_many
from cellprism.sae.metrics import Description
from cellprism.sae.training import TrainingOptions

__all__ = ["expand", "families", "run_sweep"]

_SPARSITY = ("k", "l1", "l0_weight")


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
            "a sweep file has `grid` or `configs`",
            f"{sorted(map(str, content))}",
            "write 'grid:' and its fields below",
        )
    rows: list[dict[str, Any]]
    if "grid" in content:
        if not isinstance(content["grid"], dict):
            raise InputError("`grid` maps fields to values", repr(content["grid"]), "write 'width: [64, 128]' below it")
        axes = {k: v if _is_axis(k, v) else [v] for k, v in content["grid"].items()}
        rows = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    else:
        rows = content["configs"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise InputError("`configs` is a list of mappings", repr(rows), "write '- {width: 64, k: 8}' below it")
    known = {*TrainingOptions.__annotations__, "seed"}
    training = {name: [row.get(name) for row in rows] for name in known if any(name in row for row in rows)}
    for name, values in training.items():
        if not all(name in row for row in rows):
            raise InputError(f"`{name}` is given to all models or to none", f"{values}", "add it to every config")
    configs = [SAEConfig.from_dict({k: v for k, v in row.items() if k not in known}) for row in rows]
    return configs, training


def families(table: pd.DataFrame) -> list[str]:
    """What the models of a sweep's table are, apart from their sparsity and seed: those of one family make a line."""
    metrics = {*Description._fields, *_SPARSITY, "model", "seed"}
    columns = [c for c in table if c not in metrics and table[c].astype(str).nunique() > 1]
    names = table[[c for c in columns if c != "activation"]].apply(lambda c: f"{c.name} " + c.astype(str))
    kinds = table["activation"].astype(str) if "activation" in columns else None
    parts = [kinds, *(names[c] for c in names)] if kinds is not None else [names[c] for c in names]
    return [", ".join(row) for row in zip(*parts, strict=True)] if parts else [""] * len(table)


def _is_axis(name: str, value: Any) -> bool:
    """Whether a field of a grid lists values: of those that are lists themselves, only a list of lists does."""
    if not isinstance(value, list):
        return False
    return name not in ("matryoshka", "betas") or any(isinstance(v, list) for v in value)


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
    rows = rows.rename(columns={"l0": "l0_weight"})  # the metric l0 counts active features
    varying = [c for c in rows if rows[c].nunique(dropna=False) > 1 or c in ("width", "activation")]
    table = rows[varying].assign(seed=seeds, **training)
    metrics = pd.DataFrame([fit.metrics for fit in fits])
    table = pd.concat([table, metrics], axis=1)
    table.insert(0, "model", np.arange(len(table)))
    return table, fits
