"""Two dictionaries beside each other: which feature of one is which of the other, and which chance would give too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellprism.features.assignment import best_of_rows, one_to_one
from cellprism.features.dictionary import Dictionary
from cellprism.features.likeness import Likeness
from cellprism.features.looks import LEVELS, look
from cellprism.features.options import CompareOptions
from cellprism.features.relations import relations
from cellprism.stats.fdr import benjamini_hochberg

__all__ = ["Comparison", "compare"]

_TIE: Final = 1e-9  # two sums of the same numbers in another order


@dataclass(frozen=True)
class Comparison:
    """Counterparts of the features of two dictionaries."""

    table: pd.DataFrame
    """A row a feature of the first: ``feature``, ``name``, ``relation`` (shared, split, merged, mixed, unique, silent), then
    of the ``best`` counterpart and of the one-to-one ``partner`` its ``_feature`` (-1: none), ``_name``, score
    (``_correlation``, ``_cosine`` or ``_jaccard``), ``_pval`` and ``_qval``."""
    others: pd.DataFrame
    """The same, a row a feature of the second."""
    info: dict[str, Any] = field(default_factory=dict)
    """How it was made, and how many features have which relation."""

    def __repr__(self) -> str:
        return f"Comparison of {len(self.table):,} features with {len(self.others):,}, {self.info['basis']}\n    {self.said}"

    @property
    def few_draws(self) -> str:
        """What to do where features are above every draw of the null, but too few of them for so few draws; else empty."""
        draws, tested = self.info["permutations"], int(self.table["best_pval"].notna().sum())
        if not draws or (self.table["best_qval"] < 0.05).any():
            return ""
        above = int((self.table["best_pval"] < 1.5 / (1 + draws)).sum())
        if not above:
            return ""
        needed = int(tested / above / 0.05)
        return (
            f"{above:,} are above all {draws:,} draws, too few draws for q < 0.05: give {needed:,} permutations or more"
        )

    @property
    def said(self) -> str:
        """How many features of the first have which relation, in words."""
        counts = self.info["relations"]
        return ", ".join(f"{n:,} {word}" for word, n in counts.items() if n)


def compare(first: Dictionary, second: Dictionary, options: CompareOptions | None = None) -> Comparison:
    """Match the features of two dictionaries, and tell what chance would match.

    The p value of a score is the share of draws of the null in which *any* feature of the other dictionary scores as high, so
    it allows for the choice of the best among all. It is uniform under the null for the best counterpart, and not smaller
    than that for the one-to-one partner. The null: by codes the cells in random order (within labels); by sets the gene sets
    in random order, among those that about as many features of the first have; by decoder and genes the second dictionary
    mirrored along random principal axes of the first. q values are Benjamini-Hochberg over the features of a dictionary.

    Parameters
    ----------
    first, second
        What is compared.
    options
        How.

    Raises
    ------
    InputError
        Where the two have too little in common to be compared so.
    """
    asked = options or CompareOptions()
    like, basis = look(first, second, asked.by, asked.within)
    level = asked.level or LEVELS[asked.by]
    scores = like.scores()
    turned = sp.csr_array(scores.T)
    partner, partner_score = one_to_one(scores)
    back, back_score = np.full(len(second), -1, dtype=np.intp), np.zeros(len(second))
    met = np.flatnonzero(partner >= 0)
    back[partner[met]], back_score[partner[met]] = met, partner_score[met]
    (best, best_score), (best_there, score_there) = best_of_rows(scores), best_of_rows(turned)
    silent, silent_there = _silent(like)
    draws = list(like.by_chance(asked.permutations, asked.seed))
    rows = np.array([d[0] for d in draws]).reshape(len(draws), len(first))
    columns = np.array([d[1] for d in draws]).reshape(len(draws), len(second))
    here = {"best": _judged(best, best_score, rows, silent), "partner": _judged(partner, partner_score, rows, silent)}
    there = {
        "best": _judged(best_there, score_there, columns, silent_there),
        "partner": _judged(back, back_score, columns, silent_there),
    }
    clear, clear_there = (_clear(one["best"], bool(draws)) for one in (here, there))
    words, words_there = relations(scores, level, clear, clear_there)
    words[silent], words_there[silent_there] = "silent", "silent"
    table = _table(first, second, here, words, like.word)
    others = _table(second, first, there, words_there, like.word)
    counts, counts_there = (pd.Series(w).value_counts().astype(int).to_dict() for w in (words, words_there))
    info = {
        "by": asked.by, "score": like.word, "level": level, "basis": basis, "permutations": asked.permutations,
        "within": asked.within, "seed": asked.seed, "relations": counts, "relations_there": counts_there,
    }  # fmt: skip
    return Comparison(table, others, info)


@dataclass(frozen=True)
class _Judged:
    """Counterparts with their scores and what chance makes of them."""

    at: NDArray[np.intp]
    score: NDArray[np.float64]
    pval: NDArray[np.float64]
    qval: NDArray[np.float64]


def _judged(
    at: NDArray[np.intp], score: NDArray[np.float64], drawn: NDArray[np.float64], silent: NDArray[np.bool_]
) -> _Judged:
    score = np.where(silent, np.nan, score)
    if len(drawn):
        pval = (1 + (drawn >= np.nan_to_num(score)[None] - _TIE).sum(axis=0)) / (1 + len(drawn))
    else:
        pval = np.full(len(score), np.nan)
    pval = np.where(silent, np.nan, pval)
    return _Judged(at, score, pval, benjamini_hochberg(pval))


def _clear(best: _Judged, tested: bool) -> NDArray[np.bool_]:
    return np.asarray(best.qval < 0.05) if tested else np.isfinite(best.score)


def _silent(like: Likeness) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Features whose rows say nothing: of zeros, or by correlation the same everywhere."""
    found = []
    for rows in (like.first, like.second):
        about = rows.square - (rows.columns * rows.centre**2 if like.word == "correlation" else 0.0)
        found.append(about <= 1e-12 * rows.square)
    return found[0], found[1]


def _table(
    own: Dictionary, other: Dictionary, judged: dict[str, _Judged], words: NDArray[np.object_], score: str
) -> pd.DataFrame:
    numbers = np.append(other.features["feature"].to_numpy(dtype=np.int64), -1)  # the last for none
    names = np.append(other.features["name"].astype(str).to_numpy(dtype=object), "")
    table = own.features[["feature", "name"]].reset_index(drop=True)
    table["relation"] = words
    for what, one in judged.items():
        table[f"{what}_feature"], table[f"{what}_name"] = numbers[one.at], names[one.at]
        table[f"{what}_{score}"], table[f"{what}_pval"], table[f"{what}_qval"] = one.score, one.pval, one.qval
    return table
