"""Ways in which the features of two dictionaries can be alike, and what both must have for it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.data.missing import groups as labelled
from cellprism.errors import InputError
from cellprism.features.dictionary import Dictionary
from cellprism.features.likeness import Likeness, Mirrors, Permutations, Rows

__all__ = ["FEWEST_CELLS", "LEVELS", "look"]

FEWEST_CELLS: Final = 20
_FEWEST_GENES: Final = 50
_FEWEST_SETS: Final = 10
_SHARE: Final = 0.2  # of the names of the side with fewer that the other must have too
_SIGNIFICANT: Final = 0.05
LEVELS: Final = {"codes": 0.5, "decoder": 0.5, "genes": 0.5, "sets": 0.25}
"""Score from which on a feature counts as found in the other dictionary."""
_ELSE: Final = "dictionaries of other cells are compared `by='genes'` or sets"


def look(first: Dictionary, second: Dictionary, by: str, within: str | None = None) -> tuple[Likeness, str]:
    """Rows to be compared, with their null, and in words what both have in common.

    Raises
    ------
    InputError
        Where that is too little.
    """
    if not (len(first) and len(second)):
        raise InputError("dictionaries with features are compared", "one without any", "fit it to more cells")
    if within is not None and not isinstance(within, str):
        raise InputError(
            "`within` is the name of a column of labels",
            f"{type(within).__name__}",
            "compare run folders, or AnnDatas with prism.tl.match, whose cells have that column",
        )
    if within is not None and by != "codes":
        raise InputError("labels hold cells together where codes are compared", f"by {by}", "leave `within` out")
    return _LOOKS[by](first, second) if by != "codes" else _by_codes(first, second, within)


def _shared_cells(first: Dictionary, second: Dictionary) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the cells that both have, by name."""
    if first.cells is None or second.cells is None:
        raise InputError("cells are matched by name", "a dictionary without cells", "give run folders; " + _ELSE)
    names = [pd.Index(one.cells["cell"].astype(str)) for one in (first, second) if one.cells is not None]
    if not (names[0].is_unique and names[1].is_unique):
        raise InputError(
            "cells are matched by name, so names must be unique",
            "names that repeat",
            "call adata.obs_names_make_unique()",
        )
    at = names[1].get_indexer(names[0])
    rows = np.flatnonzero(at >= 0)
    return rows, at[rows]


def _by_codes(first: Dictionary, second: Dictionary, within: str | None) -> tuple[Likeness, str]:
    rows, there = _shared_cells(first, second)
    groups, told = np.zeros(len(rows), dtype=np.intp), ""
    if within is not None:
        number = _labels_of(first, within)[rows]
        known = number >= 0
        rows, there, groups = rows[known], there[known], number[known].astype(np.intp)
        told = f", chance within {within}" + (
            "" if known.all() else f" ({(~known).sum():,} cells without one left out)"
        )
    if len(rows) < FEWEST_CELLS or first.codes is None or second.codes is None:
        total = [0 if one.cells is None else len(one.cells) for one in (first, second)]
        raise InputError(
            f"codes are compared on the cells that both dictionaries have, at least {FEWEST_CELLS}",
            f"{len(rows)} shared of {total[0]} and {total[1]}",
            f"run both on the same cells with the same cell names; of runs in one model's space, give `encode=True`; {_ELSE}",
        )
    a, b = (sp.csr_array(codes[at].T) for codes, at in ((first.codes, rows), (second.codes, there)))
    return Likeness("correlation", Rows(a), Rows(b), Permutations(groups)), f"on {len(rows):,} shared cells{told}"


def _labels_of(dictionary: Dictionary, column: str) -> NDArray[np.int64]:
    """(cells,) number of each cell's label; -1 where it has none."""
    table = dictionary.cells
    if table is None or column not in table:
        raise InputError(
            "cells are held together by a column of theirs", repr(column), "name a label column of the run"
        )
    return labelled(table[column].to_numpy(dtype=object)).number


def _by_decoder(first: Dictionary, second: Dictionary) -> tuple[Likeness, str]:
    if first.directions is None or second.directions is None:
        raise InputError("decoders are compared by the directions of both", "none of one", "give run folders")
    a, b = first.directions, second.directions
    rule = "directions are compared in one space: the embedding of one model"
    if a.shape[1] != b.shape[1]:
        raise InputError(rule, f"{a.shape[1]} and {b.shape[1]} dimensions", "compare by codes, genes or sets")
    rows, there = (np.array([], dtype=np.intp),) * 2
    if first.cells is not None and second.cells is not None:
        rows, there = _shared_cells(first, second)
    if len(rows) >= FEWEST_CELLS and first.embedding is not None and second.embedding is not None:
        x, y = first.embedding[rows], second.embedding[there]
        if np.abs(x - y).max() > 1e-3 * max(float(np.abs(x).max()), 1e-12):
            raise InputError(
                rule, f"{len(rows)} cells that lie elsewhere in the other", "compare by codes, genes or sets"
            )
        basis = f"in one embedding of {a.shape[1]} dimensions (the same for {len(rows):,} cells)"
    elif first.space and first.space == second.space:
        basis = f"in one embedding of {a.shape[1]} dimensions (by the same model)"
    else:
        raise InputError(rule, "neither shared cells nor the same model", "compare by genes or sets")
    return Likeness("cosine", Rows(a), Rows(b), Mirrors()), basis


