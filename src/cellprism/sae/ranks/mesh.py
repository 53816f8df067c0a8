"""Several processes as rows and columns: rows share the cells of a batch, the processes of a row the features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cellprism.errors import InputError
from cellprism.sae.model import SAE
from cellprism.sae.ranks.collective import copied_to, reaching_all, summed, summed_over
from cellprism.sae.ranks.face import ALONE
from cellprism.sae.ranks.select import nth_largest

__all__ = ["Mesh"]

_OF_ALL = ("decoder_bias", "input_bias")
"""Parameters that are not of single features: every process holds them whole."""


@final
class Mesh:
    """:class:`~cellprism.sae.ranks.face.Ranks` over the processes of torch.distributed's group.

    Process ``i`` stands in row ``i // shards`` and column ``i % shards``.

    Parameters
    ----------
    sae
        The whole model, made alike in every process; cut down, in place, to the features of this one.
    shards
        Processes over which the features lie; 1 = every process holds all of them.

    Raises
    ------
    InputError
        If the processes, or the features, do not fall into so many equal parts.
    """

    alone = False

    def __init__(self, sae: SAE, shards: int = 1) -> None:
        rank, size = dist.get_rank(), dist.get_world_size()
        for number, what in ((size, "processes"), (sae.width, "features")):
            if number % shards:
                raise InputError(
                    f"the {what} must fall into `dictionary_shards` equal parts",
                    f"{number:,} {what} and dictionary_shards={shards}",
                    "give a number that divides both",
                )
        self.first, self.width = rank == 0, sae.width
        self.row, self.column, self.rows, self.shards = rank // shards, rank % shards, size // shards, shards
        self.here = slice(self.column * sae.width // shards, (self.column + 1) * sae.width // shards)
        self._of_features = {name for name, _ in sae.named_parameters() if name not in _OF_ALL}
        with reaching_all():  # every process makes every group, in one order
            columns = [dist.new_group([r * shards + c for r in range(self.rows)]) for c in range(shards)]
            rows = [dist.new_group([r * shards + c for c in range(shards)]) for r in range(self.rows)]
        self._cells, self._features = columns[self.column], rows[self.row]
        if shards > 1:
            self._replace(sae, lambda p: p[self.here].clone())
        self._join(sae, self)

    def _replace(self, sae: SAE, change: Callable[[Tensor], Tensor]) -> None:
        """Change, in place, the parameters that are of single features."""
        for name in sorted(self._of_features):
            owner, _, last = name.rpartition(".")
            with torch.no_grad():
                setattr(sae.get_submodule(owner), last, nn.Parameter(change(sae.get_parameter(name))))

    @staticmethod
    def _join(sae: SAE, ranks: Any) -> None:
        sae.ranks = sae.activation.ranks = ranks

    def leave(self, sae: SAE) -> None:
        """Make the model whole again, in every process, and its own."""
        if self.shards > 1:
            self._replace(sae, lambda p: torch.cat(self._of_row(p.detach())))
        self._join(sae, ALONE)

    def _of_row(self, part: Tensor) -> list[Tensor]:
        """The same tensor of each process of this row, in their order."""
        parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(self.shards)]
        with reaching_all():
            dist.all_gather(parts, part.contiguous(), group=self._features)
        return parts

    def share(self, cells: Tensor) -> Tensor:
        """Every so many cells, one row after another."""
        return cells[self.row :: self.rows]

    def features(self, of_all: Tensor) -> Tensor:
        """The numbers of this column's features."""
        return of_all[self.here]

    def within(self, prefix: int) -> int:
        """Features of this column before ``prefix``."""
        return min(max(prefix - self.here.start, 0), self.here.stop - self.here.start)

    def total(self, values: Tensor) -> Tensor:
        """Sum over rows."""
        return summed(values, self._cells)

    def mean(self, values: Tensor, *, of_codes: bool = False) -> Tensor:
        """Sum over rows (and columns) by the number of what was added: shares may differ by a cell."""
        sums = summed_over(torch.stack([values.sum(), values.new_tensor(float(values.numel()))]), self._cells)
        if of_codes:
            sums = self.over_features(sums)
        return sums[0] / sums[1].detach()

    def over_features(self, part: Tensor) -> Tensor:
        """Sum over columns."""
        return part if self.shards == 1 else summed_over(part, self._features)

    def to_features(self, shared: Tensor) -> Tensor:
        """As it is; derivatives are summed over columns."""
        return shared if self.shards == 1 else copied_to(shared, self._features)

    def keep_largest(self, codes: Tensor, k: int) -> Tensor:
        """The largest of the largest of each column: no other can be among them."""
        if self.shards == 1:
            return ALONE.keep_largest(codes, k)
        most = min(k, codes.shape[-1])
        values, indices = codes.topk(most, dim=-1, sorted=False)
        candidates = torch.cat(self._of_row(nn.functional.pad(values.detach(), (0, k - most))), dim=-1)
        # All columns choose alike, ties too, and each keeps what is its own.
        kept = torch.zeros_like(candidates).scatter(-1, candidates.topk(k, dim=-1, sorted=False).indices, 1.0)
        mine = kept[:, self.column * k : self.column * k + most]
        return torch.zeros_like(codes).scatter(-1, indices, values * mine)

    def least_of_largest(self, codes: Tensor, k: int, *, beyond: bool = False) -> Tensor:
        """By the digits of their bits, see :func:`~cellprism.sae.ranks.select.nth_largest`."""
        cells = int(self.total(torch.tensor(len(codes), device=codes.device)))
        count, numbers = k * cells, cells * self.width
        ends = (count, count + 1) if beyond and count < numbers else (min(count, numbers),)
        return torch.stack([nth_largest(codes, n, lambda counts: summed(counts, None)) for n in ends])

    def fired(self, codes: Tensor) -> Tensor:
        """Gathered over columns, then added up over rows."""
        own = ALONE.fired(codes).to(torch.uint8)
        everywhere = own if self.shards == 1 else torch.cat(self._of_row(own))
        return summed(everywhere.to(torch.int32), self._cells) > 0

    def add_gradients(self, model: nn.Module) -> None:
        """Sum over rows, parameter by parameter."""
        for parameter in model.parameters():
            # What none of a share's cells reached has no gradient there.
            own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = summed(own, self._cells)

    @torch.no_grad()
    def cut_gradients(self, model: nn.Module, most: float) -> None:
        """As ``torch.nn.utils.clip_grad_norm_`` of the whole model."""
        if self.shards == 1:
            ALONE.cut_gradients(model, most)
            return
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        squares = {name: grad.square().sum() for name, grad in gradients.items()}
        of_all = sum(square for name, square in squares.items() if name in _OF_ALL)
        parts = torch.stack([square for name, square in squares.items() if name not in _OF_ALL]).sum()
        norm = (summed(parts, self._features) + of_all).sqrt()
        for grad in gradients.values():
            grad.mul_((most / (norm + 1e-6)).clamp(max=1.0))

    def gather(self, tensors: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """From the columns of the first row to its first process, a tensor at a time."""
        if self.row:
            return None
        whole = {}
        for name, tensor in tensors.items():
            if self.shards > 1 and self._is_part(name, tensor):
                part = tensor.detach().contiguous()
                parts = [torch.empty_like(part) for _ in range(self.shards)] if self.first else None
                with reaching_all():
                    dist.gather(part, parts, dst=0, group=self._features)
                tensor = torch.cat([p.cpu() for p in parts]) if parts else part
            whole[name] = tensor
        return whole if self.first else None

    def scatter(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The rows of this column's features."""
        if self.shards == 1:
            return tensors
        return {name: t[self.here].clone() if self._is_part(name, t) else t for name, t in tensors.items()}

    def _is_part(self, name: str, tensor: Tensor) -> bool:
        """Whether this tensor of a trainer's state is of single features: a parameter, or a moment of one."""
        kind, _, rest = name.partition(".")
        parameter = rest.rpartition(".")[0] if kind == "adam" else rest
        return tensor.dim() > 0 and kind in ("sae", "best", "adam") and parameter in self._of_features
