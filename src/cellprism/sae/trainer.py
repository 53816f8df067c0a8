"""One SAE's training: batches, steps, evaluations, the best weights."""

from __future__ import annotations

import pandas as pd
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cellprism.sae.activation import BatchTopK
from cellprism.sae.cells import Cells
from cellprism.sae.dead import FiringClock, resample_dead
from cellprism.sae.loss import Loss, objective
from cellprism.sae.model import SAE
from cellprism.sae.start import start_from_data
from cellprism.sae.training import TrainingOptions, learning_rate_factor

__all__ = ["Trainer"]

_EVALUATIONS = 50
_SAMPLE = 65_536  # cells looked at for the start, for resampling and for the threshold
_ELEMENTS = 2**24  # pre-activations held at a time outside the training step: 64 MiB in float32


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
    progress
        Show a bar.
    seed
        Written into the history.
    """

    def __init__(
        self,
        sae: SAE,
        cells: Cells,
        held: Cells,
        options: TrainingOptions,
        generator: torch.Generator,
        progress: bool,
        seed: int,
    ) -> None:
        self.sae, self.cells, self.held = sae, cells, held
        self.options, self.generator, self.progress, self.seed = options, generator, progress, seed
        self.batch = options.batch_size_for(len(cells))
        self.per_epoch = -(-len(cells) // self.batch)
        self.epochs = options.epochs_for(len(cells), self.batch)
        self.steps = self.per_epoch * self.epochs
        start_from_data(sae, cells.some(_SAMPLE, generator))
        self.optimiser = torch.optim.Adam(sae.parameters(), lr=options.lr, betas=options.betas)
        self.clock = FiringClock(sae.width, cells.device)
        self.rows: list[dict[str, float]] = []
        self.best, self.since_best = float("inf"), 0
        self.best_state: dict[str, torch.Tensor] = {}

    def train(self) -> pd.DataFrame:
        """Run all epochs, or stop early; leaves the best weights in the model and returns the history."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} epochs"),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
        )
        evaluate_every = max(1, self.epochs // _EVALUATIONS)
        with Progress(*columns, disable=not self.progress, transient=True) as bar:
            task = bar.add_task(f"SAE, seed {self.seed}", total=self.epochs, state="")
            for epoch in range(self.epochs):
                loss = self._epoch(epoch)
                bar.advance(task)
                if (epoch + 1) % evaluate_every == 0 or epoch + 1 == self.epochs:
                    row = self._evaluate(epoch, loss)
                    bar.update(task, state=_state(row))
                    if self.options.patience is not None and self.since_best >= self.options.patience:
                        break
        if self.best_state:
            self.sae.load_state_dict(self.best_state)
        self._calibrate()
        return pd.DataFrame(self.rows)

    def _epoch(self, epoch: int) -> Loss:
        sae, config = self.sae, self.sae.config
        order = torch.randperm(len(self.cells), generator=self.generator)
        for i in range(self.per_epoch):
            step = epoch * self.per_epoch + i
            x = self.cells.batch(order[i * self.batch : (i + 1) * self.batch])
            factor = learning_rate_factor(step, self.steps, self.options.warmup, self.options.decay)
            for group in self.optimiser.param_groups:
                group["lr"] = self.options.lr * factor
            dead = self.clock.dead(config.dead_after * len(self.cells)) if config.aux_weight else None
            p = 1.0 if config.p_end is None else 1.0 + (config.p_end - 1.0) * step / max(1, self.steps - 1)
            self.optimiser.zero_grad(set_to_none=True)
            loss = objective(sae, x, dead, p)
            loss.total.backward()  # type: ignore[no-untyped-call]
            self._step_parameters()
            self.clock.tick(loss.codes.detach())
        if not bool(torch.isfinite(loss.total)):
            raise FloatingPointError(
                f"training diverged: the loss of seed {self.seed} is {loss.total.item()} in epoch {epoch + 1}, step {step + 1}. "
                f"Remedy: lower lr (now {self.options.lr}) or check the embedding for extreme values."
            )
        if config.resample_every and (epoch + 1) % config.resample_every == 0 and epoch + 1 < self.epochs * 0.8:
            dead = self.clock.dead(len(self.cells))
            resample_dead(sae, self.cells.some(_SAMPLE, self.generator), dead, self.optimiser, self.generator)
            self.clock.silent[dead] = 0
        return loss

    @torch.no_grad()
    def _project_gradient(self) -> None:
        """Take off the decoder gradient's part along each row: the norm is held, so only turning counts."""
        grad, rows = self.sae.decoder.grad, self.sae.decoder
        if grad is not None:
            grad -= (grad * rows).sum(dim=1, keepdim=True) * rows

    @torch.no_grad()
    def _step_parameters(self) -> None:
        if self.sae.config.unit_norm:
            self._project_gradient()
        if self.options.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.sae.parameters(), self.options.max_grad_norm)
        self.optimiser.step()
        if self.sae.config.unit_norm:
            self.sae.decoder.div_(self.sae.decoder.norm(dim=1, keepdim=True).clamp_min(1e-12))

    @torch.no_grad()
    def _evaluate(self, epoch: int, loss: Loss) -> dict[str, float]:
        sae, held = self.sae, self.held if len(self.held) else self.cells
        error = active = 0.0
        moments = torch.zeros(2, sae.decoder.shape[1], dtype=torch.float64, device=held.device)
        for x in held.chunks(max(256, _ELEMENTS // sae.width)):
            codes = sae.activation(sae.pre_activations(x))
            error += float((x - sae.reconstruct(codes)).square().double().sum())
            active += float((codes > 0).sum())
            moments += torch.stack([x.double().sum(0), x.double().square().sum(0)])
        n, r = len(held), sae.decoder.shape[1]
        variance = float((moments[1] / n - (moments[0] / n).square()).mean())
        row = {
            "seed": self.seed,
            "step": (epoch + 1) * self.per_epoch,
            "loss": loss.total.item(),
            "reconstruction": loss.reconstruction.item(),
            "penalty": loss.penalty.item(),
            "auxiliary": loss.auxiliary.item(),
            "l0": active / n,
            "dead_share": float(self.clock.dead(len(self.cells)).float().mean()),
            "holdout_mse": error / (n * r),
            "explained_variance": 1 - error / (n * r) / max(variance, 1e-12),
        }
        self.rows.append(row)
        # With a sparsity penalty the best error is the densest model's: compare what training minimises.
        score = row["holdout_mse"] + row["penalty"]
        if len(self.held) and self.options.patience is not None:
            if score < self.best:
                self.best, self.since_best = score, 0
                self.best_state = {k: v.clone() for k, v in sae.state_dict().items()}
            else:
                self.since_best += 1
        return row

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Set BatchTopK's threshold so that new cells have k active features on average.

        The held-out cells stand for new cells: on few training cells a wide dictionary fits them more sparsely.
        """
        activation = self.sae.activation
        if not isinstance(activation, BatchTopK):
            return
        source = self.held if len(self.held) * activation.k >= 100 else self.cells
        x = source.some(max(1, _ELEMENTS // self.sae.width), self.generator)
        pre = torch.relu(self.sae.pre_activations(x)).flatten()
        activation.threshold.copy_(pre.topk(min(activation.k * len(x), pre.numel()), sorted=False).values.min())


def _state(row: dict[str, float]) -> str:
    return (
        f"loss {row['loss']:.4f}  EV {row['explained_variance']:.3f}  "
        f"L0 {row['l0']:.1f}  dead {100 * row['dead_share']:.0f} %"
    )
