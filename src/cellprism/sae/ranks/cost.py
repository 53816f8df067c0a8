"""What a training costs on so many processes: time, memory and network of a step, from its shape and a machine's rates.

A model with two constants that were fitted to measurements (``benchmarks/scaling.py``, where its errors stand, too); all else is
counted. It speaks of the dense step, which is what several processes take.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["H100", "H100_NODES", "Cost", "Machine", "training_cost"]

_PRODUCTS = (
    10  # operations a cell, dimension and feature: encoder, decoder, and the gradients of codes and both matrices
)
_CODE_PASSES = 129.8
_PARAMETER_PASSES = 46.8
"""Times that each number of (cells, features), and of the parameters, passes through memory in a step: fitted."""
_COPIES = 6  # of the parameters: themselves, gradient, two moments, the last good and the best weights
_CODE_COPIES = 8  # of (cells, features) at a time
_COLLECTIVES = 12  # of a step beside its gradients: means, who fired
_FLOAT = 4


@dataclass(frozen=True)
class Machine:
    """Rates of one process and of what connects it; bytes and operations a second."""

    products: float
    """Operations a second of a matrix product in float32."""
    memory: float
    """Bytes a second to and from its memory."""
    network: float
    """Bytes a second that one process sends while all do."""
    latency: float
    """Seconds of the smallest operation over processes."""
    reading: float
    """Bytes a second at which one process reads its cells."""
    host_products: float
    """Operations a second of its share of the host, which checks and scales the embedding before the training."""


H100 = Machine(50e12, 2.7e12, 300e9, 30e-6, 1e9, 5e11)
"""Assumed of an H100 SXM beside seven in one node: 75 % of the float32 peak without TF32, 80 % of HBM3, NVLink as all-reduces reach it,
1 GB/s of cells a process, and 0.5 Tflop/s of the host's cores a process."""
H100_NODES = Machine(50e12, 2.7e12, 40e9, 60e-6, 1e9, 5e11)
"""The same over several nodes with a 400 Gbit/s card a GPU, of which 80 % are reached."""


@dataclass(frozen=True)
class Cost:
    """Of a whole training; seconds, and bytes a process."""

    steps: int
    before: float
    """Seconds that checks and scaling take before the first step: each process by itself, over all cells."""
    computing: float
    exchanging: float
    reading: float
    """Seconds of all steps by what they are spent on; reading runs beside nothing, as batches are read when they are asked for."""
    memory: float
    sent: float
    """Bytes that a process holds on its device, and sends in a step."""

    @property
    def hours(self) -> float:
        """Of the whole training."""
        return (self.before + self.computing + self.exchanging + self.reading) / 3600


def training_cost(
    machine: Machine,
    *,
    cells: int,
    d: int,
    width: int,
    k: int,
    batch: int,
    processes: int = 1,
    shards: int = 1,
    epochs: int = 1,
    in_memory: bool = False,
) -> Cost:
    """Cost of a training of batchtopk.

    Parameters
    ----------
    machine
        Of each process.
    cells, d
        Size of the embedding.
    width, k, batch, epochs
        As for :func:`cellprism.fit`; ``batch`` over all processes.
    processes, shards
        How many there are, and over how many of them the features lie.
    in_memory
        Whether the cells lie in the device's memory, so that nothing is read.

    Examples
    --------
    >>> from cellprism.sae.ranks.cost import H100, training_cost
    >>> one, eight = (
    ...     training_cost(H100, cells=10**8, d=1152, width=131_072, k=64, batch=65_536, processes=n) for n in (1, 8)
    ... )
    >>> one.computing > 6 * eight.computing
    True
    """
    rows = processes // shards
    own_cells, own_features = batch / rows, width / shards
    parameters = own_features * (2 * d + 1) + d
    steps = epochs * math.ceil(cells / batch)
    codes = own_cells * own_features
    step = _PRODUCTS * codes * d / machine.products
    step += _FLOAT * (_CODE_PASSES * codes + _PARAMETER_PASSES * parameters) / machine.memory
    # a ring sends each number twice but for one part
    over_rows = 2 * (rows - 1) / rows * _FLOAT * parameters
    over_columns = 2 * (shards - 1) / shards * _FLOAT * own_cells * d
    sent = over_rows + over_columns
    exchange = sent / machine.network + (_COLLECTIVES * machine.latency if processes > 1 else 0.0)
    size = _FLOAT * cells * d
    return Cost(
        steps=steps,
        before=2.0 * cells * d**2 / machine.host_products + 3 * size / machine.reading,
        computing=steps * step,
        exchanging=steps * exchange,
        reading=0.0 if in_memory else epochs * size / rows / machine.reading,
        memory=_FLOAT * (_COPIES * parameters + _CODE_COPIES * codes + (cells * d if in_memory else 2 * own_cells * d)),
        sent=sent,
    )
