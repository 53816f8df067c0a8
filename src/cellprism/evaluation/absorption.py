"""Absorption: a broad feature that stays silent where a narrower one fires in its stead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import beta

from cellprism.errors import InputError
from cellprism.evaluation.probing import best_features, usable_targets
from cellprism.evaluation.targets import Column

__all__ = ["absorption", "read_hierarchy"]


def absorption(
    found: Mapping[str, sp.csr_array],
    columns: Sequence[Column],
    hierarchy: Sequence[str] | Mapping[str, str],
    folds: NDArray[np.intp],
    add: Callable[..., None],
) -> None:
    """Rows ``absorption`` and ``silent`` of each narrow category within its broad one.

    The features of both are the best detectors on the other folds. ``silent``: share of the narrow category's cells that the
    broad feature does not call. ``absorbed``: share that it does not call while the narrow feature, another one, does.
    """
    for broad, narrow in read_hierarchy(columns, hierarchy):
        parents, _ = usable_targets([broad], folds)
        children, _ = usable_targets([narrow], folds)
        if not parents or not children:
            continue
        for name, codes in found.items():
            over, under = best_features(codes, parents, folds), best_features(codes, children, folds)
            total = np.zeros(3, dtype=np.int64)
            for c, (_, child) in enumerate(children):
                cells = narrow.members(child) & broad.known & (folds >= 0)
                parent = np.bincount(broad.number[cells]).argmax()
                p = next((i for i, (_, category) in enumerate(parents) if category == parent), None)
                if p is None or _same(narrow, child, broad, int(parent)):
                    continue
                cells &= broad.members(int(parent))
                other = over.features[p, folds] != under.features[c, folds]
                silent = cells & ~over.called[p]
                absorbed = silent & under.called[c] & other
                counts = np.array([cells.sum(), silent.sum(), absorbed.sum()])
                total += counts
                _add(add, f"{broad.target(int(parent))} in {narrow.categories[child]}", name, counts)
            if total[0]:
                _add(add, "mean", name, total)


def read_hierarchy(
    columns: Sequence[Column], hierarchy: Sequence[str] | Mapping[str, str]
) -> list[tuple[Column, Column]]:
    """Pairs of a broad and a narrow column: neighbours of the columns named, or made from narrow category -> broad one.

    Raises
    ------
    InputError
        If a column or category is not in the truth, or fewer than two columns are named.
    """
    by_name = {column.name: column for column in columns}
    if isinstance(hierarchy, Mapping):
        narrow = next((c for c in columns if set(map(str, hierarchy)) <= set(c.categories)), None)
        if narrow is None:
            raise InputError(
                "a hierarchy names categories of one column of the truth",
                ", ".join(map(str, list(hierarchy)[:5])),
                "give narrow category -> broad category, as the truth spells them",
            )
        up = {str(k): str(v) for k, v in hierarchy.items()}
        names: list[Any] = [up.get(category) for category in narrow.categories]
        labels = np.array([*names, None], dtype=object)[narrow.number]
        return [(Column.of(f"broad {narrow.name}", labels), narrow)]
    missing = [name for name in hierarchy if name not in by_name]
    if missing or len(hierarchy) < 2:
        raise InputError(
            "a hierarchy is two or more columns of the truth, from broad to narrow",
            f"no {', '.join(missing)}" if missing else f"{len(hierarchy)} column",
            f"choose of {', '.join(by_name)}",
        )
    return [(by_name[a], by_name[b]) for a, b in pairwise(hierarchy)]


def _same(narrow: Column, child: int, broad: Column, parent: int) -> bool:
    """Whether a category is all of its broad one: then nothing can be absorbed."""
    known = narrow.known & broad.known
    return bool((narrow.members(child)[known] == broad.members(parent)[known]).all())


def _add(add: Callable[..., None], target: str, name: str, counts: NDArray[np.int64]) -> None:
    n, *parts = counts.tolist()
    for measure, part in zip(("silent", "absorption"), parts, strict=True):
        low, high = beta.ppf([0.025, 0.975], part + 0.5, n - part + 0.5)  # Jeffreys
        add(measure, target, name, 1, part / n if n else np.nan, float(low), float(high), np.nan)
