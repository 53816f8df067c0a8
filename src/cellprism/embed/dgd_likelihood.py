r"""Negative-binomial log-likelihood of sparse counts from dense logits.

With share :math:`y = \mathrm{softmax}(l)`, mean :math:`m = s\,y` (s = the cell's total), dispersion r and count k,

.. math:: \log p = \log\Gamma(k+r) - \log\Gamma(r) - \log\Gamma(k+1) + k \log\frac{m}{r+m} + r \log\frac{r}{r+m}.

Only the last term differs from zero where k = 0, so the Gamma functions and their derivatives, which cost most, are
taken at the non-zero counts alone (about one in twenty), and the gradient is written out instead of traced.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

__all__ = ["Counts", "counts_batch", "nb_log_likelihood"]


class Counts(NamedTuple):
    """The non-zero counts of some cells in one modality."""

    flat: Tensor
    """(nnz,) position row * n_features + column."""
    column: Tensor
    """(nnz,)"""
    k: Tensor
    """(nnz,) float32."""
    total: Tensor
    """(cells, 1) library size."""
    base: Tensor
    """Sum of log Gamma(k + 1), which no parameter changes."""


def counts_batch(X: sparse.csr_array, device: torch.device) -> Counts:
    """Rows of a count matrix as tensors."""
    X = X.tocsr()
    rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
    column = torch.as_tensor(X.indices.astype(np.int64), device=device)
    flat = torch.as_tensor(rows * X.shape[1], device=device) + column
    k = torch.as_tensor(X.data.astype(np.float32), device=device)
    total = torch.as_tensor(np.asarray(X.sum(1), dtype=np.float32).reshape(-1, 1), device=device)
    return Counts(flat, column, k, total, torch.lgamma(k + 1).sum())


class _NegativeBinomial(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, log_r: Tensor, flat: Tensor, column: Tensor, k: Tensor, total: Tensor
    ) -> Tensor:
        """Log-likelihood of each cell without its constant, (cells,)."""
        share = torch.softmax(logits, 1)
        m = share * total
        r = log_r.exp() + 1
        ratio = m / r
        log1p = torch.log1p(ratio)
        out = -(log1p @ r)
        m_k, r_k = m.view(-1)[flat], r[column]
        # log(m) is taken from the logits' side of the softmax: a share may underflow to zero.
        log_m = torch.log(m_k.clamp_min(1e-30))
        at = torch.lgamma(k + r_k) - torch.lgamma(r_k) + k * (log_m - torch.log(r_k + m_k))
        rows = torch.div(flat, logits.shape[1], rounding_mode="floor")
        out.index_add_(0, rows, at)
        ctx.save_for_backward(share, ratio, log1p, r, flat, column, k, rows)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient by logits and log_r."""
        share, ratio, log1p, r, flat, column, k, rows = ctx.saved_tensors
        g = grads[0][:, None]
        # d/dm of the dense term is -r / (r + m) = -1 / (1 + ratio); d/dm of the others k / m - k / (r + m).
        part = ratio / (1 + ratio)  # m / (r + m)
        by_r = None
        if ctx.needs_input_grad[1]:
            digamma = torch.digamma(k + r[column]) - torch.digamma(r[column])
            own = digamma - k * (1 - part.view(-1)[flat]) / r[column]
            by_r = ((part - log1p) * g).sum(0)
            by_r.index_add_(0, column, own * g[rows, 0])
            by_r = by_r * (r - 1)
        by_log_m = part * r  # becomes m * d/dm, the gradient by log m
        by_log_m.neg_()
        by_log_m.view(-1)[flat] += k * (1 - part.view(-1)[flat])
        by_log_m -= share * by_log_m.sum(1, keepdim=True)
        return by_log_m.mul_(g), by_r, None, None, None, None


def nb_log_likelihood(logits: Tensor, log_r: Tensor, counts: Counts) -> Tensor:
    """Log-likelihood of each cell up to ``counts.base``, (cells,).

    Parameters
    ----------
    logits
        (cells, features).
    log_r
        (features,) ``log(dispersion - 1)``.
    counts
        From :func:`counts_batch`; subtract ``counts.base`` from the sum for the full log-likelihood.
    """
    out: Tensor = _NegativeBinomial.apply(logits, log_r, counts.flat, counts.column, counts.k, counts.total)  # type: ignore[no-untyped-call]
    return out
