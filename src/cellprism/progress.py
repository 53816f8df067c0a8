"""How long work shows that it goes on: a bar on a terminal, now and then a plain line elsewhere, nothing unless asked.

All goes to standard error. A notebook is no terminal here: it gets lines, for which nothing needs to be installed.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["Lines", "Steps", "bars", "on_terminal"]

SECONDS = 10.0
"""Between two plain lines."""


def on_terminal() -> bool:
    """Whether a bar can be drawn."""
    return sys.stderr is not None and sys.stderr.isatty()


def bars(shown: bool, *columns: TextColumn | BarColumn | TimeRemainingColumn) -> Progress:
    """Bars on standard error, where they are asked for and there is a terminal."""
    console = Console(stderr=True, force_jupyter=False)
    return Progress(*columns, console=console, disable=not (shown and on_terminal()), transient=True)


class Lines:
    """Plain lines in place of a bar, at most one in ten seconds.

    Parameters
    ----------
    what
        Is done.
    shown
        False = say nothing; nothing is said on a terminal either, where a bar is.
    """

    def __init__(self, what: str, shown: bool) -> None:
        self.what, self.shown, self.told = what, shown and not on_terminal(), time.monotonic()

    def tell(self, done: int, total: int | None, state: str = "", unit: str = "epochs") -> None:
        """Say how far it is, if the last line was long ago."""
        now = time.monotonic()
        if not self.shown or now - self.told < SECONDS:
            return
        self.told = now
        whole = f" of {total:,}" if total else ""
        with suppress(OSError, ValueError):  # a closed standard error must not end the work
            sys.stderr.write(f"· {self.what}: {done:,}{whole} {unit}{f', {state}' if state else ''}\n")
            sys.stderr.flush()


class Steps:
    """One task of known length.

    Parameters
    ----------
    what
        Is done.
    total
        Steps.
    shown
        Whether anything is shown.
    unit
        Of the steps.
    """

    def __init__(self, what: str, total: int | None, shown: bool, unit: str = "epochs") -> None:
        self._bar = bars(
            shown, TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} " + unit),
            TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._lines, self._unit, self._total, self._done = Lines(what, shown), unit, total, 0
        self._task: TaskID = self._bar.add_task(what, total=total, state="")

    def __enter__(self) -> Steps:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, state: str = "") -> None:
        """One step more."""
        self._done += 1
        self._bar.update(self._task, completed=self._done, state=state)
        self._lines.tell(self._done, self._total, state, self._unit)
