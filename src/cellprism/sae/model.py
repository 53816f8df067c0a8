"""The sparse autoencoder: one final class, with its scaling, its activation and its files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from cellprism.data.sparse import stacked
from cellprism.data.table import dimensions
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.sae.activation import TopK, make_activation
from cellprism.sae.config import SAEConfig
from cellprism.sae.folder import write_folder
from cellprism.sae.ranks.face import ALONE, Ranks
from cellprism.sae.scaling import AffineScaling
from cellprism.workers import connected, is_lazy, over

__all__ = ["SAE"]

_CHUNK_ELEMENTS = 2**24  # pre-activations held at a time when encoding: 64 MiB in float32


@final
class SAE(nn.Module):
    """Sparse autoencoder of an embedding.

    ``x' = (x - mean) @ forward``; ``codes = activation((x' - b) @ W.T + c)``; ``x_hat = (codes @ D + b) @ backward +
    mean``. Raw embeddings go in and come out.

    Parameters
    ----------
    config
        Architecture and objective.
    scaling
        Centring and scaling of the embedding, from :func:`cellprism.sae.scaling.fit_scaling`.
    generator
        Source of the random start; None = zeros, to be filled from a file.

    Examples
    --------
    >>> activations = sae.encode(X)  # (cells, width), sparse
    >>> sae.decode(activations).shape == X.shape
    True
    >>> sae.save("my_sae")
    >>> prism.load("my_sae").width
    16
    """

    mean: Tensor
    forward_map: Tensor
    backward_map: Tensor
    ranks: Ranks = ALONE
    """Processes that train it; with features spread over them, this one has the rows of its own."""

    def __init__(self, config: SAEConfig, scaling: AffineScaling, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(scaling.mean))
        self.register_buffer("forward_map", torch.tensor(scaling.forward))
        self.register_buffer("backward_map", torch.tensor(scaling.backward))
        r = self.forward_map.shape[1]
        self.encoder = nn.Parameter(torch.zeros(config.width, r))
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.decoder = nn.Parameter(torch.zeros(config.width, r))
        self.decoder_bias = nn.Parameter(torch.zeros(r))
        self.input_bias = nn.Parameter(torch.zeros(r)) if config.pre_bias == "free" else None
        self.activation = make_activation(config, r)
        if generator is not None:
            self._start(generator)

    def __repr__(self) -> str:
        k = f", k {self.config.k}" if self.config.k is not None else ""
        return f"SAE({self.width:,} features of {self.d} dimensions, {self.config.activation}{k})"

    @property
    def scaling(self) -> AffineScaling:
        """Centring and scaling of the embedding, as it was made with."""
        return AffineScaling(*(t.cpu().numpy() for t in (self.mean, self.forward_map, self.backward_map)))

    @property
    def width(self) -> int:
        """Number of features."""
        return self.config.width

    @property
    def d(self) -> int:
        """Dimension of the raw embedding."""
        return int(self.mean.shape[0])

    @torch.no_grad()
    def _start(self, generator: torch.Generator) -> None:
        def uniform(p: Tensor, fan_in: int) -> None:
            p.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)

        r = self.encoder.shape[1]
        if self.config.init == "linear":
            uniform(self.encoder, r)
            uniform(self.decoder, self.width)
        else:
            self.decoder.normal_(generator=generator)
            self.decoder.div_(self.decoder.norm(dim=1, keepdim=True))
            self.encoder.copy_(self.decoder)
        if self.config.bias_init == "linear":
            uniform(self.encoder_bias, self.width)
            uniform(self.decoder_bias, r)

    def pre_activations(self, x: Tensor) -> Tensor:
        """(cells, r) scaled embedding -> (cells, width)."""
        if self.config.pre_bias == "tied":
            x = x - self.ranks.to_features(self.decoder_bias)
        elif self.input_bias is not None:
            x = x + self.ranks.to_features(self.input_bias)
        return nn.functional.linear(x, self.encoder, self.encoder_bias)

    @numbers_checked
    def reconstruct(self, codes: Tensor, prefix: int | None = None) -> Tensor:
        """(cells, width) codes -> (cells, r) scaled embedding, from the first ``prefix`` features."""
        if prefix is not None and prefix < self.width:
            first = self.ranks.within(prefix)
            return self.ranks.over_features(codes[:, :first] @ self.decoder[:first]) + self.decoder_bias
        return self.ranks.over_features(codes @ self.decoder) + self.decoder_bias

    def scale(self, x: Tensor) -> Tensor:
        """(cells, d) raw -> (cells, r) scaled."""
        return (x - self.mean) @ self.forward_map

    def unscale(self, x: Tensor) -> Tensor:
        """(cells, r) scaled -> (cells, d) raw."""
        return x @ self.backward_map + self.mean

    @torch.no_grad()
    def encode(self, X: ArrayLike) -> sp.csr_array:
        """Sparse codes of raw embeddings.

        Parameters
        ----------
        X
            (cells, d) array or memory map, or an array of Dask: of that a block at a time is in memory. Where a
            ``distributed.Client`` is active, its workers encode the blocks.

        Returns
        -------
        scipy.sparse.csr_array
            (cells, width), float32, non-negative, sorted, without explicit zeros.

        Raises
        ------
        InputError
            If X is not two-dimensional, has another d than the SAE, or holds no finite real numbers.
        """
        X = self._checked(dimensions(X), self.d, "embedding dimensions")
        rows = self._rows_at_once
        client = connected() if len(X) > rows or is_lazy(X) else None
        if client is None:
            return stacked(self.encode_blocks(X), self.width)
        return stacked(over(client, _encode_piece, [X[i : i + rows] for i in range(0, len(X), rows)], self), self.width)

    def encode_blocks(self, X: ArrayLike) -> Iterator[sp.csr_array]:
        """The codes of :meth:`encode` some cells at a time, in order: what is written as it comes is never held whole.

        Parameters
        ----------
        X
            (cells, d) array or memory map.

        Yields
        ------
        scipy.sparse.csr_array
            (some cells, width).

        Raises
        ------
        InputError
            As :meth:`encode`, when the cells that are wrong are reached.

        Examples
        --------
        >>> sum(block.nnz for block in sae.encode_blocks(X)) == sae.encode(X).nnz
        True
        """
        X, rows = self._checked(X, self.d, "embedding dimensions"), self._rows_at_once
        for start in range(0, len(X), rows):
            yield self._encode_block(X[start : start + rows])

    @property
    def _rows_at_once(self) -> int:
        return max(1, _CHUNK_ELEMENTS // self.width)

    @torch.no_grad()
    def _encode_block(self, block: NDArray[Any]) -> sp.csr_array:
        x = torch.as_tensor(np.array(block, dtype=np.float32), device=self.mean.device)
        if not bool(torch.isfinite(x).all()):
            raise InputError(
                "an embedding must be finite",
                f"{int((~torch.isfinite(x)).sum())} NaN or infinite values",
                "drop those cells",
            )
        pre = self.pre_activations(self.scale(x))
        if not isinstance(self.activation, TopK):
            return sp.csr_array(self.activation(pre).cpu().numpy(), dtype=np.float32)
        # The few that stay go straight into sparse form: a dense array of codes would cost more than finding them.
        values, indices = torch.relu(pre).topk(self.activation.k, dim=-1, sorted=False)
        indices, order = indices.sort(dim=-1)
        values = values.gather(-1, order)
        kept = values > 0
        indptr = np.concatenate([[0], np.cumsum(kept.sum(dim=1).cpu().numpy())])
        return sp.csr_array((values[kept].cpu().numpy(), indices[kept].cpu().numpy(), indptr), shape=tuple(pre.shape))

    @torch.no_grad()
    def decode(self, codes: Any) -> NDArray[np.float32]:
        """Raw embeddings from codes.

        Parameters
        ----------
        codes
            (cells, width), sparse or dense.

        Returns
        -------
        numpy.ndarray
            (cells, d), float32.

        Raises
        ------
        InputError
            If codes is not two-dimensional, has another width than the SAE, or holds no finite real numbers.
        """
        if not sp.issparse(codes):
            codes = self._checked(codes, self.width, "features")
        elif codes.shape[1] != self.width:
            raise self._mismatch(codes.shape, self.width, "features")
        held = codes.data if sp.issparse(codes) else codes
        if held.dtype.kind not in "fiub" or not np.isfinite(held).all():
            raise InputError("codes are finite real numbers", f"others, of {held.dtype}", "encode the cells anew")
        decoder = self.decoder.cpu().numpy()
        scaled = np.asarray(codes @ decoder, dtype=np.float32) + self.decoder_bias.cpu().numpy()
        return np.asarray(
            self.unscale(torch.as_tensor(scaled, device=self.mean.device)).cpu().numpy(), dtype=np.float32
        )

    @torch.no_grad()
    def decoder_directions(self) -> NDArray[np.float32]:
        """(width, d) change of the raw embedding when a feature rises by 1."""
        return np.asarray((self.decoder @ self.backward_map).cpu().numpy(), dtype=np.float32)

    def save(self, path: str | Path) -> None:
        """Write ``config.json`` and ``sae.safetensors`` into the folder ``path``; see :mod:`cellprism.sae.folder`."""
        write_folder(Path(path), self.config.to_dict(), self.d, self.state_dict())

    @staticmethod
    def _mismatch(shape: tuple[int, ...], expected: int, what: str) -> InputError:
        return InputError(
            f"this SAE takes arrays (cells, {expected} {what})", f"shape {shape}", "give the array it was made for"
        )

    def _checked(self, values: Any, expected: int, what: str) -> NDArray[Any]:
        array = values if isinstance(values, np.ndarray) or is_lazy(values) else np.asarray(values)
        if array.ndim != 2 or array.shape[1] != expected:
            raise self._mismatch(array.shape, expected, what)
        if array.dtype.kind not in "fiub" or (isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array)):
            raise InputError(
                "an SAE takes real numbers without gaps",
                f"{'masked values' if array.dtype.kind in 'fiub' else array.dtype}",
                "give an array of float32",
            )
        return np.asarray(array) if isinstance(array, np.ma.MaskedArray) else array


def _encode_piece(piece: NDArray[Any], sae: SAE) -> sp.csr_array:
    """Codes of one block of cells, on a worker."""
    return sae.encode(piece)
