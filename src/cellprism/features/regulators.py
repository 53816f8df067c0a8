"""Regulators and pathways of each feature, from signed networks: scores of decoupler, judged by permuted cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellprism.features.evidence import Evidence, test_codes
from cellprism.features.question import Question, Study
from cellprism.genesets.networks import regulator_activity
from cellprism.stats.nulls import permuted_codes
from cellprism.stats.setindex import usable_symbols

__all__ = ["REGULATOR_COLUMNS", "regulator_table", "top_regulators"]

REGULATOR_COLUMNS = ("feature", "network", "source", "score", "qval", "pval_max")
_KEPT, _FEWEST_NULLS = 10, 200


def regulator_table(
    study: Study,
    found: Evidence,
    question: Question,
    networks: Mapping[str, pd.DataFrame],
    n_features: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Score the sources of signed networks on the gene statistics of every testable feature.

    Parameters
    ----------
    study, found, question
        The features and what the gene tests found; of genes that share a symbol the one seen in most cells counts.
    networks
        Name -> columns ``source``, ``target``, ``weight``.
    n_features
        Most features whose cells are permuted for the null.

    Returns
    -------
    Per feature and network the ten sources of largest absolute ``score`` (univariate linear model of decoupler, signed),
    ``qval`` (its Benjamini-Hochberg value within the feature, which takes genes as independent) and ``pval_max``: the
    share of features with permuted cells of which any source scores at least as high. The last one is calibrated.
    """
    testable = np.flatnonzero(found.contrast.testable)
    parts: list[pd.DataFrame] = []
    if testable.size and networks:
        chosen = np.sort(rng.choice(testable, min(n_features, testable.size), replace=False))
        part, strata = sp.csc_array(study.tested_codes[:, chosen]), question.expression.strata
        repeats = -(-_FEWEST_NULLS // chosen.size)  # few features are permuted several times
        permuted = sp.csc_array(sp.hstack([permuted_codes(part, strata, rng) for _ in range(repeats)], format="csc"))
        blank = test_codes(permuted, replace(question, sets=None))
        columns, names = _one_gene_a_symbol(question, study.genes["symbol"].tolist())
        real = np.nan_to_num(found.genes.calibrated[testable][:, columns])
        null = np.nan_to_num(blank.genes.calibrated[blank.contrast.testable][:, columns])
        for network, effects in networks.items():
            scores = regulator_activity(real, names, effects)
            blanks = regulator_activity(null, names, effects)
            ordered = np.sort(blanks["score"].abs().groupby(blanks["feature"]).max().to_numpy())
            reached = ordered.size - np.searchsorted(ordered, scores["score"].abs().to_numpy(), side="left")
            scores = scores.assign(pval_max=(1.0 + reached) / (1.0 + ordered.size), network=network)
            scores["feature"] = testable[scores["feature"].to_numpy()].astype(np.int32)
            strongest = scores["score"].abs().groupby(scores["feature"]).rank(ascending=False, method="first") <= _KEPT
            parts.append(scores[strongest])
    if not parts:
        return pd.DataFrame(
            {c: pd.Series(dtype=object if c in ("network", "source") else float) for c in REGULATOR_COLUMNS}
        )
    table = pd.concat(parts, ignore_index=True)[list(REGULATOR_COLUMNS)]
    order = np.lexsort((-table["score"].abs().to_numpy(), table["feature"].to_numpy()))
    return table.iloc[order].reset_index(drop=True)


def top_regulators(table: pd.DataFrame, level: float) -> dict[int, str]:
    """For each feature the regulator whose induced targets are up the most, where permuted cells do not reach it."""
    limit = level / max(table["network"].nunique(), 1)
    passing = table[(table["score"] > 0) & (table["pval_max"] <= limit)]
    best = passing.sort_values(["pval_max", "score"], ascending=[True, False], kind="stable").drop_duplicates("feature")
    return {
        int(f): f"{source} targets ({network})"
        for f, source, network in zip(best["feature"], best["source"], best["network"], strict=True)
    }


def _one_gene_a_symbol(question: Question, symbols: list[str]) -> tuple[np.ndarray, np.ndarray]:
    names = usable_symbols(symbols)
    seen = question.expression.expressed
    order = np.argsort(-seen, kind="stable")
    order = order[(names[order] != "") & (seen[order] > 0)]
    _, first = np.unique(names[order].astype(str), return_index=True)
    columns = np.sort(order[first])
    return columns, names[columns]
