"""Whether a training is one of several processes, and whether they were all given the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from cellprism.errors import InputError
from cellprism.sae.model import SAE
from cellprism.sae.ranks.collective import reaching_all
from cellprism.sae.ranks.mesh import Mesh

__all__ = ["DisagreementError", "agree", "in_several", "sample_digest", "trained_together"]

_SAMPLE = 256  # cells whose values are compared: whole embeddings may be larger than any memory


class DisagreementError(InputError):
    """Processes of one training were given different things: raised in all of them alike."""


def in_several() -> bool:
    """Whether this process stands in a group of torch.distributed with others."""
    return bool(dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1)


def agree(about: Mapping[str, object]) -> None:
    """Hold what this process was given against what the others were.

    Raises
    ------
    DisagreementError
        In every process alike, where a value differs anywhere.
    """
    own = {name: repr(value) for name, value in about.items()}
    everyone: list[dict[str, str]] = [{} for _ in range(dist.get_world_size())]
    with reaching_all():
        dist.all_gather_object(everyone, own)
    first = everyone[0]
    for rank, other in enumerate(everyone):
        for name in first | other:
            if first.get(name) != other.get(name):
                raise DisagreementError(
                    "the processes of one training must be given the same",
                    f"`{name}` {first.get(name, 'left out')} in process 0 and {other.get(name, 'left out')} in process {rank}",
                    "start all of them with one command, on one version of cellprism and one copy of the data",
                )


def sample_digest(X: NDArray[Any]) -> str:
    """Digest of some cells, evenly spaced: enough to tell another file, without reading all of it."""
    rows = np.unique(np.linspace(0, len(X) - 1, _SAMPLE).astype(np.intp))
    return hashlib.sha256(np.ascontiguousarray(X[rows]).tobytes()).hexdigest()[:16]


@contextmanager
def trained_together(sae: SAE, shards: int | None) -> Iterator[None]:
    """Spread a model over the processes while it is trained, and make it whole at the end, in every one of them.

    Parameters
    ----------
    sae
        Made alike in every process.
    shards
        Processes over which its features lie; None = this process trains it alone.
    """
    if shards is None:
        yield
        return
    mesh = Mesh(sae, shards)
    try:
        yield
    except FloatingPointError:  # training diverged, in all processes alike, and its model goes with the error
        mesh.leave(sae)
        raise
    mesh.leave(sae)
