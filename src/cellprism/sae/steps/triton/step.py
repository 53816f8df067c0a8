"""A training step on a GPU: one dense product, then Triton kernels over the active codes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from cellprism.sae.activation import BatchTopK, TopK
from cellprism.sae.loss import LEAST_RESIDUAL
from cellprism.sae.model import SAE
from cellprism.sae.steps.dense import dense_errors
from cellprism.sae.steps.shared.adam import start_moments
from cellprism.sae.steps.triton import kernels
from cellprism.sae.steps.triton.deferred import DeferredResult
from cellprism.sae.steps.way import Stateless
from cellprism.sae.training import TrainingOptions

__all__ = ["Tiles", "TritonStep", "interpreted"]

_INFINITY = 0x7F800000  # its bits: the largest key but that of NaN


class Tiles(NamedTuple):
    """Sizes of the kernels' tiles, powers of two: they change the time and the rounding of sums, nothing else."""

    groups: int = 1_024
    """Pre-activations of a cell looked at together."""
    decode_chunk: int = 128
    """Dimensions of a decoder tile."""
    decode_numbers: int = 8_192
    """Most numbers of a decoder tile; more entries a cell than fit are decoded in two passes."""
    decode_warps: int = 8
    """Warps that share a decoder tile."""
    gradient_slots: int = 16
    """Entries of a feature taken together."""
    gradient_chunk: int = 128
    """Dimensions of a program of the gradients."""
    gradient_warps: int = 4
    """Warps of such a program."""


class _Codes(NamedTuple):
    """Entries: cell b owns ``start[b]:start[b + 1]``; a feature equal to the width is an empty place."""

    start: Tensor
    cell: Tensor
    feature: Tensor
    value: Tensor
    each: int
    """Entries of every cell; 0 where cells have different numbers."""


