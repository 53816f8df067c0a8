"""A dictionary as gene sets and as a weighted network, for any other tool that takes those."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cellprism.errors import InputError
from cellprism.features.direction import direction
from cellprism.files import check_ending, replacing
from cellprism.genesets.gmt import write_gmt
from cellprism.numeric import numbers_checked

__all__ = ["NETWORK_ENDINGS", "feature_network", "feature_sets", "write_feature_sets", "write_network"]

NETWORK_ENDINGS = (".csv", ".tsv", ".parquet")


@numbers_checked
def feature_network(
    genes: pd.DataFrame,
    features: pd.DataFrame | None = None,
    *,
    level: float = 0.05,
    top: int = 100,
    column: str = "gene",
) -> pd.DataFrame:
    """Signed network from features to their genes, as decoupler's methods take it.

    Parameters
    ----------
    genes
        Gene table of an annotation or run.
    features
        Feature table; with it sources carry the feature's name.
    level
        q value that a gene must pass.
    top
        Most genes a feature, strongest first.
    column
        "gene", or "symbol" (genes without one are left out, and of genes that share one the strongest stays).

    Returns
    -------
    Columns ``source``, ``target``, ``weight`` (log2 fold change), ``statistic`` and ``feature``; one row a pair, where
    both have one sign (:func:`cellprism.features.direction.direction`).

    Raises
    ------
    InputError
        When no gene passes.

    Examples
    --------
    >>> network = prism.feature_network(annotation.genes, annotation.features, top=20)
    >>> network.columns.tolist()
    ['source', 'target', 'weight', 'statistic', 'feature']
    """
    rows = genes[(genes["qval"] <= level) & (direction(genes["statistic"], genes["log2fc"]) != 0)]
    rows = rows.assign(target=rows[column].astype(str), size=rows["statistic"].abs())
    rows = rows[rows["target"] != ""].sort_values(["feature", "size"], ascending=[True, False], kind="stable")
    rows = rows.drop_duplicates(["feature", "target"]).groupby("feature", sort=False).head(top)
    if rows.empty:
        raise InputError(f"a network needs genes at q < {level:g}", "none", "raise `level` or test more cells")
    return pd.DataFrame(
        {
            "source": rows["feature"].map(_source_names(rows["feature"], features)).to_numpy(dtype=object),
            "target": rows["target"].to_numpy(dtype=object),
            "weight": rows["log2fc"].to_numpy(dtype=np.float64),
            "statistic": rows["statistic"].to_numpy(dtype=np.float64),
            "feature": rows["feature"].to_numpy(),
        }
    )


@numbers_checked
def feature_sets(
    genes: pd.DataFrame,
    features: pd.DataFrame | None = None,
    *,
    level: float = 0.05,
    top: int = 100,
    column: str = "gene",
    fewest: int = 3,
) -> dict[str, list[str]]:
    """Up genes of each feature as gene sets, strongest first; features with fewer than ``fewest`` are left out.

    Parameters as for :func:`feature_network`. Refused where none is left.

    Examples
    --------
    >>> exported = prism.feature_sets(annotation.genes, annotation.features)
    >>> all(len(members) >= 3 for members in exported.values())
    True
    """
    up = genes[direction(genes["statistic"], genes["log2fc"]) > 0]
    network = feature_network(up, features, level=level, top=top, column=column)
    sets = {str(name): members["target"].tolist() for name, members in network.groupby("source", sort=False)}
    kept = {name: members for name, members in sets.items() if len(members) >= fewest}
    if not kept:
        most = max(map(len, sets.values()))
        raise InputError(
            f"a gene set has {fewest} genes or more",
            f"{most} at most of any feature, at q < {level:g} and `top={top}`",
            "raise `level` or `top`",
        )
    return kept


def write_feature_sets(path: str | Path, genes: pd.DataFrame, features: pd.DataFrame | None = None) -> Path:
    """Write the features' up genes as a GMT file, with :func:`feature_sets`' defaults."""
    sets = feature_sets(genes, features)
    write_gmt(sets, path)
    return Path(path)


def write_network(network: pd.DataFrame, path: str | Path) -> Path:
    """Write a network of :func:`feature_network` as ``.csv``, ``.tsv`` or ``.parquet``, by the file's ending.

    Raises
    ------
    InputError
        For another ending.
    """
    path = check_ending(path, *NETWORK_ENDINGS, what="a network")
    with replacing(path) as beside:
        if path.suffix == ".parquet":
            network.to_parquet(beside, index=False)
        else:
            network.to_csv(beside, index=False, sep="," if path.suffix == ".csv" else "\t")
    return path


def _source_names(used: pd.Series[int], features: pd.DataFrame | None) -> dict[int, str]:
    """A unique name for each feature: its number, and its own name where that is known."""
    if features is None:
        return {int(f): f"feature {f}" for f in used.unique()}
    named = dict(zip(features["feature"].astype(int), features["name"].astype(str), strict=True))
    return {int(f): f"feature {f}: {named[int(f)]}" if int(f) in named else f"feature {f}" for f in used.unique()}
