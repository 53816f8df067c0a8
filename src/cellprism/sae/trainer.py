"""One SAE's training: batches, steps, evaluations, the best weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, final

import numpy as np
import pandas as pd
import torch

from cellprism.sae.activation import BatchTopK
from cellprism.sae.cells import Cells
from cellprism.sae.checkpoint import Checkpoint
from cellprism.sae.dead import FiringClock, resample_dead
from cellprism.sae.model import SAE
from cellprism.sae.start import start_from_data
from cellprism.sae.steps.table import choose_epoch, choose_step
from cellprism.sae.steps.way import EpochWay, Result, Setting, State, StepResult, StepWay
from cellprism.sae.training import TrainingOptions, learning_rate_factor

__all__ = ["DivergedError", "Trainer"]

_EVALUATIONS = 50
_SAMPLE = 65_536  # cells looked at for the start, for resampling and for the threshold
_ELEMENTS = 2**24  # pre-activations held at a time outside the training step: 64 MiB in float32
_EXPLOSION = 1e4  # an error so many times that of the start has diverged


class DivergedError(FloatingPointError):
    """Training whose loss became NaN, infinite or huge; ``sae`` holds the weights of the last good evaluation."""

    def __init__(self, message: str, sae: SAE) -> None:
        super().__init__(message)
        self.sae = sae


@final
class Trainer:
    """Trains one SAE in place.

    Parameters
    ----------
    sae
        The model, on its device.
    cells, held
        Training and held-out cells.
    options
        Length, speed, stopping.
    generator
        Source of the order of the cells.
    seed
        Written into the history.
    checkpoint
        Where the state is kept; a state found there is resumed.
    """

    def __init__(
        self,
        sae: SAE,
        cells: Cells,
        held: Cells,
        options: TrainingOptions,
        generator: torch.Generator,
        seed: int,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.sae, self.cells, self.held = sae, cells, held
        self.options, self.generator, self.seed, self.checkpoint = options, generator, seed, checkpoint
        self.batch = options.batch_size_for(len(cells))
        self.per_epoch = -(-len(cells) // self.batch)
        self.epochs = options.epochs_for(len(cells), self.batch)
        self.steps = self.per_epoch * self.epochs
        self.clock = FiringClock(sae.width, cells.device)
        self.optimiser = torch.optim.Adam(sae.parameters(), lr=options.lr, betas=options.betas)
        self.rows: list[dict[str, float]] = []
        self.done, self.finished = 0, False  # steps taken; whether the end is reached
        self.best, self.since_best, self.first_loss = math.inf, 0, math.nan
        self.best_state: dict[str, torch.Tensor] = {}
        self.good_state = self._snapshot()
        self.last: Result = StepResult(math.nan, math.nan, 0.0, 0.0, torch.zeros(0, dtype=torch.bool))
        self.due: Result | None = None  # the last one, where its loss has not been looked at
        self.epoch_start = generator.get_state()
        saved = checkpoint.read() if checkpoint else None
        if saved is None:
            start_from_data(sae, cells.some(_SAMPLE, generator))
            self.good_state = self._snapshot()
        setting = Setting(sae, self.optimiser, options, cells, self.clock, self.batch)
        self.step, self.whole_epoch = choose_step(setting), choose_epoch(setting)
        if saved is not None:
            self._restore(*saved)

    @property
    def _ways(self) -> list[StepWay | EpochWay]:
        return [self.step] if self.whole_epoch is None else [self.step, self.whole_epoch]

    def train(self, report: Callable[[Trainer], None] | None = None) -> pd.DataFrame:
        """Run all epochs, or stop early; leaves the best weights in the model and returns the history.

        ``report`` is called after each epoch.
        """
        while not self.finished:
            self.epoch()
            if report is not None:
                report(self)
        return pd.DataFrame(self.rows)

    def learning_rate(self, step: int) -> float:
        """Adam's at this step."""
        return self.options.lr * learning_rate_factor(step, self.steps, self.options.warmup, self.options.decay)

    def epoch(self) -> None:
        """One pass over the training cells (what is left of it after a resumption), then what is due after it."""
        epoch, i = divmod(self.done, self.per_epoch)
        if i == 0:
            self.epoch_start = self.generator.get_state()
        order = torch.randperm(len(self.cells), generator=self.generator)
        if math.isnan(self.first_loss):
            self.first_loss = self._loss_of_nothing(order[: self.batch])
        if self.whole_epoch is not None and i == 0 and not self._may_revive():
            rates = np.array([self.learning_rate(self.done + t) for t in range(self.per_epoch)])
            self.last = self.whole_epoch(order, rates)
            self.done += self.per_epoch
            self._check_loss()
        else:
            self._steps(order, i)
        self._after(epoch)

    @torch.no_grad()
    def _loss_of_nothing(self, index: torch.Tensor) -> float:
        """Mean squared error of no active code, with and without the decoder's bias, the larger.

        Exploded losses are held against it beside the first one: an epoch that is made as a whole tells its last loss
        alone, and a start may happen to be perfect.
        """
        x = self.cells.batch(index)
        return max(float(x.square().mean()), float((x - self.sae.decoder_bias).square().mean()))

    def _may_revive(self) -> bool:
        """Whether the auxiliary loss can act within the next epoch."""
        n = len(self.cells)
        return self.sae.config.aux_weight > 0 and int(self.clock.silent.max()) + n >= self.sae.config.dead_after * n

    def _steps(self, order: torch.Tensor, first: int) -> None:
        config = self.sae.config
        # Asking whether a feature is dead waits for a GPU: only where one can be.
        revive = self._may_revive()
        for i, x in enumerate(self.cells.batches(order, self.batch, first, self.sae.ranks.share), first):
            dead = self.clock.dead(config.dead_after * len(self.cells)) if revive else None
            p = 1.0 if config.p_end is None else 1.0 + (config.p_end - 1.0) * self.done / max(1, self.steps - 1)
            self.last = self.step(x, dead, p, self.learning_rate(self.done))
            self.clock.tick(min(self.batch, len(order) - i * self.batch), self.last.fired)
            self.done += 1
            self._check_loss()
            if self.checkpoint and self.done % self.checkpoint.every == 0 and i + 1 < self.per_epoch:
                self._save()

    def _check_loss(self) -> None:
        """Look at the last loss; at one that a GPU is still making when the next step has been sent."""
        if self.last.late:
            due, self.due = self.due, self.last
            if due is not None:
                self._look_at(due, self.done - 1)
        else:
            self._look_at(self.last, self.done)

    def _settle(self) -> None:
        """Look at a loss that has not been looked at."""
        due, self.due = self.due, None
        if due is not None:
            self._look_at(due, self.done)

    def _look_at(self, result: Result, step: int) -> None:
        # The error alone is held against the first: penalties and the auxiliary loss have units of their own.
        total, error = result.total, result.reconstruction
        if step == 1:
            self.first_loss = max(self.first_loss, error)
        if math.isfinite(total) and error <= _EXPLOSION * max(self.first_loss, 1e-300):
            return
        self.sae.load_state_dict(self.best_state or self.good_state)
        raise DivergedError(
            f"training diverged: the loss of seed {self.seed} is {total:g} at step {step} of {self.steps}, after "
            f"an error of {self.first_loss:g} at the start. Remedy: lower lr (now {self.options.lr:g}) or check the embedding for extreme "
            "values. The weights of the last good evaluation are in this exception's `sae`.",
            self.sae,
        )

    def _after(self, epoch: int) -> None:
        config = self.sae.config
        self._settle()
        if config.resample_every and (epoch + 1) % config.resample_every == 0 and epoch + 1 < self.epochs * 0.8:
            dead = self.clock.dead(len(self.cells))
            resample_dead(self.sae, self.cells.some(_SAMPLE, self.generator), dead, self.optimiser, self.generator)
            self.clock.silent[dead] = 0
        if (epoch + 1) % max(1, self.epochs // _EVALUATIONS) == 0 or epoch + 1 == self.epochs:
            self._evaluate()
            self.finished = self.options.patience is not None and self.since_best >= self.options.patience
        if epoch + 1 == self.epochs or self.finished:
            self.finished = True
            if self.best_state:
                self.sae.load_state_dict(self.best_state)
            self._calibrate()
        if self.checkpoint and (
            self.finished or self.done // self.checkpoint.every != (self.done - self.per_epoch) // self.checkpoint.every
        ):
            self.epoch_start = self.generator.get_state()
            self._save()

    @cached_property
    def _looked_at(self) -> tuple[Cells, torch.Tensor, float]:
        """Cells that training is held against, the places of those that are looked at, and their variance."""
        sae, held = self.sae, self.held if len(self.held) else self.cells
        places = torch.arange(len(held))
        if len(held) > (most := max(1024, _ELEMENTS // 4 // sae.width)):
            places = torch.linspace(0, len(held) - 1, most).round().long()
        moments = torch.zeros(2, sae.decoder.shape[1], dtype=torch.float64, device=held.device)
        for index in self._parts(places):
            x = held.batch(index).double()
            moments += sae.ranks.total(torch.stack([x.sum(0), x.square().sum(0)]))
        mean, square = moments / len(places)
        return held, places, float((square - mean.square()).mean())

    def _parts(self, places: torch.Tensor) -> Iterator[torch.Tensor]:
        for index in torch.split(places, max(256, _ELEMENTS // self.sae.width)):
            yield self.sae.ranks.share(index)

    @torch.no_grad()
    def _evaluate(self) -> None:
        held, places, variance = self._looked_at
        error = active = 0.0
        for index in self._parts(places):
            squared, codes = self.step.errors(held.batch(index))
            error, active = error + squared, active + codes
        n, r = len(places), self.sae.decoder.shape[1]
        row = {
            "seed": self.seed,
            "step": self.done,
            "loss": self.last.total,
            "reconstruction": self.last.reconstruction,
            "penalty": self.last.penalty,
            "auxiliary": self.last.auxiliary,
            "l0": active / n,
            "dead_share": float(self.clock.dead(len(self.cells)).float().mean()),
            "holdout_mse": error / (n * r),
            "explained_variance": 1 - error / (n * r) / max(variance, 1e-12),
        }
        self.rows.append(row)
        if math.isfinite(error):
            self.good_state = self._snapshot()
        # With a sparsity penalty the best error is the densest model's: compare what training minimises.
        score = row["holdout_mse"] + row["penalty"]
        if len(self.held) and self.options.patience is not None:
            if score < self.best:
                self.best, self.since_best, self.best_state = score, 0, self.good_state
            else:
                self.since_best += 1

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Set BatchTopK's threshold so that new cells have k active features on average.

        The held-out cells stand for new cells: on few training cells a wide dictionary fits them more sparsely.
        """
        activation = self.sae.activation
        if not isinstance(activation, BatchTopK):
            return
        source = self.held if len(self.held) * activation.k >= 100 else self.cells
        x = self.sae.ranks.share(source.some(max(1, _ELEMENTS // self.sae.width), self.generator))
        activation.calibrate(self.sae.pre_activations(x))

    def _snapshot(self) -> dict[str, torch.Tensor]:
        return {k: v.clone() for k, v in self.sae.state_dict().items()}

    def _save(self) -> None:
        """Everything that the next step depends on."""
        self._settle()
        tensors = {f"sae.{k}": v for k, v in self.sae.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best_state.items()}
        for name, p in self.sae.named_parameters():
            tensors |= {f"adam.{name}.{k}": v for k, v in self.optimiser.state[p].items()}
        tensors |= {"silent": self.clock.silent, "generator": self.epoch_start}
        numbers: dict[str, Any] = {
            name: getattr(self, name) for name in ("rows", "done", "finished", "best", "since_best", "first_loss")
        }
        for way in self._ways:
            state = way.state()
            tensors, numbers = tensors | state.tensors, numbers | state.numbers
        whole = self.sae.ranks.gather(tensors)
        if self.checkpoint and whole is not None:
            self.checkpoint.write(whole, numbers)

    @torch.no_grad()
    def _restore(self, tensors: dict[str, torch.Tensor], numbers: dict[str, Any]) -> None:
        tensors = self.sae.ranks.scatter(tensors)

        def part(prefix: str) -> dict[str, torch.Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.sae.load_state_dict(part("sae."))
        self.good_state, self.best_state = self._snapshot(), part("best.")
        for name, p in self.sae.named_parameters():
            # A file's tensors lie on the CPU, and there Adam's count of steps stays.
            saved = part(f"adam.{name}.").items()
            self.optimiser.state[p] = {k: v.clone() if k == "step" else v.to(p.device, copy=True) for k, v in saved}
        self.clock.silent = tensors["silent"].to(self.cells.device)
        self.generator.set_state(tensors["generator"])
        self.epoch_start = tensors["generator"]
        for way in self._ways:
            # Of a state that another way left, as several processes do, there is nothing to take: ways keep but where they search.
            own = way.state()
            if own.tensors.keys() <= tensors.keys() and own.numbers.keys() <= numbers.keys():
                way.restore(State(tensors, numbers))
        for name in ("rows", "done", "finished", "best", "since_best", "first_loss"):
            setattr(self, name, numbers[name])
