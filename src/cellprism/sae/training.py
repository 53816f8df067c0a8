"""How long, how fast, on what: the options of training and their defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.numeric import as_number, as_whole

__all__ = ["TrainingOptions", "choose_device", "learning_rate_factor"]

Kernel = Literal["auto", "dense", "sparse", "triton"]
Precision = Literal["auto", "float32", "bfloat16"]

_DEFAULT_STEPS = 4_000
_MEMORY, _MAPPED_MEMORY = 2.0**32, 2.0**30


@dataclass(frozen=True)
class TrainingOptions:
    """Options of :func:`cellprism.fit` that are not part of the model."""

    epochs: int | None = None
    """Passes over the training cells; None = as many as make 4,000 steps, at least 20."""
    batch_size: int | None = None
    """Cells a step; None = a quarter of the training cells, within 64 and 1,024, as a power of two."""
    lr: float = 3e-3
    """Peak learning rate of Adam."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises from 0."""
    decay: float = 0.5
    """Share of the steps, at the end, over which it falls to 0 along a cosine."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's moments."""
    holdout: float = 0.1
    """Share of the cells kept out of training, for early stopping and the reported metrics."""
    patience: int | None = 10
    """Evaluations (50 over the whole length) without a better held-out error after which training stops; None = never."""
    max_grad_norm: float | None = 1.0
    """Gradients are cut to this norm; None = never."""
    kernel: Kernel = "auto"
    """``dense``: automatic differentiation. ``sparse``: compiled loops over the active codes (on the CPU, without
    p-annealing; prefixes with relu, topk and batchtopk), the same numbers up to rounding. ``triton``: topk and batchtopk on
    CUDA devices, without prefixes and l1, by kernels over the active codes (needs the extra ``triton``). ``auto``: on the
    CPU sparse where it knows the objective and the width pays, else dense; on CUDA dense, since the kernels have not been
    timed on a GPU yet."""
    precision: Precision = "auto"
    """Of the encoder's product in the sparse step of topk: ``bfloat16`` finds candidates that are scored again in
    float32; ``auto`` = bfloat16 where the CPU multiplies it in hardware and the embedding has 128 dimensions or more. Of
    the triton step: ``bfloat16`` rounds the weights, cells, pre-activations and residuals that are multiplied, with sums,
    gradients, moments and parameters in float32; ``auto`` = bfloat16 on CUDA from 128 dimensions on."""
    dictionary_shards: int = 1
    """In a training of several processes, those over which the features of one dictionary lie, so that each holds a part of the
    weights; rows of so many processes share the cells of each batch. 1 = each process holds all features."""
    memory_limit: float | None = None
    """Bytes that the cells may take in memory; where they need more, batches are read from the embedding, which can then
    be a memory map larger than the memory. None = 4 GiB, and 1 GiB for a memory map."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience", "dictionary_shards"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_whole(name, getattr(self, name)))
        for name in ("lr", "warmup", "decay", "holdout", "max_grad_norm", "memory_limit"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_number(name, getattr(self, name)))
        if not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            raise InputError("`betas` are two numbers", repr(self.betas), "use (0.9, 0.999)")
        object.__setattr__(self, "betas", tuple(as_number("betas", b) for b in self.betas))
        for name, choices in (("kernel", get_args(Kernel)), ("precision", get_args(Precision))):
            if getattr(self, name) not in choices:
                raise InputError(
                    f"`{name}` must be one of {', '.join(choices)}", repr(getattr(self, name)), "use 'auto'"
                )
        if self.warmup + self.decay > 1:
            raise InputError(
                "`warmup` and `decay` are shares of the steps with a sum of at most 1",
                f"warmup={self.warmup}, decay={self.decay}",
                "use 0.05 and 0.5",
            )

    def memory_for(self, X: NDArray[Any]) -> float:
        """Bytes that the cells of this embedding may take."""
        if self.memory_limit is not None:
            return self.memory_limit
        return _MAPPED_MEMORY if isinstance(X, np.memmap) else _MEMORY

    def batch_size_for(self, n_cells: int) -> int:
        """Cells a step for so many training cells."""
        if self.batch_size is not None:
            return min(self.batch_size, n_cells)
        return min(n_cells, max(64, min(1024, 1 << int(math.log2(max(1, n_cells / 4))))))

    def epochs_for(self, n_cells: int, batch_size: int) -> int:
        """Passes over so many training cells."""
        if self.epochs is not None:
            return self.epochs
        return max(20, math.ceil(_DEFAULT_STEPS / math.ceil(n_cells / batch_size)))


def learning_rate_factor(step: int, steps: int, warmup: float, decay: float) -> float:
    """Factor on the peak learning rate at ``step`` of ``steps``: linear rise, level, cosine fall to 0."""
    rise, fall = warmup * steps, decay * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    if fall and step > steps - fall:
        return 0.5 * (1 + math.cos(math.pi * (step - (steps - fall)) / fall))
    return 1.0


def choose_device(device: str) -> torch.device:
    """``auto`` = CUDA where there is one, else Apple's MPS, else the CPU."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            "`device` must be one that torch can use here", f"{device!r}: {error}", "use 'auto' or 'cpu'"
        ) from error
    return chosen
