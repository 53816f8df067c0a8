"""The automatic recipe: which SAE an embedding asks for, from the embedding alone."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cellprism.data.checks import check_embedding, tells_remarks
from cellprism.errors import InputError
from cellprism.numeric import as_seed, numbers_checked
from cellprism.progress import bars
from cellprism.sae.cells import split_cells
from cellprism.sae.config import SAEConfig
from cellprism.sae.consensus import agreed, check_consensus
from cellprism.sae.fit import Fit, default_config, fit_config
from cellprism.sae.recipe.bits import precision_of
from cellprism.sae.recipe.candidates import PRESETS, READ, candidates, try_candidates

__all__ = ["EXPLAINED", "IDENTIFIED", "Recipe", "choose_recipe", "fit_auto"]

IDENTIFIED = 0.8
"""Share of the programs of a reading that must return from another seed for them to be taken alone. In the simulated worlds of
docs/recipe-record.md it is 0.84 or more, on real embeddings at most 0.5, with programs planted in real counts at most 0.8."""

EXPLAINED = 0.9
"""Share of what stands above the noise that they must explain as well: in the simulated worlds it is 0.98 or more, in real
embeddings 0.5 to 0.9. Of 200 cells seven programs were read, of which six returned, and half of the signal was nobody's."""

_ALONE = ("agreement", "explained_signal")

FEWER, STEADIER = 0.05, 0.05
"""Share of the bits that a trained dictionary must save over the fixed default, and mean correlation with its match from
another seed by which it must exceed it, to be chosen in its place."""


