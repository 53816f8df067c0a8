"""A positive control in a user's own cells: plant programmes in the counts, embed and fit anew, and see which are found."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from cellprism.errors import InputError
from cellprism.evaluation.planted_round import DICTIONARY, LEVEL, Anew, Embed, plant_round
from cellprism.evaluation.power import power_curve, power_table, sentences
from cellprism.evaluation.rivals import RIVALS, STANDARD, Rival
from cellprism.numeric import numbers_checked, seed_after
from cellprism.recovery.benchmark import Benchmark, stacked
from cellprism.recovery.methods import METHODS, Method
from cellprism.recovery.parts import kept_table, same_settings
from cellprism.sae import SAEConfig
from cellprism.simulate.plant import Depth, Programme, cluster_regions, whole_counts
from cellprism.stats.units import usable_units

__all__ = ["FAST", "METHODS_BESIDE", "PlantedBenchmark", "over_grid", "planted"]

LEAST_HELD = 100
"""Cells held out at least: in fewer, the best of a hundred features is chance at |r| of 0.25 and more."""

FAST = (DICTIONARY, *(name for name, rival in RIVALS.items() if rival.cost != "slow" and rival.of == "embedding"))
"""The dictionary and those rivals that are fitted to the embedding."""

METHODS_BESIDE = (DICTIONARY, *STANDARD, "probe")
"""The dictionary, every rival that needs no optional package, and the ceiling."""


@dataclass(frozen=True, repr=False)
class PlantedBenchmark:
    """What was planted, and how much of it each dictionary found."""

    recovery: pd.DataFrame
    """A row a dictionary and programme: the columns of :attr:`cellprism.recovery.Benchmark.recovery`, and ``round``,
    ``n_genes``, ``share``, ``fold``, ``confined``, ``n_on``, ``readable``, ``found``. ``visible`` means: among the cells
    of the regions that the programme may be on in."""
    summary: pd.DataFrame
    """A row a dictionary and round: the columns of :attr:`cellprism.recovery.Benchmark.summary`, and ``round``,
    ``share_of_ceiling`` (mean best |r| over mean |r| of the probe), ``share_of_ceiling_visible``, ``n_readable``,
    ``n_found``."""
    about: dict[str, Any] = field(default_factory=dict)
    """Settings."""

    def __repr__(self) -> str:
        dictionaries, rounds = (self.summary[name].nunique() for name in ("method", "round"))
        return (
            f"PlantedBenchmark of {dictionaries} dictionaries in {rounds} rounds, {len(self.recovery):,} scores\n"
            "    .recovery, .summary, .about, .said"
        )

    @property
    def said(self) -> list[str]:
        """Sentences on what is found in these cells; see :func:`~cellprism.evaluation.power.sentences`."""
        return sentences(power_table(self.recovery), DICTIONARY)

    @property
    def plain(self) -> Benchmark:
        """The same tables as the other benchmarks have them."""
        return Benchmark(self.recovery, self.summary, self.about | {"said": self.said})

    def save(self, folder: str | Path) -> None:
        """Write ``recovery.parquet``, ``power.parquet``, ``run.json``, ``figures/``, ``index.html``, ``summary.parquet``."""
        from cellprism.recovery.page import write_page
        from cellprism.recovery.plots import overview

        out = Path(folder)
        figures = out / "figures"
        figures.mkdir(parents=True, exist_ok=True)
        table, plain = power_table(self.recovery), self.plain
        drawn = {"power": power_curve(table, DICTIONARY), "recovery": overview(plain)}
        for name, figure in drawn.items():
            figure.savefig(figures / f"{name}.png", dpi=120)
        self.recovery.to_parquet(out / "recovery.parquet", index=False)
        table.to_parquet(out / "power.parquet", index=False)
        (out / "run.json").write_text(json.dumps(plain.about, indent=1), encoding="utf-8")
        write_page(plain, [figures / f"{name}.png" for name in drawn], out / "index.html", lead=self.said)
        # Last, since a folder with this table reads as a finished benchmark.
        self.summary.to_parquet(out / "summary.parquet", index=False)


@numbers_checked
def over_grid(
    n: int,
    *,
    n_genes: Sequence[int] = (30,),
    shares: Sequence[float] = (0.03, 0.1, 0.3),
    folds: Sequence[float] = (1.5, 2.0, 3.0, 4.0, 8.0),
) -> list[Programme]:
    """Programmes over a grid, turn by turn, every other one confined to some regions.

    Parameters
    ----------
    n
        Programmes; a multiple of the size of the grid gives each point as many.
    n_genes, shares, folds
        See :class:`~cellprism.simulate.Programme`.

    Examples
    --------
    >>> from cellprism.evaluation.planted import over_grid
    >>> [(one.share, one.fold) for one in over_grid(2, shares=(0.1,), folds=(2.0, 4.0))]
    [(0.1, 2.0), (0.1, 4.0)]
    """
    grid = list(itertools.product(n_genes, shares, folds))
    if not grid:
        raise InputError("a grid of programmes has a point", "one of its lists is empty", "leave it out")
    # In the next turn those are confined that were not in the last.
    return [Programme(*grid[i % len(grid)], confined=(i % len(grid) + i // len(grid)) % 2 == 1) for i in range(n)]


@numbers_checked
def planted(
    counts: Any,
    genes: Sequence[str],
    programmes: Sequence[Programme],
    *,
    embed: Embed = "pca",
    embed_options: Mapping[str, Any] | None = None,
    thinned: bool = False,
    obs: pd.DataFrame | None = None,
    recipe: SAEConfig | Mapping[str, Any] | None = None,
    methods: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    regions: ArrayLike | None = None,
    per_round: int = 15,
    held_out: float = 0.3,
    spread: float = 0.5,
    depth: Depth = "kept",
    seed: int = 0,
    folder: str | Path | None = None,
    report: Callable[[str], None] | None = None,
) -> PlantedBenchmark:
    """Plant programmes a few at a time; each time embed the training cells, fit every dictionary, score the held-out cells.

    Parameters
    ----------
    counts
        (cells, genes) whole numbers, sparse or dense.
    genes
        Unique names.
    programmes
        What to plant, in the order of the rounds; see :func:`over_grid`.
    embed
        Name of an embedding model (:data:`cellprism.embed.MODELS`) that is trained here, or a function of training cells
        (AnnData of counts) and seed that gives a model with ``encode``.
    embed_options
        Of the model's ``fit``, such as ``n_components``.
    thinned
        Embed a random half of the molecules, as ``run`` does.
    obs
        Columns a cell that the embedding model is told, such as a batch.
    recipe
        SAE config of the dictionary; None: the automatic recipe.
    methods
        Names in :data:`cellprism.evaluation.rivals.RIVALS`, which get as many candidates as the dictionary and its number
        of active features, or in :data:`cellprism.recovery.METHODS`; ``cellprism`` itself always runs, and first. None:
        all rivals and ``probe``.
    options
        Options of the dictionary (those of :func:`cellprism.fit`) and of single methods of :data:`METHODS`.
    regions
        A label a cell; see :func:`cellprism.simulate.plant`. Cells without one are left out of the benchmark, and counted
        in ``about["notes"]``.
    per_round
        Programmes that are in the counts at the same time.
    held_out
        Share of cells that neither the embedding nor a dictionary sees before it encodes them.
    spread, depth
        See :func:`cellprism.simulate.plant`.
    seed
        Of everything random.
    folder
        Where finished rounds are kept: a call that was stopped goes on from there.
    report
        Called with a line as each step ends.

    Returns
    -------
    PlantedBenchmark

    Raises
    ------
    InputError
        If the counts, names or options cannot be used, fewer than 100 cells would be held out, or ``folder`` holds the
        rounds of other settings.

    Examples
    --------
    Not run by the tests: it trains anew; the page on planted programmes runs it.

    >>> from cellprism.evaluation.planted import over_grid, planted
    >>> found = planted(cells.X, genes, over_grid(60))  # doctest: +SKIP
    >>> found.summary  # doctest: +SKIP
    """
    X = whole_counts(counts)
    names = list(map(str, genes))
    X, where, obs, notes = _in_regions(X, cluster_regions(X, seed=seed) if regions is None else regions, obs)
    _check(X, names, programmes, held_out)
    wanted = _known(methods)
    how = {name: dict(of) for name, of in (options or {}).items()}
    config = recipe.to_dict() if isinstance(recipe, SAEConfig) else recipe
    if config is not None:
        how[DICTIONARY] = how.get(DICTIONARY, {}) | {"recipe": dict(config)}
    anew = Anew(
        embed, dict(embed_options or {}), thinned, obs, wanted, how, held_out, {"spread": spread, "depth": depth}
    )
    about = {
        "preset": "planted",
        "level": LEVEL,
        "seeds": [seed],
        "counts": _hash(X.indptr.astype(np.int64), X.indices.astype(np.int64), X.data),
        "genes": _hash(np.array(names)),
        "embed": embed if isinstance(embed, str) else getattr(embed, "__qualname__", repr(embed)),
        "embed_options": {k: repr(v) for k, v in anew.embed_options.items()},
        "thinned": thinned,
        "methods": {name: {k: repr(v) for k, v in how.get(name, {}).items()} for name in wanted},
        "obs": None if obs is None else _hash(pd.util.hash_pandas_object(obs, index=False).to_numpy()),
        "cells": _hash(np.asarray(where, dtype=str)),
        "regions": {str(name): int(n) for name, n in pd.Series(where).value_counts().items()},
        "notes": notes,
        "per_round": per_round,
        "held_out": held_out,
        "spread": spread,
        "depth": depth,
        "programmes": [asdict(programme) for programme in programmes],
        "version": version("cellprism"),
    }
    about = json.loads(json.dumps(about))
    settle = functools.partial(_settle, folder, about)
    settle(note=False)
    say = report or (lambda line: None)
    for note in notes:
        say(note)
    rounds = [programmes[start : start + per_round] for start in range(0, len(programmes), per_round)]
    recovery: list[pd.DataFrame] = []
    summary: list[pd.DataFrame] = []
    for r, of_round in enumerate(rounds):
        say(
            f"round {r + 1} of {len(rounds)}: {len(of_round)} programmes in {X.shape[0]:,} cells x {X.shape[1]:,} genes"
        )
        own = seed_after(int(np.random.SeedSequence([seed, r]).generate_state(1)[0]), 0)
        made = functools.cache(functools.partial(plant_round, X, tuple(of_round), where, names, anew, own, say))
        for kept, name in ((recovery, "recovery"), (summary, "summary")):
            table, _ = kept_table(folder, f"round{r}-{name}.parquet", functools.partial(_part, made, name, settle))
            kept.append(table.assign(round=r, seed=seed))
    return PlantedBenchmark(stacked(recovery), stacked(summary), about)


def _in_regions(
    X: sparse.csr_array, regions: ArrayLike, obs: pd.DataFrame | None
) -> tuple[sparse.csr_array, NDArray[np.object_], pd.DataFrame | None, list[str]]:
    """Counts, regions and columns of the cells that have a region, and how many have none."""
    n = X.shape[0]
    found = usable_units(regions, "region", 1, n)
    if obs is not None and len(obs) != n:
        raise InputError("obs has a row a cell", f"{len(obs)} rows for {n} cells", "align them")
    kept = found.kept
    if not kept.any():
        raise InputError("programmes are planted in regions", "no cell with one", "name the regions, or leave them out")
    notes = [f"{note}: left out" for note in found.notes]
    return (X if kept.all() else X[kept]), found.text()[kept], (obs if obs is None else obs[kept]), notes


def _check(
    X: sparse.csr_array,
    names: list[str],
    programmes: Sequence[Programme],
    held_out: float,
) -> None:
    if len(names) != X.shape[1] or len(set(names)) < len(names):
        raise InputError(
            "genes must name every column, each by its own name",
            f"{len(set(names))} different names for {X.shape[1]} columns",
            "give var_names, made unique",
        )
    if not programmes:
        raise InputError("programmes are planted, one at least", "none", "give more")
    if round(held_out * X.shape[0]) < LEAST_HELD:
        raise InputError(
            f"`held_out` leaves {LEAST_HELD} cells out, and others in",
            f"a share of {held_out} of {X.shape[0]:,} cells",
            "give more cells, or a larger share",
        )


def _known(methods: Sequence[str] | None) -> tuple[str, ...]:
    """Names that can run, the dictionary first."""
    wanted = METHODS_BESIDE if methods is None else (DICTIONARY, *methods)
    unknown = [name for name in wanted if name not in RIVALS and name not in METHODS]
    if unknown:
        raise InputError(
            "dictionaries must be among " + ", ".join({**RIVALS, **METHODS}), ", ".join(unknown), "correct the names"
        )
    made: dict[str, Method | Rival] = {**METHODS, **RIVALS}
    missing = [name for name in wanted if not made[name].installed]
    if missing:
        packages = ", ".join(str(made[name].package) for name in missing)
        raise InputError(f"{', '.join(missing)} need optional packages", f"no {packages}", "install or leave them out")
    return tuple(dict.fromkeys(wanted))


def _settle(folder: str | Path | None, settings: Mapping[str, Any], *, note: bool = True) -> None:
    """Hold a folder to one planting."""
    if folder is not None:
        rule = "planting goes on only with the cells and settings that it began with"
        same_settings(Path(folder), settings, rule, note=note)


def _part(made: Callable[[], dict[str, pd.DataFrame]], name: str, settle: Callable[[], None]) -> pd.DataFrame:
    """A table of a round; only once there is one are the settings written down, so that bad input leaves no trace."""
    table = made()[name]
    settle()
    return table


def _hash(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
