"""Extra covariates of a model of scvi-tools, beside its batch: given with the cells, or at a reference that is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.data.missing import groups
from cellprism.errors import InputError

__all__ = ["Covariates"]


@dataclass(frozen=True)
class Covariates:
    """Names and, where a cell tells none, the values that are decoded at."""

    categorical: dict[str, list[str]] = field(default_factory=dict)
    """Categories of each column, in the model's order."""
    continuous: list[str] = field(default_factory=list)
    at_category: dict[str, int] = field(default_factory=dict)
    """The commonest category of each; the first where no cells have told."""
    at_value: dict[str, float] = field(default_factory=dict)
    """The mean of each; 0 where no cells have told."""

    def __bool__(self) -> bool:
        return bool(self.categorical or self.continuous)

    @property
    def columns(self) -> tuple[list[tuple[str, list[str]]], list[tuple[str, list[str]]]]:
        """Names of categorical and of continuous ones, with their categories (none)."""
        return list(self.categorical.items()), [(name, []) for name in self.continuous]

    def referred(self, obs: pd.DataFrame) -> Covariates:
        """The same, decoded at the commonest categories and means of these cells, as far as they have the columns."""
        category, value = dict(self.at_category), dict(self.at_value)
        for name in self.categorical:
            if name in obs:
                found = groups(obs[name])
                known = [n for n in self.categorical[name] if n in set(found.names)]
                if known:
                    size = dict(zip(found.names, found.sizes, strict=True))
                    category[name] = self.categorical[name].index(max(known, key=lambda n: size[n]))
        for name in self.continuous:
            if name in obs and pd.api.types.is_numeric_dtype(obs[name]):
                mean = float(np.nanmean(obs[name].to_numpy(dtype=float, na_value=np.nan)))
                value[name] = mean if np.isfinite(mean) else 0.0
        return replace(self, at_category=category, at_value=value)

    def reference(self) -> str:
        """The values decoded at where cells tell none, in words."""
        parts = []
        for name, names in self.categorical.items():
            told = name in self.at_category
            parts.append(
                f"{name} {names[self.at_category.get(name, 0)]!r} ({'the commonest' if told else 'the first: its cells are not known'})"
            )
        for name in self.continuous:
            told = name in self.at_value
            parts.append(
                f"{name} {self.at_value.get(name, 0.0):.3g} ({'the mean' if told else 'its cells are not known'})"
            )
        return ", ".join(parts)

    def values(self, obs: pd.DataFrame | None, n: int) -> tuple[NDArray[np.int64] | None, NDArray[np.float32] | None]:
        """(n, categorical) numbers of the categories and (n, continuous) values: of the cells, or of the reference.

        Raises
        ------
        InputError
            If cells lack a column or have a category that the model does not know.
        """
        cat = [self._codes(name, obs, n) for name in self.categorical]
        cont = [self._numbers(name, obs, n) for name in self.continuous]
        return np.stack(cat, 1) if cat else None, np.stack(cont, 1) if cont else None

    def _codes(self, name: str, obs: pd.DataFrame | None, n: int) -> NDArray[np.int64]:
        if obs is None:
            return np.full(n, self.at_category.get(name, 0), dtype=np.int64)
        self._present(name, obs)
        found, known = groups(obs[name]), {v: i for i, v in enumerate(self.categorical[name])}
        new = sorted(set(found.names) - set(known))
        if new or found.n_missing:
            raise InputError(
                f"the covariate {name!r} must be one the model knows: {self.categorical[name]}",
                ", ".join(new) or f"{found.n_missing} cells without a value",
                "decode without cells for the reference, or map it to a known one",
            )
        return np.asarray([known[v] for v in found.text()], dtype=np.int64)

    def _numbers(self, name: str, obs: pd.DataFrame | None, n: int) -> NDArray[np.float32]:
        if obs is None:
            return np.full(n, self.at_value.get(name, 0.0), dtype=np.float32)
        self._present(name, obs)
        values = pd.to_numeric(obs[name], errors="coerce").to_numpy(dtype=np.float32)
        if not np.isfinite(values).all():
            raise InputError(
                f"the covariate {name!r} must be a finite number in every cell", "cells without one", "fill them"
            )
        return values

    @staticmethod
    def _present(name: str, obs: pd.DataFrame) -> None:
        if name not in obs:
            raise InputError(
                "cells need the covariates of the model in obs",
                f"no {name!r} among {list(map(str, obs))[:10]}",
                "add the column",
            )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "categorical": self.categorical,
            "continuous": self.continuous,
            "at_category": self.at_category,
            "at_value": self.at_value,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any] | None) -> Covariates:
        """From :meth:`to_dict`; None has none."""
        return cls(**content) if content else cls()
