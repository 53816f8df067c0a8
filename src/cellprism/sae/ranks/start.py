"""Processes that were started together, by ``torchrun`` or with its variables, find each other."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
import torch.distributed as dist

from cellprism.sae.ranks.collective import reaching_all
from cellprism.sae.ranks.join import in_several

__all__ = ["several_processes"]

_VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_LETTING_GO = 0.5
"""Seconds."""


@contextmanager
def several_processes() -> Iterator[bool]:
    """Meet the processes that were started with this one, if there are any; gives whether this one is the first.

    On NCCL where there are GPUs, each process on its own (``LOCAL_RANK``), else on gloo. A group that is initialised already is
    left as it is.
    """
    if in_several():
        yield dist.get_rank() == 0
        return
    if not set(os.environ) >= _VARIABLES or int(os.environ["WORLD_SIZE"]) < 2:
        yield True
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    with reaching_all():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank() == 0
    finally:
        # torch ends the group's threads while it holds Python's lock, which a thread needs that still lets go of the tensors of
        # the last operation: both would wait for each other for ever, so these threads get the lock first
        time.sleep(_LETTING_GO)
        with suppress(RuntimeError):  # where a process was lost, the others cannot take leave of it
            dist.destroy_process_group()
