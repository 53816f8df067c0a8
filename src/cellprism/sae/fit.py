"""Training: ``fit`` takes an embedding and gives an SAE, with its twins of other seeds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cellprism.errors import InputError
from cellprism.sae.activation import BatchTopK
from cellprism.sae.config import SAEConfig
from cellprism.sae.dead import FiringClock, resample_dead
from cellprism.sae.loss import objective
from cellprism.sae.metrics import Description, describe
from cellprism.sae.model import SAE
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.training import TrainingOptions, choose_device, learning_rate_factor

__all__ = ["Fit", "default_config", "fit"]

_EVALUATIONS = 50


@dataclass(frozen=True)
class Fit:
    """A trained SAE and what is known about its training."""

    sae: SAE
    """The SAE of the first seed, on the CPU."""
    siblings: tuple[SAE, ...]
    """The SAEs of the other seeds, same config, same cells."""
    history: pd.DataFrame
    """A row an evaluation: seed, step, loss, reconstruction, penalty, auxiliary, l0, dead_share, holdout_mse (scaled)."""
    metrics: dict[str, float]
    """:class:`~cellprism.sae.metrics.Description` of the held-out cells (of all cells where there are none)."""
    holdout: NDArray[np.intp]
    """Indices of the cells kept out of training."""
    options: dict[str, Any] = field(default_factory=dict)
    """Training options as used, defaults filled in."""


def default_config(n_cells: int, d: int) -> SAEConfig:
    """Fixed default for an embedding of this shape (``cfg=None``).

    BatchTopK on the globally scaled embedding; four features a dimension, but no more than one for ten cells and no
    more than 4,096; a k that lets a feature be active in some 5 % of the cells, within 4 and 32.
    """
    width = int(max(8, min(4 * d, n_cells // 10, 4096)))
    return SAEConfig(width=width, activation="batchtopk", k=int(min(width, max(4, min(32, round(0.05 * width))))))


def fit(
    X: ArrayLike,
    cfg: SAEConfig | None = None,
    *,
    seed: int = 0,
    seeds: int = 1,
    device: str = "auto",
    progress: bool = False,
    **options: Any,
) -> Fit:
    """Train a sparse autoencoder on an embedding.

    Parameters
    ----------
    X
        (cells, d) array or memory map, any float type.
    cfg
        Architecture and objective; None = :func:`default_config`.
    seed
        Fixes the held-out cells, the start and the order of the cells: on the CPU the same seed gives the same bits.
    seeds
        Number of SAEs to train, from seeds ``seed, seed + 1, …`` on the same training cells; the first is
        :attr:`Fit.sae`.
    device
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    progress
        Show a bar with loss, explained variance, L0 and dead share.
    options
        Fields of :class:`~cellprism.sae.training.TrainingOptions`: epochs, batch_size, lr, holdout, patience, …

    Returns
    -------
    Fit
        The trained SAE, its siblings, history and metrics.

    Raises
    ------
    InputError
        If X is not a finite two-dimensional array with at least two cells and some variance, or an option is wrong.
    FloatingPointError
        If the loss becomes NaN or infinite; names the step and the remedy.
    """
    X = check_embedding(X)
    if seeds < 1:
        raise InputError("`seeds` must be at least 1", str(seeds), "use 1, or 3 to learn each feature's stability")
    try:
        training = TrainingOptions(**options)
    except TypeError as error:
        raise InputError(
            "training options must be known", str(error), f"use some of {sorted(TrainingOptions.__annotations__)}"
        ) from error
    cfg = cfg or default_config(*X.shape)
    held, kept = _split(len(X), training.holdout, seed)
    scaling = fit_scaling(X[kept] if len(held) else X, cfg.scaling, cfg.whiten_power)
    where = choose_device(device)
    saes: list[SAE] = []
    histories: list[pd.DataFrame] = []
    for s in range(seed, seed + seeds):
        generator = torch.Generator().manual_seed(s)
        sae = SAE(cfg, scaling, generator).to(where)
        run = _Run(sae, _scaled(sae, X, kept), _scaled(sae, X, held), training, generator, progress, s)
        histories.append(run.train())
        saes.append(sae.to("cpu").eval())
    measured: Description = describe(saes[0], X[held] if len(held) else X)
    used = {"batch_size": training.batch_size_for(len(kept))}
    used["epochs"] = training.epochs_for(len(kept), used["batch_size"])
    return Fit(
        sae=saes[0],
        siblings=tuple(saes[1:]),
        history=pd.concat(histories, ignore_index=True),
        metrics=dict(measured._asdict()),
        holdout=held,
        options=vars(training) | used | {"seed": seed, "seeds": seeds},
    )


def check_embedding(X: ArrayLike) -> NDArray[Any]:
    """The embedding as a two-dimensional array, or an :class:`InputError` that says what is wrong with it."""
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.ndim != 2 or array.shape[1] < 1:
        raise InputError("an embedding is an array (cells, dimensions)", f"shape {array.shape}", "give one row a cell")
    if array.dtype.kind not in "fiu":
        raise InputError("an embedding holds numbers", f"dtype {array.dtype}", "leave out columns of text")
    if len(array) < 2:
        raise InputError("an embedding needs at least two cells", f"{len(array)}", "give more cells")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        bad = int(np.size(array[~finite]) - np.isfinite(array[~finite]).sum())
        raise InputError(
            "an embedding must be finite",
            f"{bad} NaN or infinite values in {int((~finite).sum())} cells, the first in row {int(np.argmin(finite))}",
            "drop those cells or embed them again",
        )
    if not np.ptp(array, axis=0).any():
        raise InputError("an embedding must vary between cells", "the same values in every cell", "check the embedding")
    return array


def _split(n: int, holdout: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Held-out and training cells, sorted; at least two cells stay in training."""
    n_held = min(round(n * holdout), n - 2)
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[:n_held]), np.sort(order[n_held:])


