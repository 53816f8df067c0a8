"""What compiled epochs have in common: records of what they work on, and the end of a step."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellprism.numba_cache import compiled
from cellprism.sae.steps.shared.adam import adam_flat, start_moments
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
    "learn",
    "learn_biases",
    "objective",
    "pace",
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


def weights(setting: Setting) -> Weights:
    """The parameters in memory, with Adam's moments and room for gradients."""
    sae, state = setting.sae, setting.optimiser.state
    start_moments(setting.optimiser, _parameters(setting))

    def learned(p: Tensor) -> Learned:
        values, *moments = (v.detach().numpy() for v in (p, state[p]["exp_avg"], state[p]["exp_avg_sq"]))
        return Learned(values, np.empty_like(values), *moments)

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


# Arrays are taken out of their records before a loop: taking one out counts a reference, which costs more than most loops.


@compiled()
def shift(of: Biases, objective: Objective, to: Any) -> None:
    """What is added to each dimension of a cell before it is encoded."""
    by_decoder, by_input = of.decoder.value, of.input.value
    for i in range(len(to)):
        to[i] = -by_decoder[i] if objective.tied else (by_input[i] if objective.free else np.float32(0))


@compiled()
def settle_biases(of: Biases, objective: Objective, squared: float) -> float:
    """Take the encoder's part off the decoder's bias where they are tied; add to the squared length of all gradients."""
    mine, through_input = of.decoder.gradient, of.input.gradient
    for i in range(len(mine)):
        if objective.tied:
            mine[i] -= through_input[i]
        squared += mine[i] * mine[i]
        if objective.free:
            squared += through_input[i] * through_input[i]
    return squared


@compiled()
def clipping(rule: Adam, squared: float) -> Any:
    """The factor on all gradients that keeps their length, whose square is given, to the limit."""
    return np.float32(min(1.0, rule.limit / (math.sqrt(squared) + 1e-6))) if rule.limit > 0 else np.float32(1)


@compiled()
def pace(rule: Adam, t: int) -> tuple[Any, Any]:
    """Step size, and the factor on the root of the second moments, at step ``t`` of the epoch."""
    turn = rule.taken + t + 1
    return np.float32(rule.rates[t] / (1 - rule.beta1**turn)), np.float32(1 / math.sqrt(1 - rule.beta2**turn))


@compiled()
def learn(of: Learned, lo: int, hi: int, clip: Any, rule: Adam, paced: tuple[Any, Any]) -> None:
    """A step of Adam on the numbers ``lo:hi`` of a parameter."""
    adam_flat(
        of.value.ravel()[lo:hi], of.gradient.ravel()[lo:hi], of.mean.ravel()[lo:hi], of.square.ravel()[lo:hi],
        clip, rule.beta1, rule.beta2, paced[0], paced[1],
    )  # fmt: skip


@compiled()
def learn_biases(of: Biases, objective: Objective, clip: Any, rule: Adam, paced: tuple[Any, Any]) -> None:
    """A step of Adam on the biases that are learned."""
    learn(of.decoder, 0, of.decoder.value.size, clip, rule, paced)
    if objective.free:
        learn(of.input, 0, of.input.value.size, clip, rule, paced)
