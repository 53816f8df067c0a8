"""Where a training is followed beside its progress bar: TensorBoard, Weights & Biases, MLflow, or any function of its rows.

A logger is what ``fit(..., callback=...)`` calls with each row of :attr:`Fit.history` as it comes: ``seed``, ``step``, ``loss``,
``explained_variance``, ``l0``, ``dead_share``, … A training that goes on from a checkpoint tells its earlier rows again; an
SAE that is read off the geometry has one row. The packages are optional, and imported when a logger is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any

from cellprism.errors import InputError

__all__ = ["Callback", "MLflow", "TensorBoard", "WandB", "once_each"]

Callback = Callable[[Mapping[str, float]], None]
"""Called with a row of the history, one at a time; what it raises ends the training."""


def once_each(callback: Callback | None) -> Callable[[int, Sequence[Mapping[Any, float]]], None]:
    """Tell the rows that a training has not told yet, given its number and all rows so far; from one thread at a time."""
    told: dict[int, int] = {}
    lock = Lock()

    def tell(training: int, rows: Sequence[Mapping[Any, float]]) -> None:
        if callback is None:
            return
        with lock:
            for row in rows[told.get(training, 0) :]:
                callback(dict(row))
            told[training] = len(rows)

    return tell


class TensorBoard:
    """Scalars ``seed-0/loss``, … in a folder that ``tensorboard --logdir`` shows.

    Parameters
    ----------
    folder
        Where the events are written.

    Examples
    --------
    Not run by the tests of the docs: it needs ``pip install tensorboard``.

    >>> from cellprism.sae.loggers import TensorBoard
    >>> fitted = prism.fit(X, epochs=20, callback=TensorBoard("runs"))  # doctest: +SKIP
    """

    def __init__(self, folder: str | Path) -> None:
        _needed("tensorboard", "tensorboard")
        self._writer = _needed("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder))

    def __call__(self, row: Mapping[str, float]) -> None:
        """Write the numbers of a row."""
        for name, value in _scalars(row).items():
            self._writer.add_scalar(name, value, int(row["step"]))
        self._writer.flush()


class WandB:
    """A run of Weights & Biases.

    Parameters
    ----------
    options
        As ``wandb.init`` takes them: ``project``, ``name``, ``mode``, …
    """

    def __init__(self, **options: Any) -> None:
        self._run = _needed("wandb", "wandb").init(**options)

    def __call__(self, row: Mapping[str, float]) -> None:
        """Log a row. Trainings run side by side, so the step is a number beside the others, not the run's own."""
        step = f"seed-{int(row['seed'])}/step"
        self._run.log(_scalars(row) | {step: int(row["step"])})


class MLflow:
    """Metrics of the active MLflow run, or of a new one."""

    def __init__(self) -> None:
        self._mlflow = _needed("mlflow", "mlflow")

    def __call__(self, row: Mapping[str, float]) -> None:
        """Log a row."""
        self._mlflow.log_metrics(_scalars(row), step=int(row["step"]))


def _scalars(row: Mapping[str, float]) -> dict[str, float]:
    return {f"seed-{int(row['seed'])}/{name}": float(v) for name, v in row.items() if name not in ("seed", "step")}


def _needed(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"this logger needs the package {package}", f"{error}", f"pip install {package}") from error
