"""What compiled epochs have in common: records of what they work on, and the end of a step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.numba_cache import compiled
from cellprism.sae.steps.shared.adam import start_moments
from cellprism.sae.steps.way import Setting, StepResult

__all__ = [
    "Adam",
    "Batches",
    "Biases",
    "Learned",
    "Objective",
    "Told",
    "Weights",
    "adam",
    "clipping",
    "finished",
    "flat",
    "objective",
    "pace",
    "room",
    "settle_biases",
    "shift",
    "told",
    "weights",
]


class Learned(NamedTuple):
    """A parameter, its gradient and Adam's moments of it: arrays of one shape, all changed in place."""

    value: Any
    gradient: Any
    mean: Any
    square: Any


class Biases(NamedTuple):
    """One number a dimension."""

    decoder: Learned
    input: Learned
    """Added to what is encoded; zeros where none is learned. Where cells are encoded less the decoder's bias, its
    gradient is the part that the decoder's loses."""


class Weights(NamedTuple):
    """All parameters of an autoencoder."""

    encoder: Learned
    """(width, r)."""
    encoder_bias: Learned
    decoder: Learned
    """(width, r)."""
    biases: Biases


class Objective(NamedTuple):
    """What is minimised, and under which constraints."""

    tied: bool
    """The decoder's bias is taken off the input."""
    free: bool
    """A bias of its own is added to the input."""
    unit: bool
    """Decoder rows have length 1."""
    by_norm: bool
    """The penalty on codes is summed over features and weighted by decoder norms."""
    l1: float


class Batches(NamedTuple):
    """Training cells in the order of an epoch."""

    x: Any
    order: Any
    size: int
    """Cells a step; the last may have fewer."""


class Adam(NamedTuple):
    """How far parameters move."""

    rates: Any
    """Learning rate a step of the epoch."""
    taken: int
    """Steps before the epoch."""
    beta1: float
    beta2: float
    limit: float
    """Of the length of all gradients together; 0: none."""


class Told(NamedTuple):
    """What an epoch leaves behind beside the parameters."""

    silent: Any
    """(width,) cells since a feature fired."""
    fired: Any
    """(width,) whether it did in the last batch."""
    losses: Any
    """(2,) mean squared error and penalty of the last batch."""


def _parameters(setting: Setting) -> list[Tensor]:
    """Those of an activation without any: listed here, since a search through the modules takes longer than a short step."""
    sae = setting.sae
    own: list[Tensor] = [sae.encoder, sae.encoder_bias, sae.decoder, sae.decoder_bias]
    return own if sae.input_bias is None else [*own, sae.input_bias]


def room(*shape: int) -> NDArray[np.float32]:
    """Numbers to be written; they begin with a cache line, as all of torch's do."""
    made: NDArray[np.float32] = torch.empty(shape, dtype=torch.float32).numpy()
    return made


def weights(setting: Setting) -> Weights:
    """The parameters in memory, with Adam's moments and room for gradients."""
    sae, state = setting.sae, setting.optimiser.state
    start_moments(setting.optimiser, _parameters(setting))

    def learned(p: Tensor) -> Learned:
        mine = state[p]
        return Learned(p.detach().numpy(), room(*p.shape), mine["exp_avg"].numpy(), mine["exp_avg_sq"].numpy())

    r = sae.decoder.shape[1]
    nothing = Learned(*(np.zeros(r, np.float32) for _ in range(4)))
    biases = Biases(learned(sae.decoder_bias), nothing if sae.input_bias is None else learned(sae.input_bias))
    return Weights(learned(sae.encoder), learned(sae.encoder_bias), learned(sae.decoder), biases)


def objective(setting: Setting) -> Objective:
    """What the config asks for."""
    config = setting.sae.config
    return Objective(
        tied=config.pre_bias == "tied",
        free=setting.sae.input_bias is not None,
        unit=config.unit_norm,
        by_norm=config.penalty_reduction == "sum",
        l1=float(config.l1_weight),
    )


def adam(setting: Setting, rates: NDArray[np.float64]) -> Adam:
    """The rule for an epoch of these learning rates."""
    options = setting.options
    taken = int(setting.optimiser.state[setting.sae.encoder]["step"])
    beta1, beta2 = map(float, options.betas)
    return Adam(rates, taken, beta1, beta2, limit=float(options.max_grad_norm or 0))


def told(setting: Setting) -> Told:
    """Room for what an epoch leaves behind; the clock's count goes on."""
    return Told(setting.clock.silent.numpy(), np.zeros(setting.sae.width, np.bool_), np.zeros(2))


def finished(setting: Setting, steps: int, of: Told) -> StepResult:
    """Count the steps that were made; the last one's result."""
    for p in _parameters(setting):
        setting.optimiser.state[p]["step"] += steps
    reconstruction, penalty = map(float, of.losses)
    return StepResult(reconstruction + penalty, reconstruction, penalty, 0.0, torch.as_tensor(of.fired))


# Numba counts references to whatever a function takes or takes out of a record, except where all that it takes is plain
# arrays and numbers. In short steps counting costs more than the loops, so records are taken apart once an epoch.


@compiled()
def flat(of: Learned, lo: int, hi: int) -> tuple[Any, Any, Any, Any]:
    """Value, gradient and moments of the numbers ``lo:hi`` of a parameter."""
    return of.value.ravel()[lo:hi], of.gradient.ravel()[lo:hi], of.mean.ravel()[lo:hi], of.square.ravel()[lo:hi]


@compiled()
def shift(by_decoder: Any, by_input: Any, objective: Objective, to: Any) -> None:
    """What is added to each dimension of a cell before it is encoded, from the values of the biases."""
    for i in range(len(to)):
        to[i] = -by_decoder[i] if objective.tied else (by_input[i] if objective.free else np.float32(0))


@compiled()
def settle_biases(by_decoder: Any, by_input: Any, objective: Objective, squared: float) -> float:
    """Take the encoder's part off the gradient of the decoder's bias where they are tied; add to all's squared length."""
    for i in range(len(by_decoder)):
        if objective.tied:
            by_decoder[i] -= by_input[i]
        squared += by_decoder[i] * by_decoder[i]
        if objective.free:
            squared += by_input[i] * by_input[i]
    return squared


@compiled()
def clipping(limit: float, squared: float) -> Any:
    """The factor on all gradients that keeps their length, whose square is given, to the limit."""
    return np.float32(min(1.0, limit / (math.sqrt(squared) + 1e-6))) if limit > 0 else np.float32(1)


@compiled()
def pace(rate: float, turn: int, beta1: float, beta2: float) -> tuple[Any, Any]:
    """Step size, and the factor on the root of the second moments, at the ``turn``-th step, counted from 1."""
    return np.float32(rate / (1 - beta1**turn)), np.float32(1 / math.sqrt(1 - beta2**turn))
