"""The bar that training shows to a person who asks for it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from cellprism.progress import Lines, bars

if TYPE_CHECKING:
    from cellprism.sae.trainer import Trainer

__all__ = ["TrainingBar"]


class TrainingBar:
    """One bar over the epochs of all models of a call, with the state of the one that moved last.

    Parameters
    ----------
    shown
        False = say nothing.
    models
        How many are trained.
    """

    def __init__(self, shown: bool, models: int = 1) -> None:
        name = "SAE" if models == 1 else f"{models} SAEs"
        self._lines = Lines(f"training {name}", shown)
        self._bar = bars(
            shown,
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} epochs"),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
        )
        self._task = self._bar.add_task(name, total=None, state="")
        self._known: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, model: int, trainer: Trainer) -> None:
        """Take in an epoch of a model, told by its number."""
        done = trainer.done // trainer.per_epoch
        # A model that stops early owes no more epochs.
        self._known[model] = (done, done if trainer.finished else trainer.epochs)
        completed, total = (sum(column) for column in zip(*self._known.values(), strict=True))
        state = ""
        if trainer.rows:
            row = trainer.rows[-1]
            state = (
                f"loss {row['loss']:.4f}  EV {row['explained_variance']:.3f}  "
                f"L0 {row['l0']:.1f}  dead {100 * row['dead_share']:.0f} %"
            )
        self._bar.update(self._task, completed=completed, total=total, state=state)
        self._lines.tell(completed, total, " ".join(state.split()))
