"""What a model and its training ask of the processes that train it; one process, where all of it is trivial."""

from __future__ import annotations

from typing import Protocol, final

import torch
from torch import Tensor, nn

__all__ = ["ALONE", "Ranks"]


class Ranks(Protocol):
    """Processes that train one model: each sees a share of every batch and holds some of the features, or all.

    Every process calls the same operations in the same order. Results are those of one process with the whole batch and all
    features, and so are gradients: an operation's derivative is that of the process's own part, and what is left to add
    up over the cells is added by :meth:`add_gradients`.
    """

    @property
    def alone(self) -> bool:
        """Whether this process trains by itself."""

    @property
    def first(self) -> bool:
        """Whether it is the one that writes."""

    def share(self, cells: Tensor) -> Tensor:
        """Of the cells of a batch (cells first), or of their positions, those that this process sees."""

    def features(self, of_all: Tensor) -> Tensor:
        """Of numbers of all features (width,), those that this process holds."""

    def within(self, prefix: int) -> int:
        """How many of the first ``prefix`` features this process holds; its own first ones."""

    def total(self, values: Tensor) -> Tensor:
        """Sum over the shares of the cells; no derivative."""

    def mean(self, values: Tensor, *, of_codes: bool = False) -> Tensor:
        """Mean of numbers of this share's cells over all cells; of codes (cells, features), over all features too."""

    def over_features(self, part: Tensor) -> Tensor:
        """Sum of the parts that come of each process's features."""

    def to_features(self, shared: Tensor) -> Tensor:
        """A tensor that all processes hold alike, on its way to their features: its derivative is that of all of them."""

    def keep_largest(self, codes: Tensor, k: int) -> Tensor:
        """Non-negative codes (cells, features) but for the k largest of each cell over all features."""

    def least_of_largest(self, codes: Tensor, k: int, *, beyond: bool = False) -> Tensor:
        """Of non-negative codes (cells, features), the smallest of the k largest a cell of the whole batch, in a vector.

        With ``beyond``, the next one after it, too, where there is one. No derivative.
        """

    def fired(self, codes: Tensor) -> Tensor:
        """(width,) bool: which features are active in any cell of the batch."""

    def add_gradients(self, model: nn.Module) -> None:
        """Add the gradients of all shares of the cells up, in place."""

    def cut_gradients(self, model: nn.Module, most: float) -> None:
        """Scale the gradients, in place, so that their norm over all parameters of the whole model is at most this."""

    def gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """Tensors of the whole model's state, on the CPU, for the process that writes; None for the others."""

    def scatter(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of a whole model's state, the parts that this process holds."""


@final
class _Alone:
    """One process: all cells, all features."""

    alone = first = True

    def share(self, cells: Tensor) -> Tensor:
        return cells

    def features(self, of_all: Tensor) -> Tensor:
        return of_all

    def within(self, prefix: int) -> int:
        return prefix

    def total(self, values: Tensor) -> Tensor:
        return values

    def mean(self, values: Tensor, *, of_codes: bool = False) -> Tensor:
        return values.mean()

    def over_features(self, part: Tensor) -> Tensor:
        return part

    def to_features(self, shared: Tensor) -> Tensor:
        return shared

    def keep_largest(self, codes: Tensor, k: int) -> Tensor:
        values, indices = codes.topk(k, dim=-1, sorted=False)
        return torch.zeros_like(codes).scatter(-1, indices, values)

    def least_of_largest(self, codes: Tensor, k: int, *, beyond: bool = False) -> Tensor:
        values, count = codes.detach().flatten(), k * len(codes)
        if not beyond or count >= values.numel():
            return values.topk(min(count, values.numel()), sorted=False).values.min()[None]
        return values.topk(count + 1, sorted=False).values.topk(2, largest=False).values

    def fired(self, codes: Tensor) -> Tensor:
        return (codes.detach() > 0).any(dim=0)

    def add_gradients(self, model: nn.Module) -> None:
        pass

    def cut_gradients(self, model: nn.Module, most: float) -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), most)

    def gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
        return tensors

    def scatter(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return tensors


ALONE: Ranks = _Alone()
"""One process by itself."""
