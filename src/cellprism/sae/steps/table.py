"""Which way trains what: the first row that serves a training takes it.

A new way is a file with its class and what it knows, and a row here. Figures are those of docs/engine.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cellprism.sae.config import SAEConfig
from cellprism.sae.steps.coded.epoch import CodedEpoch, takes_coded_epoch
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.steps.fused.epoch import FusedEpoch, takes_fused_epoch
from cellprism.sae.steps.narrow.epoch import NarrowEpoch, takes_narrow_epoch
from cellprism.sae.steps.sparse.jumps import JumpStep, takes_jump_step
from cellprism.sae.steps.sparse.products import ProductStep, takes_product_step
from cellprism.sae.steps.sparse.selection import has_bf16_products
from cellprism.sae.steps.sparse.step import SparseStep, takes_sparse_step
from cellprism.sae.steps.triton.switch import make_triton_step
from cellprism.sae.steps.way import EpochWay, Setting, StepWay

__all__ = ["EPOCHS", "STEPS", "Row", "choose_epoch", "choose_step"]

Way = TypeVar("Way", StepWay, EpochWay)

_WIDE = 64  # from here on the sparse step took at most 0.6 of the dense one's time at all shapes tried
_ROUNDED = 128  # dimensions from which the product is most of the work, and worth rounding


@dataclass(frozen=True)
class Row(Generic[Way]):
    """One way, and the trainings that it serves: all that is said here must hold."""

    name: str
    kernels: tuple[str, ...]
    """Values of the option ``kernel`` under which it is looked at."""
    cpu: bool
    """On the CPU alone."""
    width: int
    """Least width under ``kernel="auto"``."""
    knows: Callable[[SAEConfig, int], bool]
    """Of the objective, and the number of scaled dimensions."""
    make: Callable[[Setting], Way]
    rounds: bool = False
    """Only where the encoder's product is to be taken in bfloat16."""
    ranks: bool = False
    """Also where several processes train the model together."""

    def serves(self, setting: Setting) -> bool:
        """Whether it takes this training, looked at after all rows above."""
        options, sae = setting.options, setting.sae
        return (
            options.kernel in self.kernels
            and not (self.cpu and setting.cells.device.type != "cpu")
            and not (options.kernel == "auto" and sae.width < self.width)
            and not (self.rounds and not _rounds_product(setting))
            and (self.ranks or sae.ranks.alone)
            and self.knows(sae.config, sae.decoder.shape[1])
        )


STEPS: tuple[Row[StepWay], ...] = (
    # By hand only, and no way to fall back: what it does not know it refuses. Not yet timed on a GPU.
    Row("triton", ("triton",), False, 0, lambda config, r: True,
        lambda s: make_triton_step(s.sae, s.optimiser, s.options)),
    # With half of all features active, as at relu's start or in the published topk, following single codes costs more
    # than multiplying whole matrices; it turns into the sparse step where few are left (d 512, width 8,192: relu 2.1 times
    # as fast as the dense step).
    Row("products", ("auto",), True, _WIDE, lambda config, r: takes_product_step(config),
        lambda s: ProductStep(s.sae, s.optimiser, s.options)),
    # In many dimensions thresholds learn from many times more codes than are active (d 512, width 8,192: 2.4 times).
    Row("jumps", ("auto", "sparse"), True, _WIDE, takes_jump_step,
        lambda s: JumpStep(s.sae, s.optimiser, s.options)),
    # Candidates in bfloat16, scored again in float32 (d 512, width 8,192: 12 times, float32 9.6).
    Row("sparse, bfloat16", ("auto", "sparse"), True, _WIDE,
        lambda config, r: config.activation == "topk" and takes_sparse_step(config),
        lambda s: SparseStep(s.sae, s.optimiser, s.options, bf16=True), rounds=True),
    # Only the encoder's product is dense (d 512, width 8,192: topk 9.6 times, batchtopk 7.4, gated 3.2, prefixes 10.6).
    Row("sparse", ("auto", "sparse"), True, _WIDE, lambda config, r: takes_sparse_step(config),
        lambda s: SparseStep(s.sae, s.optimiser, s.options)),
    # Every objective on every device, in any number of processes, and the oracle of all others.
    Row("dense", ("auto", "sparse", "dense"), False, 0, lambda config, r: True,
        lambda s: DenseStep(s.sae, s.optimiser, s.options), ranks=True),
)  # fmt: skip
"""Ways to make a step; the last one serves whatever is left but Triton."""

EPOCHS: tuple[Row[EpochWay], ...] = (
    # In up to four dimensions a block of features stays in registers; also topk with many active (width 800 at d 4:
    # 0.04 ms a step, the fused epoch 0.19 to 0.24, the published loop 1.37).
    Row("narrow", ("auto",), True, 0, takes_narrow_epoch, NarrowEpoch),
    # Relu in more dimensions: no array of pre-activations, and no calls between steps (d 20, width 10,000: 1.5 times the
    # dense step on half its threads; width 80 at d 4: 0.02 to 0.03 ms a step, the published loop 0.59).
    Row("fused", ("auto",), True, 0, takes_fused_epoch, FusedEpoch),
    # Topk and batchtopk: product and selection in one loop (d 20, width 10,000: 10.7 and 11.3 times the dense step, with
    # prefixes 13.3).
    Row("coded", ("auto",), True, 0, takes_coded_epoch, CodedEpoch),
)
"""Ways to make all steps of an epoch, where the cells lie in memory and no feature can come to count as dead."""


def choose_step(setting: Setting) -> StepWay:
    """The first way that serves this training, made."""
    return next(row for row in STEPS if row.serves(setting)).make(setting)


def choose_epoch(setting: Setting) -> EpochWay | None:
    """The first way to make whole epochs of this training, made; None where there is none."""
    if not setting.cells.in_memory:
        return None
    return next((row.make(setting) for row in EPOCHS if row.serves(setting)), None)


def _rounds_product(setting: Setting) -> bool:
    """Whether the encoder's product is to be taken in bfloat16."""
    options = setting.options
    return options.precision == "bfloat16" or (
        options.precision == "auto" and setting.sae.decoder.shape[1] >= _ROUNDED and has_bf16_products()
    )