@dataclass(frozen=True, repr=False)
class Recipe:
    """What to fit, and why.

    Examples
    --------
    >>> recipe = prism.choose_recipe(X, preset="quick", seed=0)
    >>> len(recipe.reasons) > 0, len(recipe.scouts) > 0
    (True, True)
    """

    config: SAEConfig
    """The SAE."""
    reasons: tuple[str, ...]
    """Sentences, for people."""
    scouts: pd.DataFrame
    """A row a candidate: ``method`` (``geometry``, ``kinds``, ``default`` or ``training``), ``activation``, ``scaling``, ``width``,
    ``k``, ``l0``, ``explained_variance``, ``holdout_error``, ``explained_signal`` (axes counted by how far they stand above
    the noise), ``support_bits``, ``value_bits``, ``residual_bits``, ``bits`` (a held-out cell), ``dead_share``,
    ``stability`` and ``agreement`` (NaN where no second seed was needed), ``seconds``, ``chosen``."""
    preset: str = "standard"
    """How much was tried."""
    precision: float = field(default=0.0)
    """Error variance a dimension, relative to the mean variance, down to which cells are described."""

    def __repr__(self) -> str:
        what = f"{self.config.activation} of {self.config.width:,} features"
        return f"Recipe ({self.preset}): {what}, of {len(self.scouts)} candidates\n    .config, .reasons, .scouts"

    @property
    def landscape(self) -> list[dict[str, Any]]:
        """:attr:`scouts` as JSON records; numbers that are not known are None."""
        table = self.scouts.astype(object).where(self.scouts.notna(), None)
        return [
            {str(k): v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
            for row in table.to_dict("records")
        ]

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON types."""
        return {
            "preset": self.preset,
            "config": self.config.to_dict(),
            "reasons": [*self.reasons],
            "precision": self.precision,
            "scouts": self.landscape,
        }


@numbers_checked
@tells_remarks("X")
def choose_recipe(X: ArrayLike, *, preset: str = "standard", seed: int = 0, progress: bool = False) -> Recipe:
    """Choose activation, width and sparsity for an embedding, without labels or truth.

    Candidates are (a) programs read off the geometry of the embedding (:mod:`cellprism.sae.geometry.reading`), alone and with
    the kinds of cells that two samples agree on, whose number and sparsity follow from the data, (b) the fixed default
    (:func:`cellprism.sae.default_config`), and (c) short BatchTopK trainings over a grid of widths and k. Programs are taken
    alone where at least 80 % of them return from another seed, which says that the data are made of them; else programs and
    kinds together. Where nothing can be read (one dimension, fewer than a hundred cells) it is the default, unless a trained
    candidate explains no less of held-out cells (above the noise) in fewer bits (by 5 %) with features that return better from
    another seed (by 0.05).

    Parameters
    ----------
    X
        (cells, d) array or memory map.
    preset
        ``quick``, ``standard`` or ``thorough``: see :data:`cellprism.sae.recipe.candidates.PRESETS`.
    seed
        Seed of the sample of cells and of all candidates; the same seed gives the same choice.
    progress
        Show a bar over the candidates.

    Returns
    -------
    Recipe
        Config, reasons and the table of candidates.

    Raises
    ------
    InputError
        If X cannot be used or the preset is unknown.

    Examples
    --------
    >>> recipe = prism.choose_recipe(X, preset="quick", seed=0)
    >>> len(recipe.reasons) > 0
    True
    """
    X, seed = check_embedding(X), as_seed(seed)
    return _choose(X, np.arange(len(X)), preset, seed, progress)


def _choose(X: NDArray[Any], rows: NDArray[np.intp], preset: str, seed: int, progress: bool) -> Recipe:
    """The recipe from these cells; only the size of the default looks at all of X, as :func:`default_config` does."""
    if preset not in PRESETS:
        raise InputError("`preset` must be known", repr(preset), f"use one of {', '.join(PRESETS)}")
    effort = PRESETS[preset]
    order = np.random.default_rng(seed).permutation(len(rows))
    sample = np.ascontiguousarray(X[rows[np.sort(order[: effort.cells])]], dtype=np.float32)
    more = np.ascontiguousarray(X[rows[np.sort(order[effort.cells : effort.readable])]], dtype=np.float32)
    held, kept = split_cells(len(sample), 0.2, seed)
    if len(held) < 2:
        held = kept
    train, test = sample[kept], sample[held]
    if not np.ptp(train, axis=0).any():
        raise InputError(
            "cells that a recipe is chosen on must vary", f"the same values in all {len(train)}", "give more cells"
        )
    precision = precision_of(train)
    tried = candidates(train.shape, len(train) + len(more), default_config(X), effort)
    with bars(progress) as bar:
        task = bar.add_task("choosing a recipe", total=len(tried))
        scouts = try_candidates(
            tried, train, more, test, effort, precision, _contenders, seed=seed, advance=lambda n: bar.advance(task, n)
        )
    best = _best(scouts)
    scouts["chosen"] = np.arange(len(scouts)) == best
    config = tried[best].config
    if tried[best].method in READ:
        # The final reading sees other cells: it is told how many features may be there, and how many were active here.
        config = dataclasses.replace(config, k=max(1, min(config.width, round(float(scouts["l0"].iloc[best])))))
    return Recipe(config, _reasons(scouts, best, precision, len(sample)), scouts, preset, precision)


@numbers_checked
@tells_remarks("X")
def fit_auto(
    X: ArrayLike,
    *,
    preset: str = "standard",
    seed: int = 0,
    seeds: int = 1,
    progress: bool = False,
    consensus: bool = False,
    holdout: float = 0.1,
    **options: Any,
) -> Fit:
    """Choose a recipe and fit it; the same as :func:`cellprism.fit` without a config.

    Parameters
    ----------
    X
        (cells, d) array or memory map.
    preset
        See :func:`choose_recipe`.
    seed, seeds, progress, consensus, holdout, options
        As :func:`cellprism.fit`. The recipe is chosen on the training cells; only the width and k of the fixed default
        follow from all cells (:func:`cellprism.sae.default_config`).

    Returns
    -------
    Fit
        ``options["recipe"]`` holds :meth:`Recipe.to_dict`.

    Examples
    --------
    >>> fitted = prism.fit_auto(X, preset="quick", seed=0)
    >>> "reasons" in fitted.options["recipe"]
    True
    """
    X, seed = check_embedding(X), as_seed(seed)
    if consensus:
        check_consensus(seeds, None)
    kept = split_cells(len(X), holdout, seed)[1]
    recipe = _choose(X, kept, preset, seed, progress)
    fitted = fit_config(X, recipe.config, seed=seed, seeds=seeds, progress=progress, holdout=holdout, **options)
    fitted = dataclasses.replace(fitted, options=fitted.options | {"recipe": recipe.to_dict()})
    return agreed(fitted, X) if consensus else fitted


_HOW = {
    "geometry": "(programs) read off the geometry of the embedding",
    "kinds": "(programs and kinds of cells) read off the geometry of the embedding",
    "default": "of the fixed default, trained by BatchTopK",
    "training": "trained by BatchTopK",
}


def _read(scouts: pd.DataFrame) -> int | None:
    """The reading that is taken: programs alone where the data are made of them, else with kinds; None where there is none."""
    method = scouts["method"].to_numpy()
    if not np.isin(method, READ).any():
        return None
    returns, explains = (scouts[name].to_numpy(dtype=np.float64)[method == "geometry"][0] for name in _ALONE)
    alone = returns >= IDENTIFIED and explains >= EXPLAINED
    return int(np.flatnonzero(method == ("geometry" if alone else "kinds"))[0])


def _cheaper(scouts: pd.DataFrame) -> NDArray[np.bool_]:
    """Trained candidates that explain no less than the default, in clearly fewer bits."""
    bits, explained = scouts["bits"].to_numpy(), scouts["explained_signal"].to_numpy()
    default = _default(scouts)
    cheaper = (
        (scouts["method"] == "training") & (bits <= (1 - FEWER) * bits[default]) & (explained >= explained[default])
    )
    return np.asarray(cheaper, dtype=np.bool_)


def _default(scouts: pd.DataFrame) -> int:
    return int(np.flatnonzero(scouts["method"] == "default")[0])


def _contenders(scouts: pd.DataFrame) -> list[int]:
    """The trained candidates that need a second seed: none where there is a reading, else what may be chosen."""
    if _read(scouts) is not None:
        return []
    return [_default(scouts), *np.flatnonzero(_cheaper(scouts)).tolist()]


def _best(scouts: pd.DataFrame) -> int:
    """A reading where there is one; else the default, unless it is clearly beaten.

    Programs that two different sets of random regions agree on are a property of the data, whatever they cost to write down.
    Where they are not, cells fall into kinds as well, and neither alone will do: over nine real embeddings programs with kinds
    are ahead of either, and of every trained candidate, by what single features tell of labels and of planted programs, and no
    label-free criterion chose better (docs/recipe.md). Without a reading the data do not say how wide a dictionary is: fewest
    bits alone would prefer a few features that stand for whole kinds of cells, highest stability alone one that explains
    little, least error alone a dense one. So a trained candidate replaces the default only where it explains no less of what
    stands above the noise, in fewer bits with steadier features, by more than scouts of different seeds differ.
    """
    read = _read(scouts)
    if read is not None:
        return read
    bits, stability, default = scouts["bits"].to_numpy(), scouts["stability"].to_numpy(), _default(scouts)
    better = _cheaper(scouts) & (stability >= stability[default] + STEADIER)
    return int(np.where(better, bits, np.inf).argmin()) if better.any() else default


def _reasons(scouts: pd.DataFrame, best: int, precision: float, n: int) -> tuple[str, ...]:
    row = scouts.iloc[best]
    twice = int(scouts["stability"].notna().sum())
    said = [
        f"{len(scouts)} candidates were tried on {n:,} cells, {twice} of them from two seeds, trained ones in short trainings (a "
        "fit is longer), and measured on cells kept out, which were described down to an error of "
        f"{100 * precision:.0f} % of the variance.",
        f"Chosen: {_told(row)}.",
    ]
    programs = scouts[scouts["method"] == "geometry"]
    if len(programs):
        returns, explains = (100 * float(programs[name].to_numpy(dtype=np.float64)[0]) for name in _ALONE)
        said.append(
            f"{returns:.0f} % of the programs read off the geometry return from another seed at r > 0.9, and they "
            f"explain {explains:.0f} % of what stands above the noise; from {100 * IDENTIFIED:.0f} % and "
            f"{100 * EXPLAINED:.0f} % on the data are made of them"
            + (
                ", and they are taken alone."
                if row["method"] == "geometry"
                else "; here they are not made of them alone, and kinds of cells stand beside them."
            )
        )
    else:
        said.append("Nothing was read off the geometry: that takes two dimensions and a hundred cells.")
        said.append(
            "A trained dictionary replaces the fixed default where it explains no less of what stands above the noise, "
            "takes 5 % fewer bits, and its features return better from another seed (r higher by 0.05): "
            + ("this one does." if row["method"] == "training" else "none does.")
        )
    others = scouts.drop(index=best)
    said.append(f"Fewest bits among the others: {_told(others.iloc[int(others['bits'].argmin())])}.")
    return tuple(said)


def _told(row: pd.Series[Any]) -> str:
    return (
        f"{row['width']:.0f} features {_HOW[str(row['method'])]}, {row['l0']:.1f} active a cell, "
        f"{100 * row['explained_variance']:.1f} % of held-out variance ({100 * row['explained_signal']:.1f} % of what stands "
        f"above the noise), {row['bits']:.0f} bits a cell"
        + ("" if np.isnan(row["stability"]) else f", stability {row['stability']:.2f}")
    )
