"""Checkpoints: one safetensors file a seed, replaced at once, from which training goes on bit by bit."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cellprism.data.chunks import rows_at_a_time
from cellprism.errors import InputError

__all__ = ["Checkpoint", "fingerprint"]


def fingerprint(X: NDArray[Any], *about: object) -> str:
    """SHA-256 of the embedding's values and of whatever else decides the training."""
    digest = hashlib.sha256(repr((X.shape, str(X.dtype), about)).encode())
    rows = rows_at_a_time(X.shape[1])
    for start in range(0, len(X), rows):
        digest.update(np.ascontiguousarray(X[start : start + rows]).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """State of one training on disk."""

    path: Path
    """The file."""
    identity: str
    """:func:`fingerprint` of what is trained: another one's state is refused."""
    every: int
    """Steps between two states."""

    def write(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Replace the file in one move: a kill leaves the old state or the new one, never half of one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        metadata = {"identity": self.identity, "numbers": json.dumps(numbers)}
        # Clones, since safetensors refuses tensors that share memory.
        copies = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
        save_file(copies, str(beside), metadata=metadata)
        os.replace(beside, self.path)

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Saved tensors and numbers; None where there is no file yet.

        Raises
        ------
        InputError
            If the file is unreadable or belongs to another training.
        """
        if not self.path.exists():
            return None
        try:
            with safe_open(str(self.path), framework="pt") as file:
                metadata = file.metadata() or {}
                tensors: dict[str, torch.Tensor] = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise InputError("a checkpoint must be readable", f"{self.path}: {error}", "delete it") from error
        if metadata.get("identity") != self.identity:
            raise InputError(
                "a checkpoint is resumed with the embedding, config, options and seed it was made with",
                f"another training's state in {self.path}",
                "give another folder, or delete this one",
            )
        return tensors, json.loads(metadata["numbers"])
