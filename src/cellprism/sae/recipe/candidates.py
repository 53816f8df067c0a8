"""What the automatic recipe tries, and how each candidate does on cells kept out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.sae.config import SAEConfig
from cellprism.sae.fit import fit
from cellprism.sae.geometry import MAX_AXES
from cellprism.sae.many import fit_many
from cellprism.sae.model import SAE
from cellprism.sae.recipe.bits import agreement, description_length, explained_signal
from cellprism.sae.scaling import fit_scaling

__all__ = ["PRESETS", "Candidate", "Effort", "Preset", "candidates", "try_candidates"]

Preset = Literal["quick", "standard", "thorough"]


@dataclass(frozen=True)
class Effort:
    """How much is tried."""

    cells: int
    """Cells that candidates are trained and compared on."""
    readable: int
    """Cells that a dictionary is read off: regions need cells, and reading is cheap."""
    steps: int
    """Steps of a training."""
    widths: tuple[int, ...]
    """Features a dimension."""
    ks: tuple[int, ...]
    """Active features a cell."""


PRESETS: dict[Preset, Effort] = {
    "quick": Effort(4_000, 10_000, 200, (4,), (4, 8, 16)),
    "standard": Effort(8_000, 20_000, 400, (2, 4), (4, 8, 16, 32)),
    "thorough": Effort(20_000, 50_000, 1_000, (2, 4, 8), (4, 8, 16, 32, 64)),
}
"""``quick`` leaves out widths other than four features a dimension, k of 32, and cells beyond 10,000; ``standard`` leaves out
wide dictionaries, k of 64 and long scouts."""


@dataclass(frozen=True)
class Candidate:
    """A configuration to be tried."""

    method: Literal["geometry", "default", "training"]
    config: SAEConfig


def candidates(shape: tuple[int, ...], readable: int, default: SAEConfig, effort: Effort) -> list[Candidate]:
    """The reading, the fixed default, and a grid of BatchTopK dictionaries, for training cells of a shape (cells, d).

    A reading needs five ``readable`` cells a dimension.
    """
    n, d = shape
    found: list[Candidate] = []
    if readable >= 5 * d and d >= 2:
        config = SAEConfig(min(d, MAX_AXES), activation="jumprelu", init="geometry", pre_bias="none")
        found.append(Candidate("geometry", config))
    found.append(Candidate("default", default))
    for width in sorted({int(max(8, min(w * d, n // 10, 4096))) for w in effort.widths}):
        for k in effort.ks:
            if k <= max(4, width // 3):
                found.append(Candidate("training", SAEConfig(width, k=min(k, width))))
    return found


def try_candidates(
    tried: Sequence[Candidate],
    train: NDArray[np.float32],
    more: NDArray[np.float32],
    test: NDArray[np.float32],
    effort: Effort,
    precision: float,
    contenders: Callable[[pd.DataFrame], Sequence[int]],
    *,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[pd.DataFrame, list[SAE]]:
    """Read or train every candidate, and measure it.

    Parameters
    ----------
    tried
        From :func:`candidates`.
    train, more, test
        (cells, d) cells to train on, further cells to read off, and cells that neither sees.
    effort
        Steps of a training.
    precision
        See :func:`~cellprism.sae.recipe.bits.description_length`.
    contenders
        Takes the table so far, and says which trained candidates the choice needs a second seed of.
    seed
        Of all candidates; their twins have the next one.
    advance
        Called with the number of candidates done.

    Returns
    -------
    A row a candidate (columns as in :attr:`~cellprism.sae.recipe.Recipe.scouts` without ``chosen``; ``stability`` and
    ``agreement`` are NaN where no second seed was needed), and the SAEs.
    """
    saes: dict[int, SAE] = {}
    twins: dict[int, SAE] = {}
    seconds = np.zeros(len(tried))
    trained = [i for i, candidate in enumerate(tried) if candidate.method != "geometry"]
    for i in sorted({*range(len(tried))} - {*trained}):
        start = time.perf_counter()
        fitted = fit(
            np.concatenate([train, more]), tried[i].config, seed=seed, seeds=2, device="cpu", holdout=0.0
        )  # fmt: skip
        saes[i], twins[i] = fitted.sae, fitted.siblings[0]
        seconds[i] = time.perf_counter() - start
        advance(1)

    def learn(which: Sequence[int], seed: int) -> dict[int, SAE]:
        start = time.perf_counter()
        found = _train(train, [tried[i].config for i in which], effort.steps, seed)
        seconds[[*which]] += (time.perf_counter() - start) / max(1, len(which))  # side by side, so the clock is shared
        return dict(zip(which, found, strict=True))

    saes |= learn(trained, seed)
    advance(len(trained))
    above_noise = fit_scaling(train, "wiener").forward
    rows = []
    for i, candidate in enumerate(tried):
        c = candidate.config
        row: dict[str, Any] = {
            "method": candidate.method,
            "activation": c.activation,
            "scaling": c.scaling,
            "width": c.width,
            "k": np.nan if c.k is None else float(c.k),
        }
        row |= description_length(saes[i], test, precision)
        row["holdout_error"] = 1 - row["explained_variance"]
        row["explained_signal"] = explained_signal(saes[i], test, above_noise)
        rows.append(row)
    scouts = pd.DataFrame(rows).assign(stability=np.nan, agreement=np.nan)

    def compare(which: Iterable[int]) -> None:
        for i in which:
            found = agreement(saes[i], twins[i], test)
            scouts.loc[i, [*found._fields]] = [*found]

    compare(twins)
    again = contenders(scouts)
    twins |= learn(again, seed + 1)
    compare(again)
    return scouts.assign(seconds=seconds.round(3)), [saes[i] for i in range(len(tried))]


def _train(train: NDArray[np.float32], configs: Sequence[SAEConfig], steps: int, seed: int) -> list[SAE]:
    if not configs:
        return []
    batch = min(512, len(train))
    fits = fit_many(
        train,
        configs,
        seeds=[seed] * len(configs),
        device="cpu",
        epochs=max(1, round(steps * batch / len(train))),
        batch_size=batch,
        holdout=0.0,
        patience=None,
    )
    return [f.sae for f in fits]
