"""What surrounds a training by scvi-tools: quiet, a seed of its own, and progress."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from cellprism.embed.scvi_kinds import library
from cellprism.progress import Steps

__all__ = ["epoch_callback", "seeded"]


def epoch_callback(steps: Steps) -> Any:
    """Tells each epoch of a training."""
    from lightning.pytorch.callbacks import Callback  # type: ignore[import-not-found, unused-ignore]

    class Told(Callback):  # type: ignore[misc, unused-ignore]
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            steps.advance()

    return Told()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what scvi-tools, DRVI and lightning log."""
    names = (
        "scvi",
        "drvi.scvi_tools_based",
        "lightning.pytorch",
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.seed",
    )
    loggers = [logging.getLogger(n) for n in names]
    levels = [log.level for log in loggers]
    for log in loggers:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(loggers, levels, strict=True):
            log.setLevel(level)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """scvi-tools draws from global generators: seed them, and put their states back."""
    scvi = library()
    before, state = scvi.settings.seed, np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(), _quiet():
        scvi.settings.seed = seed
        try:
            yield
        finally:
            scvi.settings._seed = before
            np.random.set_state(state)  # noqa: NPY002