class _Weights(NamedTuple):
    """What is multiplied: the parameters, or their bfloat16 copies."""

    encoder: Tensor
    decoder: Tensor


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter (``TRITON_INTERPRET=1`` when they were imported), on any device."""
    return not isinstance(kernels.adam_flat, triton.JITFunction)


class TritonStep(Stateless):
    """Forward, backward and Adam of topk and batchtopk; parameters follow those of the dense step up to rounding.

    Only the encoder's product is dense, and its result is the only array of (cells, width). Entries are sorted by feature
    once, and each feature's gradients are sums over its entries in their order, without atomics: the same run gives the
    same bits. Adam is the dense one, moments of silent features decay as ever.

    Nothing in a step waits for the device but batchtopk's number of entries and, with the auxiliary loss, whether a
    feature is dead.

    Parameters
    ----------
    sae
        Changed in place, in float32.
    optimiser
        Adam over the SAE's parameters; its moments are used and changed.
    options
        ``max_grad_norm`` and ``betas`` are read.
    bf16
        Multiply bfloat16 copies of the weights, with sums in float32. Pre-activations, cells and residuals are bfloat16
        where they are read again; parameters, moments and gradients stay float32.
    tiles
        Sizes of the kernels' tiles.
    """

    def __init__(
        self,
        sae: SAE,
        optimiser: torch.optim.Adam,
        options: TrainingOptions,
        *,
        bf16: bool = False,
        tiles: Tiles | None = None,
    ) -> None:
        self.sae, self.optimiser, self.options, self.tiles = sae, optimiser, options, tiles or Tiles()
        self.low = torch.bfloat16 if bf16 else torch.float32
        self.shift = 16 if bf16 else 0
        self.k = sae.activation.k if isinstance(sae.activation, TopK | BatchTopK) else 0
        self.groups = min(max(self.tiles.groups, 4 * _power(self.k)), _power(sae.width))
        self.parameters = {name: p.detach() for name, p in sae.named_parameters()}
        # Sorting has one pass a byte, and 16 bits name 65,535 features and the empty place.
        self._key, self._least = (torch.int16, -(2**15)) if sae.width < 2**16 else (torch.int32, 0)
        self._bounds = torch.arange(self._least, self._least + sae.width + 1, device=sae.mean.device).to(self._key)
        self._copies: dict[str, Tensor] = {}
        self._versions: dict[str, int] = {}
        self._gradients = {name: torch.empty_like(p) for name, p in self.parameters.items()}
        start_moments(optimiser, sae.parameters())

    @torch.no_grad()
    def __call__(self, x: Tensor, dead: Tensor | None, p: float, lr: float) -> DeferredResult:
        """One step on a batch (cells, r); ``p`` is 1 for the objectives known here."""
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]  # kernels run on the current device
            return self._step(x, dead, lr)

    def errors(self, x: Tensor) -> tuple[float, float]:
        """Summed squared error of cells (cells, r) and their active codes, as in inference."""
        return dense_errors(self.sae, x)

    def _step(self, x: Tensor, dead: Tensor | None, lr: float) -> DeferredResult:
        sae, config = self.sae, self.sae.config
        (n, r), x = x.shape, x.contiguous()
        weights = _Weights(self._rounded("encoder"), self._rounded("decoder"))
        shift = -sae.decoder_bias if config.pre_bias == "tied" else sae.input_bias
        shifted = (x if shift is None else x + shift).to(self.low)
        pre = torch.addmm(self.parameters["encoder_bias"].to(self.low), shifted, weights.encoder.T)
        codes = self._batch_topk(pre) if isinstance(sae.activation, BatchTopK) else self._topk(pre, self.k)
        scale = x.new_full((1,), 2 / (n * r))
        residual, slope, squared = self._decode(x, codes, weights.decoder, self.parameters["decoder_bias"], scale)
        by_bias = residual.sum(dim=0, dtype=torch.float32) * scale
        losses = [squared.sum(dtype=torch.float64) / (n * r), torch.zeros((), dtype=torch.float64, device=x.device)]
        if config.aux_weight and dead is not None and bool(dead.any()):
            least = LEAST_RESIDUAL * x.square().mean(dtype=torch.float64)
            more, pushed, more_slope, more_scale, losses[1] = self._auxiliary(
                pre, residual, weights.decoder, dead, least
            )  # fmt: skip
            del pre
            cell, feature, value = (torch.cat(part) for part in zip(codes[1:4], more[1:4], strict=True))
            codes = _Codes(codes.start, cell, feature, value, each=0)
            residual, slope = torch.cat([residual, pushed]), torch.cat([slope, more_slope])
            scale = torch.cat([scale, more_scale])
        else:
            del pre
            scale = scale.repeat(2)
        first, fired, length = self._gradients_of(shifted, residual, slope, scale, codes)
        self._update(lr, by_bias, first, length)
        return DeferredResult(torch.stack(losses), fired)

    def _rounded(self, name: str) -> Tensor:
        """A parameter as it is multiplied; a copy is made anew where something else than this step changed it."""
        p = self.parameters[name]
        if self.low == p.dtype:
            return p
        if self._versions.get(name) != p._version:
            self._copies[name], self._versions[name] = p.to(self.low), p._version
        return self._copies[name]

    def _topk(self, pre: Tensor, k: int) -> _Codes:
        """The k largest positive pre-activations of each cell."""
        n, width = pre.shape
        device = pre.device
        groups, room = min(max(self.groups, 4 * _power(k)), _power(width)), _power(2 * k + 64)
        candidate = torch.empty((n, room), dtype=torch.int32, device=device)
        score, count = torch.empty((n, room), device=device), torch.empty(n, dtype=torch.int32, device=device)
        found, shape = (candidate, score, count), {"ROOM": room, "GROUPS": groups, "SHIFT": self.shift}
        _launch(kernels.candidates, n, _warps(groups), pre, *found, width, k, **shape)
        feature, value = torch.empty(n * k, dtype=torch.int32, device=device), torch.empty(n * k, device=device)
        shape["PLACES"] = _power(k)
        _launch(kernels.keep_largest, n, _warps(groups), pre, *found, feature, value, width, k, **shape)
        start = torch.arange(0, n * k + 1, k, device=device)
        cell = torch.arange(n, dtype=torch.int32, device=device).repeat_interleave(k, output_size=n * k)
        return _Codes(start, cell, feature, value, each=k)

    def _batch_topk(self, pre: Tensor) -> _Codes:
        """The k x cells largest positive pre-activations of the batch, and all that equal the least of them."""
        n, width = pre.shape
        wanted, device = min(self.k * n, n * width), pre.device
        warps, shape = _warps(self.groups), {"GROUPS": self.groups, "SHIFT": self.shift}
        count = torch.empty(n, dtype=torch.int32, device=device)
        low = torch.ones((), dtype=torch.int32, device=device)
        high = torch.full((), (_INFINITY >> self.shift) + 2, dtype=torch.int32, device=device)
        # The bar is found by halving, on the device: the host would wait 15 or 31 times.
        for _ in range(31 - self.shift):
            middle = low + (high - low) // 2
            _launch(kernels.count_above, n, warps, pre, middle, count, width, **shape)
            enough = count.sum() >= wanted
            low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
        _launch(kernels.count_above, n, warps, pre, low, count, width, **shape)
        start = torch.zeros(n + 1, dtype=torch.int64, device=device)
        torch.cumsum(count, 0, out=start[1:])
        least = (low << self.shift).view(torch.float32)
        if isinstance(self.sae.activation, BatchTopK):
            self.sae.activation.follow(torch.where(start[-1] >= wanted, least, 0.0))
        size = int(start[-1])
        feature, value = torch.empty(size, dtype=torch.int32, device=device), torch.empty(size, device=device)
        _launch(kernels.gather_above, n, warps, pre, low, start, feature, value, width, **shape)
        cell = torch.arange(n, dtype=torch.int32, device=device).repeat_interleave(count, output_size=size)
        return _Codes(start, cell, feature, value, each=0)

    def _decode(
        self, x: Tensor, codes: _Codes, decoder: Tensor, bias: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``codes @ decoder + bias - x``, the gradient by each code, and the squared length by cell."""
        (n, r), width, tiles = x.shape, self.sae.width, self.tiles
        chunk, most, warps = min(tiles.decode_chunk, _power(r)), tiles.decode_numbers, tiles.decode_warps
        residual, squared = torch.empty_like(x, dtype=self.low), torch.empty(n, device=x.device)
        slope = torch.empty_like(codes.value)
        slots = _power(codes.each)
        if codes.each and slots * 16 <= most:
            shape = {"SLOTS": slots, "CHUNK": max(16, min(chunk, most // slots))}
            _launch(
                kernels.decode_few, n, warps, x, codes.feature, codes.value, decoder, bias, scale, residual, slope,
                squared, r, codes.each, width, **shape,
            )  # fmt: skip
            return residual, slope, squared
        shape = {"SLOTS": max(16, min(64, most // chunk)), "CHUNK": chunk}
        entries = (codes.start, codes.feature, codes.value, decoder)
        _launch(kernels.decode, n, warps, x, *entries, bias, residual, squared, r, width, **shape)
        _launch(kernels.slopes, n, warps, residual, *entries, scale, slope, r, width, **shape)
        return residual, slope, squared

    def _auxiliary(
        self, pre: Tensor, residual: Tensor, decoder: Tensor, dead: Tensor, least: Tensor
    ) -> tuple[_Codes, Tensor, Tensor, Tensor, Tensor]:
        """Entries, residuals, slopes, scale and weighted value of :func:`cellprism.sae.loss.auxiliary_loss`."""
        config = self.sae.config
        n, r = residual.shape
        indices = dead.nonzero().squeeze(1)
        k = min(config.aux_k or max(1, r // 2), len(indices))
        codes = self._topk_of(pre, indices, k)
        codes = codes._replace(cell=codes.cell + n)  # their residuals follow those of the main loss
        size = residual.square().sum(dtype=torch.float64) / (n * r)
        weight = config.aux_weight / torch.maximum(size, least).clamp_min(1e-12)
        scale = (weight * (2 / (n * r))).float().reshape(1)
        nothing = torch.zeros(r, device=residual.device)
        pushed, slope, squared = self._decode(-residual.float(), codes, decoder, nothing, scale)
        value = torch.nan_to_num(weight * squared.sum(dtype=torch.float64) / (n * r), nan=0.0, posinf=0.0)
        return codes, pushed, slope, scale, value

    def _topk_of(self, pre: Tensor, indices: Tensor, k: int) -> _Codes:
        """The k largest of some features."""
        codes = self._topk(pre[:, indices], k)
        names = torch.cat([indices, indices.new_tensor([self.sae.width])]).int()  # the last for empty places
        return codes._replace(feature=names[codes.feature.long()])

    def _gradients_of(
        self, shifted: Tensor, residual: Tensor, slope: Tensor, scale: Tensor, codes: _Codes
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Fill the gradients; bounds of each feature's entries, who fired, and squared lengths by feature and chunk."""
        n, r = shifted.shape
        width, tiles, own = self.sae.width, self.tiles, self._gradients
        ranked, order = torch.sort((codes.feature + self._least).to(self._key), stable=True)
        first = torch.searchsorted(ranked, self._bounds)
        chunk = min(tiles.gradient_chunk, _power(r))
        chunks = -(-r // chunk)
        length = torch.empty((width, chunks), device=shifted.device)
        fired = torch.empty(width, dtype=torch.uint8, device=shifted.device)
        _launch(
            kernels.feature_gradients, (width, chunks), tiles.gradient_warps, shifted, residual, scale, order, codes.cell,
            codes.value, slope, first, self.parameters["decoder"], own["encoder"], own["decoder"], own["encoder_bias"],
            length, fired, n, r, PROJECT=self.sae.config.unit_norm, SLOTS=tiles.gradient_slots, CHUNK=chunk,
        )  # fmt: skip
        return first, fired.view(torch.bool), length

    def _update(self, lr: float, by_bias: Tensor, first: Tensor, length: Tensor) -> None:
        sae, own = self.sae, self._gradients
        own["decoder_bias"].copy_(by_bias)
        if sae.config.pre_bias != "none":
            through_input = self.parameters["encoder"].T @ own["encoder_bias"]
            if sae.config.pre_bias == "tied":
                own["decoder_bias"].sub_(through_input)
            else:
                own["input_bias"].copy_(through_input)
        limit = self.options.max_grad_norm
        clip = torch.ones(1, device=first.device)
        if limit is not None:
            # The kernel's lengths hold both matrices and the encoder's bias.
            total = length.sum(dtype=torch.float64)
            for name in ("decoder_bias", "input_bias"):
                if name in own:
                    total = total + own[name].square().sum()
            clip = (limit / (total.sqrt() + 1e-6)).clamp_max(1.0).float().reshape(1)
        for name, p in self.parameters.items():
            self._adam(name, p, lr, clip, first)

    def _adam(self, name: str, p: Tensor, lr: float, clip: Tensor, first: Tensor) -> None:
        state = self.optimiser.state[getattr(self.sae, name)]
        state["step"] += 1
        t, (beta1, beta2) = int(state["step"]), self.options.betas
        rule = (clip, beta1, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**t), 1 / math.sqrt(1 - beta2**t))
        arrays: tuple[Any, ...] = (p, self._gradients[name], state["exp_avg"], state["exp_avg_sq"])
        if p.ndim == 1:
            _launch(kernels.adam_flat, -(-len(p) // 1024), 4, *arrays, *rule, len(p), BLOCK=1024)
            return
        (width, r), copy, block = p.shape, self._copies.get(name), _power(p.shape[1])
        shape = {"UNIT": name == "decoder" and self.sae.config.unit_norm, "ROUND": copy is not None, "BLOCK": block}
        rounded = p if copy is None else copy
        _launch(kernels.adam_rows, width, _warps(block), *arrays, rounded, first, *rule, r, **shape)


def _launch(kernel: Any, grid: int | tuple[int, int], warps: int, *arguments: Any, **constants: Any) -> None:
    """Send a kernel, with multiplications and additions fused."""
    programs = grid if isinstance(grid, tuple) else (grid,)
    kernel[programs](*arguments, **constants, num_warps=warps, enable_fp_fusion=True)


def _power(n: int) -> int:
    """The next power of two."""
    return 1 << max(0, n - 1).bit_length()


def _warps(numbers: int) -> int:
    """Warps of a program that holds so many numbers: about eight a thread."""
    return max(1, min(16, numbers // 256))
