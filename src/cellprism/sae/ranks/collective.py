"""Operations over processes: sums with the derivative of one's own part, and an error where a process is lost."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["ProcessLostError", "copied_to", "reaching_all", "summed", "summed_over"]


class ProcessLostError(ConnectionError):
    """A process of a training in several ended, or could not be reached in time: the others stop, too."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            errno.ECONNRESET,
            "a process of this training was lost, so all stop; begin again with the same command and the same checkpoint "
            f"folder, on any number of processes, and it goes on from its last state ({reason})",
        )


@contextmanager
def reaching_all() -> Iterator[None]:
    """Turn a failed operation over processes into :class:`ProcessLostError`."""
    try:
        yield
    except RuntimeError as error:  # all that torch.distributed raises of connections and time limits
        said = re.sub(r"^\[\S+\]\s*", "", str(error).strip()).splitlines()[0]  # without the place in the source
        raise ProcessLostError(said.partition(". ")[0]) from error


def summed(values: Tensor, group: Any) -> Tensor:
    """Sum over a group of processes; without a derivative."""
    total = values.detach().clone(memory_format=torch.contiguous_format)
    with reaching_all():
        dist.all_reduce(total, group=group)
    return total


class _Sum(torch.autograd.Function):
    """Sum forwards, the process's own part backwards: the loss is one, and each process follows it to its own numbers."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Any) -> Tensor:
        return summed(values, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _Copy(torch.autograd.Function):
    """Nothing forwards, the sum over processes backwards."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: Any) -> Tensor:
        ctx.group = group
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return summed(grad, ctx.group), None


def summed_over(values: Tensor, group: Any) -> Tensor:
    """Sum over a group of processes, with the derivative of this process's part."""
    total: Tensor = _Sum.apply(values, group)  # type: ignore[no-untyped-call]
    return total


def copied_to(values: Tensor, group: Any) -> Tensor:
    """The same numbers, with the derivative of what every process of the group makes of them."""
    copy: Tensor = _Copy.apply(values, group)  # type: ignore[no-untyped-call]
    return copy