def _by_genes(first: Dictionary, second: Dictionary) -> tuple[Likeness, str]:
    tables = [_signatures(one) for one in (first, second)]
    names = [pd.Index(t["token"].unique()) for t in tables]
    shared = names[0].intersection(names[1]).sort_values()
    _enough("gene symbols", names[0], names[1], shared, _FEWEST_GENES)
    a, b = (
        _matrix(one, t, shared, t["statistic"].to_numpy(dtype=np.float64))
        for one, t in zip((first, second), tables, strict=True)
    )
    basis = f"over {len(shared):,} shared gene symbols (of {len(names[0]):,} and {len(names[1]):,})"
    return Likeness("correlation", Rows(a), Rows(b), Mirrors()), basis


def _signatures(one: Dictionary) -> pd.DataFrame:
    """Strongest statistic of each feature and symbol; measured proteins and peaks are told from genes of their name."""
    if one.genes is None or one.genes.empty:
        raise InputError(
            "signatures need a table of genes", "none, or an empty one", "annotate the features with expression"
        )
    table = one.genes
    symbol = table["symbol"].astype(str).str.strip()
    if "modality" in table:
        other = ~table["modality"].astype(str).isin(["rna", "", "nan", "None"])
        symbol = symbol.where(~other | (symbol == ""), table["modality"].astype(str) + ":" + symbol)
    known = ~symbol.str.casefold().isin(["", "nan", "none", "na", "<na>"]) & table["statistic"].notna()
    kept = pd.DataFrame({"feature": table["feature"], "token": symbol, "statistic": table["statistic"]})[known]
    order = kept["statistic"].abs().sort_values(ascending=False, kind="stable").index
    return kept.loc[order].drop_duplicates(["feature", "token"])


def _by_sets(first: Dictionary, second: Dictionary) -> tuple[Likeness, str]:
    tables, names = [], []
    for one in (first, second):
        if one.sets is None or one.sets.empty:
            raise InputError("sets are compared where both tested some", "no set of one", "annotate with gene sets")
        q = one.sets["qval"] if "qval" in one.sets else one.sets[["qval_rank", "qval_ora"]].min(axis=1)
        up = one.sets["direction"].astype(str)
        found = one.sets.assign(token=one.sets["set"].astype(str) + "\t" + up)[q < _SIGNIFICANT]
        tables.append(found.drop_duplicates(["feature", "token"]))
        tested = one.tested if one.tested is not None else tuple(one.sets["set"].astype(str))
        names.append(pd.Index(tested).unique())
    both = names[0].intersection(names[1]).sort_values()
    _enough("names of gene sets", names[0], names[1], both, _FEWEST_SETS)
    shared = pd.Index([f"{name}\t{way}" for name in both for way in ("up", "down")])
    a, b = (_matrix(one, t, shared, np.ones(len(t))) for one, t in zip((first, second), tables, strict=True))
    # A set that most features have is met by chance in most of the other's: only sets about as common change places.
    common = np.floor(np.log2(np.maximum(np.asarray(a.sum(axis=0)), 0.5))).astype(np.intp)
    basis = f"over {len(both):,} gene sets that both tested (of {len(names[0]):,} and {len(names[1]):,})"
    return Likeness("jaccard", Rows(a), Rows(b), Permutations(common)), basis


def _matrix(one: Dictionary, table: pd.DataFrame, columns: pd.Index, values: NDArray[np.float64]) -> sp.csr_array:
    """(features, columns) of a table with a row a feature and token."""
    row = pd.Index(one.features["feature"]).get_indexer(pd.Index(table["feature"]))
    column = columns.get_indexer(pd.Index(table["token"]))
    known = (row >= 0) & (column >= 0)
    shape = (len(one), len(columns))
    return sp.csr_array((values[known], (row[known], column[known])), shape=shape)


def _enough(what: str, first: pd.Index, second: pd.Index, shared: pd.Index, fewest: int) -> None:
    fewer = min(len(first), len(second))
    if len(shared) >= fewest and len(shared) >= _SHARE * fewer:
        return
    folded: Any = first.str.casefold().intersection(second.str.casefold())
    met = f"{len(shared):,} shared of {len(first):,} and {len(second):,}"
    remedy = f"test both on the same {what.removeprefix('names of ')}"
    if len(folded) > max(2 * len(shared), fewest - 1):
        met += f", {len(folded):,} but for upper and lower case, as of two species"
        remedy = "map the genes of one species to symbols of the other and annotate anew with `gene_symbols=`"
    share = f"and {_SHARE:.0%} of the shorter list"
    raise InputError(
        f"dictionaries are compared over the {what} that both have, at least {fewest} {share}", met, remedy
    )


_LOOKS: Final = {"decoder": _by_decoder, "genes": _by_genes, "sets": _by_sets}