@torch.no_grad()
def _scaled(sae: SAE, X: NDArray[Any], cells: NDArray[np.intp]) -> torch.Tensor:
    return sae.scale(torch.as_tensor(np.ascontiguousarray(X[cells], dtype=np.float32), device=sae.mean.device))


@torch.no_grad()
def _geometric_median(x: torch.Tensor, iterations: int = 50) -> torch.Tensor:
    """Point with the least summed distance to the rows (Weiszfeld's iteration)."""
    centre = x.mean(dim=0)
    for _ in range(iterations):
        weight = 1 / (x - centre).norm(dim=1, keepdim=True).clamp_min(1e-6)
        centre = (weight * x).sum(dim=0) / weight.sum()
    return centre


class _Run:
    """One SAE's training on cells that lie in memory, in scaled units."""

    def __init__(
        self,
        sae: SAE,
        x: torch.Tensor,
        x_held: torch.Tensor,
        options: TrainingOptions,
        generator: torch.Generator,
        progress: bool,
        seed: int,
    ) -> None:
        self.sae, self.x, self.x_held, self.options, self.generator, self.seed = (
            sae,
            x,
            x_held,
            options,
            generator,
            seed,
        )
        self.progress = progress
        self.batch = options.batch_size_for(len(x))
        self.per_epoch = -(-len(x) // self.batch)
        self.epochs = options.epochs_for(len(x), self.batch)
        self.steps = self.per_epoch * self.epochs
        if sae.config.bias_init == "geometric_median":
            sae.decoder_bias.data.copy_(_geometric_median(x))
        self.optimiser = torch.optim.Adam(sae.parameters(), lr=options.lr, betas=options.betas)
        self.clock = FiringClock(sae.width, x.device)
        self.rows: list[dict[str, float]] = []
        self.best, self.since_best = float("inf"), 0
        self.best_state: dict[str, torch.Tensor] = {}

    def train(self) -> pd.DataFrame:
        """Run all epochs, or stop early; leaves the best weights in the model."""
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
                self._epoch(epoch)
                bar.advance(task)
                if (epoch + 1) % evaluate_every == 0 or epoch + 1 == self.epochs:
                    row = self._evaluate(epoch)
                    bar.update(task, state=_state(row))
                    if self.options.patience is not None and self.since_best >= self.options.patience:
                        break
        if self.best_state:
            self.sae.load_state_dict(self.best_state)
        self._calibrate()
        return pd.DataFrame(self.rows)

    def _epoch(self, epoch: int) -> None:
        sae, config = self.sae, self.sae.config
        order = torch.randperm(len(self.x), generator=self.generator).to(self.x.device)
        for i in range(self.per_epoch):
            step = epoch * self.per_epoch + i
            x = self.x[order[i * self.batch : (i + 1) * self.batch]]
            factor = learning_rate_factor(step, self.steps, self.options.warmup, self.options.decay)
            for group in self.optimiser.param_groups:
                group["lr"] = self.options.lr * factor
            dead = self.clock.dead(config.dead_after * len(self.x)) if config.aux_weight else None
            p = 1.0 if config.p_end is None else 1.0 + (config.p_end - 1.0) * step / max(1, self.steps - 1)
            self.optimiser.zero_grad(set_to_none=True)
            loss = objective(sae, x, dead, p)
            loss.total.backward()  # type: ignore[no-untyped-call]
            self._step_parameters()
            self.clock.tick(loss.codes.detach())
        self.loss = loss
        if not bool(torch.isfinite(loss.total)):
            raise FloatingPointError(
                f"training diverged: the loss of seed {self.seed} is {loss.total.item()} in epoch {epoch + 1}, step {step + 1}. "
                f"Remedy: lower lr (now {self.options.lr}) or check the embedding for extreme values."
            )
        if config.resample_every and (epoch + 1) % config.resample_every == 0 and epoch + 1 < self.epochs * 0.8:
            resample_dead(sae, self.x, self.clock.dead(len(self.x)), self.optimiser, self.generator)

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
    def _evaluate(self, epoch: int) -> dict[str, float]:
        sae, loss = self.sae, self.loss
        held = self.x_held if len(self.x_held) else self.x
        codes = sae.activation(sae.pre_activations(held))
        error = float((held - sae.reconstruct(codes)).square().mean())
        row = {
            "seed": self.seed,
            "step": (epoch + 1) * self.per_epoch,
            "loss": float(loss.total),
            "reconstruction": float(loss.reconstruction),
            "penalty": float(loss.penalty),
            "auxiliary": float(loss.auxiliary),
            "l0": float((codes > 0).sum(1).float().mean()),
            "dead_share": float(self.clock.dead(len(self.x)).float().mean()),
            "holdout_mse": error,
            "explained_variance": 1 - error / max(float((held - held.mean(0)).square().mean()), 1e-12),
        }
        self.rows.append(row)
        # With a sparsity penalty the best error is the densest model's: compare what training minimises.
        score = error + row["penalty"]
        if len(self.x_held) and self.options.patience is not None:
            if score < self.best:
                self.best, self.since_best = score, 0
                self.best_state = {k: v.clone() for k, v in sae.state_dict().items()}
            else:
                self.since_best += 1
        return row

    @torch.no_grad()
    def _calibrate(self) -> None:
        """Set BatchTopK's threshold so that the training cells have k active features on average."""
        activation = self.sae.activation
        if not isinstance(activation, BatchTopK):
            return
        rows = max(1, 2**24 // self.sae.width)
        n = min(len(self.x), rows)
        chosen = torch.randperm(len(self.x), generator=self.generator)[:n].to(self.x.device)
        pre = torch.relu(self.sae.pre_activations(self.x[chosen])).flatten()
        activation.threshold.copy_(pre.topk(min(activation.k * n, pre.numel()), sorted=False).values.min())


def _state(row: dict[str, float]) -> str:
    return (
        f"loss {row['loss']:.4f}  EV {row['explained_variance']:.3f}  "
        f"L0 {row['l0']:.1f}  dead {100 * row['dead_share']:.0f} %"
    )
