"""Figures of real cells: kinds of features, their profiles, steering, and two embedding models beside each other."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from given import SEEDS, Given
from steered import profiles as profiles_of
from steered import steering as steering_of

import cellprism as prism
from cellprism.features.kinds import cell_type_kinds
from cellprism.features.terms import TermMap, probed, term_map
from cellprism.genesets import bundled_sources
from cellprism.stats.nulls import matched_directions

WORDS = ("immune", "erythrocyte", "cell cycle", "mitochondrial", "transport")
MAPPED = 2_000  # features that a map shows at most


def dictionaries(preset: str, given: Given) -> dict[str, list[prism.SAE]]:
    """The paper's SAE and the default one, a seed each."""
    return {
        "the paper's SAE": [given.paper_sae(preset, seed) for seed in SEEDS],
        "cellprism": [given.default_sae(seed) for seed in SEEDS],
    }


def kinds(preset: str, given: Given) -> object:
    """Features of each kind by dictionary and seed, beside random directions that are active in as many cells each."""
    out = []
    for name, saes in dictionaries(preset, given).items():
        for seed, sae in zip(SEEDS, saes, strict=True):
            codes = sae.encode(given.Z)
            n_active = np.bincount(codes.indices, minlength=codes.shape[1])
            chance = matched_directions(given.Z, n_active[n_active > 0], np.random.default_rng(seed))
            about = {"dictionary": name, "seed": seed, "width": codes.shape[1], "l0": codes.nnz / codes.shape[0]}
            found = {"kinds": _counted(codes, given), "random": _counted(chance, given)}
            out.append(about | found)
    return out


def _counted(codes: Any, given: Given) -> dict[str, int]:
    return cell_type_kinds(codes, given.labels)["kind"].value_counts().to_dict()


def profiles(preset: str, given: Given) -> object:
    """Mean activation by cell type of the features of each kind: the paper's SAE and the default one, three seeds each."""
    return profiles_of(dictionaries(preset, given), given.Z, given.labels, SEEDS)


def steering(preset: str, given: Given) -> object:
    """A local and a global feature turned up in cells of one type: quick, the default dictionary; full, the paper's."""
    sae = given.default_sae(SEEDS[0]) if preset == "quick" else given.paper_sae(preset, SEEDS[0])
    return steering_of(sae, given)


@cache
def annotations(preset: str, given: Given) -> tuple[prism.features.Annotation, prism.features.Annotation]:
    """Both embeddings annotated: quick, 128 features and this package's tests; full, the paper's SAE and tests."""
    found = []
    for other in (False, True):
        Z = given.other if other else given.Z
        if preset == "quick":
            sae, how = prism.fit(Z, prism.SAEConfig(128, k=8), seed=0).sae, {"embedding": Z}
        else:
            sae, how = given.paper_sae(preset, SEEDS[0], other=other), {"method": "paper", "nulls": ()}
        found.append(
            prism.annotate(
                sae.encode(Z), given.cells.X, list(given.cells.var_names), given.sets, symbols=given.symbols, **how
            )
        )
    return found[0], found[1]


def models(preset: str, given: Given) -> object:
    """Two embeddings compared by the Jaccard index of their features' terms, as multiDGD and Geneformer in the paper."""
    compared = prism.match(*annotations(preset, given), by="sets")
    table = compared.table
    return compared.info | {
        "names": given.names,
        "mean_partner_jaccard": float(table["partner_jaccard"].mean()),
        "partners_beyond_chance": int((table["partner_qval"] < 0.05).sum()),
        "features": [len(compared.table), len(compared.others)],
    }


def terms(preset: str, given: Given) -> object:
    """Features x terms of both embeddings: a map coloured by kind of term, terms a feature, features by a word in a name."""
    kinds_of_sets = dict(bundled_sources()[["set", "kind"]].to_numpy().tolist())
    out = []
    for name, found in zip(given.names, annotations(preset, given), strict=True):
        whole = term_map(found.features, found.sets, kinds_of_sets)
        shown = np.sort(np.random.default_rng(0).permutation(len(whole.features))[:MAPPED])
        part = TermMap(whole.features[shown], whole.terms, whole.matrix[shown], whole.term_ancestors)
        out.append(
            {
                "embedding": name, "features": len(found.features), "with_terms": len(whole.features),
                "terms": len(whole.terms), "counts": whole.counts.tolist(),
                "words": {word: int(probed(whole, word).sum()) for word in WORDS},
                "map": part.layout().round(2).tolist(), "ancestors": part.ancestors,
                "most_common": pd.Series(whole.matrix.sum(axis=0), whole.terms).nlargest(10).astype(int).to_dict(),
            }
        )  # fmt: skip
    return out
