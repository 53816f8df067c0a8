"""What the automatic recipe tries, and how each candidate does on cells kept out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.sae.config import SAEConfig
from cellprism.sae.fit import readings
from cellprism.sae.geometry import MOST_KINDS, axes_read
from cellprism.sae.many import fit_many
from cellprism.sae.model import SAE
from cellprism.sae.recipe.bits import agreement, description_length, explained_signal
from cellprism.sae.scaling import fit_scaling

__all__ = [
    "PRESETS",
    "READ",
    "Candidate",
    "Effort",
    "Preset",
    "candidates",
    "read_off",
    "reading_config",
    "try_candidates",
]

READ = ("geometry", "kinds")
"""Methods that are read off: programs alone, and programs with kinds of cells."""

_FEWEST = 100  # cells that anything is read off

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

    method: Literal["geometry", "kinds", "default", "training"]
    config: SAEConfig


def reading_config(n: int, d: int, *, kinds: bool = True) -> SAEConfig | None:
    """Config of a dictionary read off ``n`` cells in ``d`` dimensions: programs, and kinds of cells where asked for.

    None where nothing can be read: that takes two dimensions and a hundred cells.
    """
    if n < _FEWEST or d < 2:
        return None
    programs = axes_read(n, d)
    kinds_at_most = MOST_KINDS + programs if kinds else 0  # a program may have another side
    width = programs + kinds_at_most
    return SAEConfig(width, activation="jumprelu", init="geometry", pre_bias="none", kinds=kinds_at_most)


def read_off(X: NDArray[Any]) -> SAEConfig:
    """Config of programs and kinds of cells read off an embedding (cells, d), whether or not programs alone would do.

    Raises
    ------
    InputError
        If nothing can be read off it.
    """
    config = reading_config(*X.shape)
    if config is None:
        raise InputError(
            f"a reading takes two dimensions and {_FEWEST} cells", f"{X.shape[0]} x {X.shape[1]}", "train a dictionary"
        )
    return config


def candidates(shape: tuple[int, ...], readable: int, default: SAEConfig, effort: Effort) -> list[Candidate]:
    """Both readings, the fixed default, and a grid of BatchTopK dictionaries, for training cells of a shape (cells, d).

    The readings see ``readable`` cells.
    """
    n, d = shape
    found: list[Candidate] = []
    programs, both = (reading_config(readable, d, kinds=kinds) for kinds in (False, True))
    if programs is not None and both is not None:
        found += [Candidate("geometry", programs), Candidate("kinds", both)]
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
) -> pd.DataFrame:
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
    ``agreement`` are NaN where no second seed was needed).
    """
    saes: dict[int, SAE] = {}
    twins: dict[int, SAE] = {}
    seconds = np.zeros(len(tried))
    trained = [i for i, candidate in enumerate(tried) if candidate.method not in READ]
    read = [i for i, candidate in enumerate(tried) if candidate.method in READ]
    start = time.perf_counter()
    cells = np.concatenate([train, more])
    for i, of_seeds in zip(
        read, readings(cells, test, [tried[i].config for i in read], (seed, seed + 1)) if read else [], strict=True
    ):
        (saes[i], _), (twins[i], _) = of_seeds
        seconds[i] = (time.perf_counter() - start) / len(read)  # the programs are read once for both
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
            "width": saes[i].width,
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
    return scouts.assign(seconds=seconds.round(3))


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
