"""Several trainings side by side: a model a thread, all reading the same cells in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Condition, Event
from typing import TypeVar

import pandas as pd
import torch

from cellprism.sae.cells import Cells
from cellprism.sae.checkpoint import Checkpoint
from cellprism.sae.config import SAEConfig
from cellprism.sae.loggers import Callback, once_each
from cellprism.sae.model import SAE
from cellprism.sae.progress import TrainingBar
from cellprism.sae.ranks.join import trained_together
from cellprism.sae.scaling import AffineScaling
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions

__all__ = ["Budget", "Cancellation", "Job", "run_jobs", "side_by_side"]

T = TypeVar("T")

_COPIES = 6  # of the parameters: themselves, gradient, two moments, the last good and the best weights
_BATCHES = 4  # of (cells, width) numbers: pre-activations, codes and the gradients of both
_PLACES = 3  # more of batchtopk, which may keep any number of a cell's codes: the lists are as long as can be


@dataclass(frozen=True)
class Job:
    """One model to train; the seed fixes its start and the order of its cells."""

    config: SAEConfig
    scaling: AffineScaling
    cells: Cells
    held: Cells
    options: TrainingOptions
    seed: int
    checkpoint: Checkpoint | None = None
    shards: int | None = None
    """Where the processes of a group train it together, over how many of them its features lie; None = this one alone."""

    def cost(self) -> float:
        """Pre-activations of the whole training."""
        n = len(self.cells)
        return float(self.config.width * n * self.options.epochs_for(n, self.options.batch_size_for(n)))

    def memory(self) -> int:
        """Bytes that the training takes at most, beside the cells: parameters and what goes with them, and one batch."""
        r = self.scaling.forward.shape[1]
        parameters = 2 * self.config.width * (r + 2) + 2 * r
        batch = min(self.options.batch_size_for(len(self.cells)), len(self.cells))
        numbers = _BATCHES + (_PLACES if self.config.activation == "batchtopk" else 0)
        return int(4 * (_COPIES * parameters + numbers * batch * (self.config.width + r)))

    def run(self, report: Callable[[Trainer], None]) -> tuple[SAE, pd.DataFrame]:
        """Train; the model comes back on the CPU, with its history."""
        start = torch.Generator().manual_seed(self.seed)
        # The order has a source of its own, so that models of one seed see the same batches whatever their shape.
        order = torch.Generator().manual_seed(self.seed + 2**40)
        sae = SAE(self.config, self.scaling, start)
        with trained_together(sae, self.shards):
            sae.to(self.cells.device)
            trainer = Trainer(sae, self.cells, self.held, self.options, order, self.seed, self.checkpoint)
            history = trainer.train(report)
        return sae.to("cpu").eval(), history


class _GivenUp(Exception):
    """Ends a call whose result nobody waits for any more."""


class Cancellation:
    """Whether somebody still waits for the results of calls that run side by side."""

    def __init__(self) -> None:
        self._cancelled = Event()

    def cancel(self) -> None:
        """Nobody does."""
        self._cancelled.set()

    def check(self) -> None:
        """End the call that asks, where nobody does."""
        if self._cancelled.is_set():
            raise _GivenUp


class Budget:
    """Memory that jobs share: one waits until there is room for it, or until it is alone.

    Parameters
    ----------
    size
        Bytes.
    """

    def __init__(self, size: float) -> None:
        self.size, self.taken, self.running = size, 0, 0
        self._changed = Condition()

    @contextmanager
    def room(self, size: int) -> Iterator[None]:
        """Hold so many bytes."""
        with self._changed:
            self._changed.wait_for(lambda: not self.running or self.taken + size <= self.size)
            self.taken, self.running = self.taken + size, self.running + 1
        try:
            yield
        finally:
            with self._changed:
                self.taken, self.running = self.taken - size, self.running - 1
                self._changed.notify_all()


def run_jobs(
    jobs: Sequence[Job],
    *,
    progress: bool = False,
    memory_budget: float = math.inf,
    callback: Callback | None = None,
) -> list[tuple[SAE, pd.DataFrame]]:
    """Train all jobs, on the CPU as many at a time as torch has threads, each then with one; results in the jobs' order.

    A thread holds one model's gradients and moments at a time, so memory does not grow with the number of jobs, apart
    from the finished weights; where the models of all threads would take more than ``memory_budget`` bytes, fewer run at a
    time. The costliest start first, so that the threads end together. ``callback`` is told each row of each history.
    """
    tell = once_each(callback)

    with TrainingBar(progress, len(jobs)) as bar:

        def show(i: int, trainer: Trainer) -> None:
            bar.update(i, trainer)
            tell(i, trainer.rows)

        def finish(i: int, made: tuple[SAE, pd.DataFrame]) -> tuple[SAE, pd.DataFrame]:
            tell(i, made[1].to_dict("records"))  # of a training that was finished before
            return made

        # Processes that train together must meet in one order.
        if jobs[0].cells.device.type != "cpu" or jobs[0].shards is not None:
            return [finish(i, job.run(partial(show, i))) for i, job in enumerate(jobs)]
        budget, cancellation = Budget(memory_budget), Cancellation()

        def report(i: int, trainer: Trainer) -> None:
            cancellation.check()
            show(i, trainer)

        def run(i: int) -> tuple[SAE, pd.DataFrame]:
            with budget.room(jobs[i].memory()):
                cancellation.check()
                return finish(i, jobs[i].run(partial(report, i)))

        ranked = sorted(range(len(jobs)), key=lambda i: -jobs[i].cost())
        results = side_by_side([partial(run, i) for i in ranked], cancellation)
        return [result for _, result in sorted(zip(ranked, results, strict=True), key=lambda pair: pair[0])]


def side_by_side(calls: Sequence[Callable[[], T]], cancellation: Cancellation) -> list[T]:
    """Results of calls, as many at a time as torch has threads, each then with one of its own.

    Calls are begun in their order. When one fails, or the wait is interrupted, no further one is begun and ``cancellation``
    says so, at which those that run may stop; the error is raised when they have.
    """
    before = torch.get_num_threads()
    threads = min(before, len(calls))
    if threads <= 1:
        return [call() for call in calls]
    pool = ThreadPoolExecutor(threads, "cellprism-fit", initializer=torch.set_num_threads, initargs=(1,))
    try:
        waiting = [pool.submit(call) for call in calls]
        for done in wait(waiting, return_when=FIRST_EXCEPTION).done:
            done.result()
        return [future.result() for future in waiting]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        cancellation.cancel()
        raise
    finally:
        pool.shutdown()
        torch.set_num_threads(before)
