"""One round of planting: planted cells embedded, every dictionary fitted to them, and what each recovers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse

from cellprism import embed as models
from cellprism.data.state import to_log1p
from cellprism.data.thin import thin
from cellprism.embed import EmbeddingModel
from cellprism.evaluation.found import judged, share_of_ceiling
from cellprism.evaluation.rivals import RIVALS, fit_rival
from cellprism.recovery.benchmark import method_tables, stacked, told
from cellprism.recovery.methods import METHODS, codes_of
from cellprism.recovery.probe import probe
from cellprism.recovery.scores import score
from cellprism.recovery.task import Task
from cellprism.recovery.truth import Level, Truth
from cellprism.simulate.plant import Programme, plant

__all__ = ["DICTIONARY", "LEVEL", "Anew", "Embed", "plant_round"]

DICTIONARY = "cellprism"
"""The dictionary in question: the same recipe on the planted cells."""

Embed = str | Callable[[AnnData, int], EmbeddingModel]

LEVEL = "planted"

_KINDS = {
    ("null", "embedding"): "null",
    ("null", "expression"): "null",
    ("rival", "embedding"): "embedding",
    ("rival", "expression"): "data",
}


class Anew(NamedTuple):
    """How planted counts become features: the recipe that is put to the test."""

    embed: Embed
    embed_options: Mapping[str, Any]
    thinned: bool
    obs: pd.DataFrame | None
    methods: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]]
    held_out: float
    planting: Mapping[str, Any]


def plant_round(
    X: sparse.csr_array,
    programmes: tuple[Programme, ...],
    regions: NDArray[Any],
    genes: list[str],
    anew: Anew,
    seed: int,
    say: Callable[[str], None],
) -> dict[str, pd.DataFrame]:
    """Plant, embed, fit and score once."""
    made = plant(X, programmes, regions=regions, seed=seed, **anew.planting)
    truth = Truth({LEVEL: Level(made.activity, tuple(made.programmes["programme"]), made.possible)})
    task = _task(made.counts, genes, truth, anew, seed)
    say(f"planted and embedded in {task.embedding.shape[1]} dimensions")
    return _compared(task, made.programmes, anew, seed, say)


def _task(counts: sparse.csr_array, genes: list[str], truth: Truth, anew: Anew, seed: int) -> Task:
    """Embed planted cells with a model of those that are not held out."""
    n = counts.shape[0]
    held = np.zeros(n, dtype=bool)
    held[np.random.default_rng(seed).permutation(n)[: round(anew.held_out * n)]] = True
    seen = thin(counts, seed=seed)[0] if anew.thinned else counts
    names = pd.RangeIndex(n).astype(str)
    obs = pd.DataFrame(index=names) if anew.obs is None else anew.obs.set_axis(names)
    cells = AnnData(sparse.csr_matrix(seen), obs=obs, var=pd.DataFrame(index=pd.Index(genes)))
    train = cells[~held].copy()
    if isinstance(anew.embed, str):
        model = models.train(anew.embed, train, seed=seed, **anew.embed_options)
    else:
        model = anew.embed(train, seed)
    Z = np.asarray(model.encode(cells), dtype=np.float32)
    return Task(
        expression=to_log1p(seen, "counts"),
        embedding=Z,
        held_out=held,
        truth=truth,
        ceiling=probe(Z, truth, held_out=held, seed=seed),
    )


def _compared(
    task: Task, programmes: pd.DataFrame, anew: Anew, seed: int, say: Callable[[str], None]
) -> dict[str, pd.DataFrame]:
    """Fit every dictionary and score it: rows a programme, and rows a dictionary."""
    recovery, summary = [], []
    width, active = 0, 0.0
    for name in anew.methods:
        started = time.perf_counter()
        if name in RIVALS:
            rows = task.embedding if RIVALS[name].of == "embedding" else task.expression
            rival = fit_rival(name, rows[~task.held_out], width, active=active, seed=seed)
            codes, kind = rival.encode(rows[task.held_out]), _KINDS[RIVALS[name].kind, RIVALS[name].of]
        else:
            codes, kind = codes_of(name, task, seed, **anew.options.get(name, {})), METHODS[name].kind
        seconds = time.perf_counter() - started
        if name == DICTIONARY:
            width, active = codes.shape[1], codes.nnz / codes.shape[0]
        scores = score(codes, task.held_truth, ceiling=task.ceiling, seed=seed)
        of_programmes, of_method = method_tables(name, kind, scores, seed=seed, seconds=seconds)
        told_of = judged(of_programmes, programmes)
        recovery.append(told_of)
        summary.append(
            of_method.assign(
                share_of_ceiling=share_of_ceiling(told_of),
                share_of_ceiling_visible=share_of_ceiling(told_of, "_visible"),
                n_readable=int(told_of["readable"].sum()),
                n_found=int(told_of["found"].sum()),
            )
        )
        say(told(name, scores, seconds))
    return {"recovery": stacked(recovery), "summary": stacked(summary)}
