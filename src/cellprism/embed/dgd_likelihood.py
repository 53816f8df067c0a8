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

__all__ = ["Counts", "constant", "counts_batch", "nb_log_likelihood"]


class Counts(NamedTuple):
    """The non-zero counts of some cells in one modality."""

    flat: Tensor
    """(nnz,) position row * n_features + column."""
    row: Tensor
    """(nnz,) row of each."""
    column: Tensor
    """(nnz,) feature of each."""
    k: Tensor
    """(nnz,) float32."""
    total: Tensor
    """(cells, 1) library size."""


def counts_batch(X: sparse.csr_array, device: torch.device) -> Counts:
    """Rows of a count matrix as tensors."""
    X = X.tocsr()
    row = torch.as_tensor(np.repeat(np.arange(X.shape[0]), np.diff(X.indptr)), device=device)
    column = torch.as_tensor(X.indices.astype(np.int64), device=device)
    k = torch.as_tensor(X.data.astype(np.float32), device=device)
    total = torch.as_tensor(np.asarray(X.sum(1), dtype=np.float32).reshape(-1, 1), device=device)
    return Counts(row * X.shape[1] + column, row, column, k, total)


class _NegativeBinomial(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        log_r: Tensor,
        flat: Tensor,
        row: Tensor,
        column: Tensor,
        k: Tensor,
        total: Tensor,
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
        at = torch.lgamma(k + r_k) - torch.lgamma(r)[column] + k * (log_m - torch.log(r_k + m_k))
        out += torch.bincount(row, at, minlength=len(logits))  # several times faster than index_add_ on a CPU
        ctx.save_for_backward(share, ratio, log1p, r, r_k, flat, row, column, k)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient by logits and log_r."""
        share, ratio, log1p, r, r_k, flat, row, column, k = ctx.saved_tensors
        g = grads[0][:, None]
        # d/dm of the dense term is -r / (r + m) = -1 / (1 + ratio); d/dm of the others k / m - k / (r + m).
        part = ratio / (1 + ratio)  # m / (r + m)
        rest_k = 1 - part.view(-1)[flat]
        by_r = None
        if ctx.needs_input_grad[1]:
            own = torch.digamma(k + r_k) - torch.digamma(r)[column] - k * rest_k / r_k
            # At one weight for all cells, the common case, rows need not be weighted one by one.
            same = bool((g == g[0]).all())
            by_r = (part - log1p).sum(0) * g[0] if same else ((part - log1p) * g).sum(0)
            by_r += torch.bincount(column, own * (g[0] if same else g[row, 0]), minlength=len(r))
            by_r = by_r * (r - 1)
        by_log_m = part.mul_(-r)  # becomes m * d/dm, the gradient by log m
        by_log_m.view(-1)[flat] += k * rest_k
        by_log_m -= share * by_log_m.sum(1, keepdim=True)
        return by_log_m.mul_(g), by_r, None, None, None, None, None


def nb_log_likelihood(logits: Tensor, log_r: Tensor, counts: Counts) -> Tensor:
    """Log-likelihood of each cell, (cells,), without ``log Gamma(k + 1)``, which no parameter changes.

    Parameters
    ----------
    logits
        (cells, features).
    log_r
        (features,) ``log(dispersion - 1)``.
    counts
        From :func:`counts_batch`.
    """
    out: Tensor = _NegativeBinomial.apply(logits, log_r, *counts)  # type: ignore[no-untyped-call]
    return out


def constant(counts: Counts, n: int) -> Tensor:
    """What :func:`nb_log_likelihood` leaves out, to be added for the full log-likelihood, (n cells,)."""
    return -torch.bincount(counts.row, torch.lgamma(counts.k + 1), minlength=n)
