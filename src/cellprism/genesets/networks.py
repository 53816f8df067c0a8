"""Signed networks of regulators and pathways (CollecTRI, PROGENy) as evidence for naming."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cellprism.errors import InputError
from cellprism.files import replacing
from cellprism.genesets.kept import held_to_first
from cellprism.genesets.libraries import cache_dir
from cellprism.genesets.tables import read_table
from cellprism.numeric import numbers_checked

__all__ = ["NETWORKS", "fetch_network", "network_path", "read_network", "regulator_activity", "signed_sets"]

NETWORKS = {"collectri": "CollecTRI", "progeny": "PROGENy"}
"""Networks that :func:`fetch_network` knows, and how they write themselves."""


def read_network(
    table: str | Path | pd.DataFrame, source: str = "source", target: str = "target", weight: str = "weight"
) -> pd.DataFrame:
    """Check a signed network that the user gives.

    Parameters
    ----------
    table
        A frame, or a ``.csv``, ``.tsv`` or ``.txt`` (also gzipped) or ``.parquet`` file.
    source, target, weight
        Columns with the regulator or pathway, the gene symbol, and the sign or strength of the effect.

    Returns
    -------
    pandas.DataFrame
        Columns ``source``, ``target``, ``weight`` (float, never 0), each pair once, in the order given.

    Raises
    ------
    InputError
        If the file cannot be read, a column is absent, a weight is not a number, or a pair has two weights.

    Examples
    --------
    >>> table = pd.DataFrame({"source": ["SPI1"], "target": ["LYZ"], "weight": [1.0]})
    >>> prism.genesets.read_network(table).columns.tolist()
    ['source', 'target', 'weight']
    """
    frame = table if isinstance(table, pd.DataFrame) else read_table(Path(table), "a network")
    absent = [column for column in (source, target, weight) if column not in frame.columns]
    if absent:
        raise InputError(
            "a network must have a source, a target and a weight for each effect",
            f"no column {absent[0]!r}",
            f"choose from {', '.join(map(repr, frame.columns[:20]))}",
        )
    network = pd.DataFrame(
        {
            "source": frame[source].astype(str),
            "target": frame[target].astype(str),
            "weight": pd.to_numeric(frame[weight], errors="coerce").astype(float),
        }
    ).drop_duplicates()
    odd = ~np.isfinite(network["weight"])
    if odd.any():
        row = network[odd].iloc[0]
        raise InputError(
            "the weights of a network must be finite numbers",
            f"{int(odd.sum())} that are not, the first for {row['source']!r} on {row['target']!r}",
            "mend or drop these rows",
        )
    twice = network.duplicated(["source", "target"])
    if twice.any():
        row = network[twice].iloc[0]
        raise InputError(
            "a pair of a network must have one weight",
            f"two for {row['source']!r} on {row['target']!r}",
            "choose one, or average them",
        )
    network = network[network["weight"] != 0].reset_index(drop=True)
    if network.empty:
        raise InputError("a network must hold an effect", "none", "give another table")
    return network


def network_path(name: str, organism: str = "human") -> Path:
    """Return where a network is kept once it is fetched."""
    return cache_dir() / "networks" / f"{name}_{organism}.csv.gz"


def fetch_network(name: str, organism: str = "human") -> pd.DataFrame:
    """Return CollecTRI or PROGENy, from disk where it was fetched before.

    Parameters
    ----------
    name
        ``"collectri"``: regulators and their targets, signed (Müller-Dott et al. 2023, doi:10.1093/nar/gkad841).
        ``"progeny"``: genes that respond to 14 pathways, weighted (Schubert et al. 2018,
        doi:10.1038/s41467-017-02391-6).
    organism
        As decoupler takes it.

    Returns
    -------
    pandas.DataFrame
        As :func:`read_network`.

    Raises
    ------
    InputError
        If the name is unknown, or the network is neither on disk nor to be had.

    Examples
    --------
    Not run by the tests: it fetches from the network.

    >>> network = prism.genesets.fetch_network("collectri")  # doctest: +SKIP
    """
    if name not in NETWORKS:
        raise InputError("the network must be known", repr(name), f"choose from {', '.join(NETWORKS)}")
    path = network_path(name, organism)
    fresh = not path.is_file()
    if fresh:
        decoupler = _decoupler(f"fetching {NETWORKS[name]}")
        try:
            fetched = getattr(decoupler.op, name)(organism=organism)
        except (OSError, ValueError, KeyError, AssertionError) as error:
            raise InputError(
                f"{NETWORKS[name]} must be on this machine or to be had from the network",
                f"no copy at {path}, and fetching it failed ({type(error).__name__})",
                "run once with a network, or give the table to read_network",
            ) from error
        network = read_network(fetched)
        with replacing(path) as beside:
            network.to_csv(beside, index=False, compression="gzip")
    held_to_first(path, fresh=fresh)
    return read_network(path)


@numbers_checked
def signed_sets(network: pd.DataFrame, label: str = "", top: int | None = None) -> dict[str, list[str]]:
    """Split each regulator's targets into a set of induced and a set of repressed genes.

    As sets they go through the same calibrated tests as any other, so that a regulator names a feature only where
    its targets stand out against the nulls.

    Parameters
    ----------
    network
        From :func:`read_network` or :func:`fetch_network`.
    label
        Said behind each name, such as ``"CollecTRI"``.
    top
        Keep this many targets of the largest absolute weight of each regulator, before the split; ties by order.

    Returns
    -------
    dict
        ``"<source> induced (<label>)"`` and ``"<source> repressed (<label>)"`` -> genes, the strongest first.

    Raises
    ------
    InputError
        If ``top`` is below 1.

    Examples
    --------
    >>> table = pd.DataFrame({"source": ["SPI1", "SPI1"], "target": ["LYZ", "CD3E"], "weight": [1.0, -1.0]})
    >>> list(prism.genesets.signed_sets(prism.genesets.read_network(table), "mine"))
    ['SPI1 induced (mine)', 'SPI1 repressed (mine)']
    """
    ordered = network.iloc[np.argsort(-network["weight"].abs().to_numpy(), kind="stable")]
    if top is not None:
        ordered = ordered.groupby("source", sort=False).head(top)
    ending = f" ({label})" if label else ""
    sets: dict[str, list[str]] = {}
    for source in dict.fromkeys(network["source"]):
        effects = ordered[ordered["source"] == source]
        for effect, of_sign in (("induced", effects["weight"] > 0), ("repressed", effects["weight"] < 0)):
            genes = effects.loc[of_sign, "target"].tolist()
            if genes:
                sets[f"{source} {effect}{ending}"] = genes
    return sets


@numbers_checked
def regulator_activity(
    statistics: ArrayLike,
    symbols: NDArray[np.object_],
    network: pd.DataFrame,
    *,
    method: Literal["ulm", "mlm", "waggr", "zscore", "viper"] = "ulm",
    min_size: int = 5,
) -> pd.DataFrame:
    """Score regulators from the gene statistics of each feature, by a method of decoupler.

    Parameters
    ----------
    statistics
        (features, genes) signed statistics, such as z; 0 where a gene was not tested.
    symbols
        (genes,) symbols, "" for genes that do not count.
    network
        From :func:`read_network` or :func:`fetch_network`.
    method
        Name in ``decoupler.mt``; ``"ulm"`` regresses a feature's statistics on the weights of one regulator.
    min_size
        Fewest measured targets of a regulator that is scored.

    Returns
    -------
    pandas.DataFrame
        A row a feature and regulator: ``feature`` (row of ``statistics``), ``source``, ``score``, ``qval``
        (Benjamini-Hochberg within the feature, from decoupler; NaN where the method has no test).

    Raises
    ------
    InputError
        If decoupler is not installed, shapes differ, or no regulator has enough measured targets.

    Notes
    -----
    These q values take genes as independent, which genes of one programme are not: they rank regulators of a
    feature, and are descriptive. For calibrated evidence test :func:`signed_sets` as gene sets.

    Examples
    --------
    Not run by the tests: it needs the extra genesets, and fetches.

    >>> network = prism.genesets.fetch_network("progeny")  # doctest: +SKIP
    >>> scores = prism.genesets.regulator_activity(statistics, genes, network)  # doctest: +SKIP
    """
    values = np.atleast_2d(np.asarray(statistics, dtype=float))
    if values.shape[1] != len(symbols):
        raise InputError(
            "there must be a symbol for each gene", f"{len(symbols)} for {values.shape[1]} genes", "align the two"
        )
    counted = np.array([bool(symbol) for symbol in symbols])
    names = np.asarray(symbols, dtype=object)[counted]
    measured = network[network["target"].isin(set(names))]
    sizes = measured.groupby("source").size()
    if sizes.empty or sizes.max() < min_size:
        raise InputError(
            f"a regulator needs {min_size} measured targets to be scored",
            f"{0 if sizes.empty else int(sizes.max())} at most",
            "give gene symbols in the naming of the network, or lower min_size",
        )
    mt = _decoupler("scoring regulators").mt
    data = pd.DataFrame(values[:, counted], columns=names, index=[str(row) for row in range(len(values))])
    answer = getattr(mt, method)(data=data, net=measured, tmin=min_size, empty=False)
    score, qval = answer
    table: pd.DataFrame = score.rename_axis(index="feature", columns="source").stack().rename("score").reset_index()
    table["qval"] = np.nan if qval is None else qval.stack().to_numpy()
    table["feature"] = table["feature"].astype(int)
    return table


def _decoupler(purpose: str) -> Any:
    """Import decoupler, or say how to get it."""
    try:
        import decoupler
    except ImportError as error:
        raise InputError(
            f"{purpose} needs the package decoupler", "it is not installed", "pip install 'cellprism[genesets]'"
        ) from error
    return decoupler
