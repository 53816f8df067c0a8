from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from cellprism.errors import InputError
from cellprism.recovery.correlate import is_sparse
from cellprism.simulate.small import REGULATION

__all__ = ["Level", "Truth"]


@dataclass(frozen=True)
class Level:
    """One level of the truth: variables of one kind, a column each."""

    values: NDArray[np.float32]
    """(cells, variables); the indicators of its categories where ``categorical``."""
    names: tuple[str, ...]
    """A name a variable."""
    visible: NDArray[np.bool_] | None = None
    """(cells, variables): where the variable has an effect on the data; None: everywhere."""
    categorical: bool = False
    """Whether the variables are the categories of one label: scored by AUROC and eta squared, one against the rest."""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names):
            raise InputError(
                "a truth level needs a column a name",
                f"values of shape {self.values.shape} for {len(self.names)} names",
                "give values (cells, variables) and as many names",
            )
        if not np.isfinite(self.values).all():
            raise InputError(
                "truth must be finite",
                f"{int((~np.isfinite(self.values)).sum())} values that are not",
                "drop these cells or variables",
            )
        if self.visible is not None and self.visible.shape != self.values.shape:
            raise InputError(
                "visibility must have the shape of the values",
                f"{self.visible.shape} against {self.values.shape}",
                "give a boolean a value",
            )

    def take(self, rows: NDArray[Any]) -> Level:
        """Keep some cells (mask or indices)."""
        visible = None if self.visible is None else self.visible[rows]
        return Level(self.values[rows], self.names, visible, self.categorical)


@dataclass(frozen=True)
class Truth:
    """Known variables of cells, by level, nearest the data first."""

    levels: dict[str, Level]
    """Name of the level -> its variables. Of the large simulation: Y, X2, X1, X0, A, B."""

    def __post_init__(self) -> None:
        if not self.levels:
            raise InputError("truth needs a level", "none", "give one array or label at least")
        counts = {name: len(level.values) for name, level in self.levels.items()}
        if len(set(counts.values())) > 1:
            raise InputError("all truth levels must have the same cells", str(counts), "align them first")

    @property
    def n_cells(self) -> int:
        """Cells."""
        return len(next(iter(self.levels.values())).values)

    def take(self, rows: NDArray[Any]) -> Truth:
        """Keep some cells (mask or indices)."""
        return Truth({name: level.take(rows) for name, level in self.levels.items()})

    def only(self, *names: str) -> Truth:
        """Keep some levels."""
        missing = [name for name in names if name not in self.levels]
        if missing:
            raise InputError("a truth level must exist", str(missing), f"choose among {list(self.levels)}")
        return Truth({name: self.levels[name] for name in names})

    @classmethod
    def of(cls, truth: Truth | AnnData | Mapping[str, Any] | pd.DataFrame | ArrayLike) -> Truth:
        """Read truth from what a user has.

        Parameters
        ----------
        truth
            A simulation of this package; a dict level -> array (cells, variables), DataFrame or label (categorical,
            string or boolean of length cells); a DataFrame, whose numeric columns become level ``truth`` and whose
            other columns a categorical level each; or one array (level ``truth``).

        Returns
        -------
        The truth.

        Raises
        ------
        InputError
            If it is none of these, or the levels do not agree on the cells.
        """
        if isinstance(truth, Truth):
            return truth
        if isinstance(truth, AnnData):
            return _from_simulation(truth)
        if isinstance(truth, pd.DataFrame):
            numeric = truth.select_dtypes("number")
            levels = {"truth": _numeric(numeric)} if numeric.shape[1] else {}
            return cls(levels | {str(c): _label(truth[c]) for c in truth.columns if c not in numeric.columns})
        if isinstance(truth, Mapping):
            return cls({str(name): _level(value) for name, value in truth.items()})
        return cls({"truth": _level(truth)})


def _from_simulation(adata: AnnData) -> Truth:
    kind = adata.uns.get("simulation", {}).get("kind")
    if kind == "small":
        score, activity, accessible = (adata.obsm[f"{name}_truth"] for name in "TAB")
        seen = np.broadcast_to(activity > 0, accessible.shape)
        return Truth(
            {
                "Y": Level(np.asarray(adata.X), tuple(adata.var_names)),
                "T": Level(score, tuple(f"t{j}" for j in range(len(REGULATION)))),
                "A": Level(activity, ("a",), accessible.any(axis=1, keepdims=True) > 0),
                "B": Level(accessible, tuple(f"b{j}" for j in range(len(REGULATION))), seen),
            }
        )
    if kind != "large":
        raise InputError(
            "truth in an AnnData must be that of a cellprism simulation",
            f"uns['simulation'] of kind {kind!r}",
            "pass a dict level -> array, a DataFrame or an array",
        )
    about = adata.uns["simulation"]
    expressed = np.asarray(about["type_program"], dtype=bool)
    if "branches" in about:
        start, end = np.asarray(about["branches"])[adata.obs["branch"].cat.codes.to_numpy()].T
        visible = expressed[start] | expressed[end]
    else:
        visible = expressed[adata.obs["cell_type"].cat.codes.to_numpy()]
    programs = tuple(about["programs"].index)
    Y = adata.layers.get("Y", adata.X)
    return Truth(
        {
            "Y": Level(Y.toarray() if is_sparse(Y) else np.asarray(Y), tuple(adata.var_names)),
            "X2": Level(np.asarray(adata.obsm["X2_truth"]), programs, visible),
            "X1": Level(np.asarray(adata.obsm["X1_truth"]), programs, visible),
            "X0": Level(np.asarray(adata.obsm["X0_truth"]), programs, visible),
            "A": _label(adata.obs["cell_type"]),
            "B": _label(adata.obs["batch"]),
        }
    )


def _level(value: Any) -> Level:
    if isinstance(value, Level):
        return value
    if isinstance(value, pd.DataFrame):
        return _numeric(value)
    if np.ndim(value) == 1:
        column = pd.Series(value)
        if column.dtype == bool or not pd.api.types.is_numeric_dtype(column.dtype):
            return _label(column)
    array = value.toarray() if is_sparse(value) else np.asarray(value)
    if array.dtype.kind not in "iufb" or array.ndim not in (1, 2):
        raise InputError(
            "a truth level must be a numeric array (cells, variables) or a label",
            f"{array.dtype} of shape {array.shape}",
            "convert it, or pass labels as a categorical Series",
        )
    array = array.reshape(len(array), -1).astype(np.float32)
    return Level(array, tuple(f"v{i}" for i in range(array.shape[1])))


def _numeric(frame: pd.DataFrame) -> Level:
    return Level(frame.to_numpy(dtype=np.float32), tuple(map(str, frame.columns)))


def _label(column: pd.Series[Any]) -> Level:
    label = column.astype("category")
    if label.isna().any():
        raise InputError(
            "labels must be complete", f"{int(label.isna().sum())} missing", "drop these cells or name them 'unknown'"
        )
    codes = label.cat.codes.to_numpy()
    names = tuple(map(str, label.cat.categories))
    return Level((codes[:, None] == np.arange(len(names))).astype(np.float32), names, categorical=True)
