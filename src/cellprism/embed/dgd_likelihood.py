r"""Negative-binomial log-likelihood of sparse counts from dense logits.

With share :math:`y = \mathrm{softmax}(l)`, mean :math:`m = s\,y` (s = the cell's total), dispersion r and count k,

.. math:: \log p = \log\Gamma(k+r) - \log\Gamma(r) - \log\Gamma(k+1) + k \log\frac{m}{r+m} + r \log\frac{r}{r+m}.

Only the last term differs from zero where k = 0, so the Gamma functions and their derivatives are taken at the non-zero
counts alone (about one in twenty). The rest is bound by memory, not arithmetic, so the gradient is written out, made
together with the value, and both in blocks of rows that stay in the processor's cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

__all__ = ["Counts", "constant", "counts_batch", "digamma", "nb_log_likelihood"]

BLOCK = 2**16
"""Values worked on at a time on a CPU (256 KiB each of four arrays); an accelerator takes all at once."""


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


def digamma(x: Tensor) -> Tensor:
    """Derivative of log Gamma for x >= 1, to 1e-6: five steps up and the asymptotic series.

    ``torch.digamma`` is a scalar loop on a CPU, and was the dearest single step of the likelihood.
    """
    shift = torch.zeros_like(x)
    for _ in range(5):
        shift += x.reciprocal()
        x = x + 1
    inverse = x.reciprocal()
    square = inverse * inverse
    return torch.log(x) - 0.5 * inverse - square * (1 / 12 - square * (1 / 120 - square / 252)) - shift


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
        r = log_r.exp() + 1
        slope = torch.softmax(logits, 1)  # becomes minus the gradient by the logits
        # index_select is several times faster than r[column] on a CPU.
        r_k = r.index_select(0, column)
        m_k = slope.view(-1).index_select(0, flat) * total.view(-1).index_select(0, row)
        sum_k = r_k + m_k
        # A share may underflow to zero.
        at = (
            torch.lgamma(k + r_k)
            - torch.lgamma(r).index_select(0, column)
            + k * torch.log(m_k.clamp_min(1e-30) / sum_k)
        )
        out = torch.bincount(row, at, minlength=len(logits))  # several times faster than index_add_ on a CPU
        pull = k * (r_k / sum_k)
        pulls = torch.bincount(row, pull, minlength=len(logits))[:, None]
        step = max(1, BLOCK // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
        by_r = torch.zeros_like(r)
        for begin in range(0, len(logits), step):
            rows = slice(begin, begin + step)
            share = slope[rows]
            ratio = (share * total[rows]).div_(r)
            log1p = torch.log1p(ratio)
            out[rows] -= log1p @ r
            part = ratio.div_(ratio + 1)  # m / (r + m)
            by_r += log1p.neg_().add_(part).sum(0)
            # By log m: -r part at every feature and the pull at the non-zero counts; the softmax takes away its mean.
            share.mul_(pulls[rows] - (part @ r)[:, None]).add_(part.mul_(r))
        entries = slope.view(-1)
        entries.index_put_((flat,), entries.index_select(0, flat) - pull)
        if ctx.needs_input_grad[1]:
            own = digamma(k + r_k) - digamma(r).index_select(0, column) - pull / r_k
            by_r += torch.bincount(column, own, minlength=len(r))
            by_r *= r - 1
        ctx.save_for_backward(slope, by_r, logits, log_r, row, column, k, r_k, pull, total)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradient by logits and log_r."""
        slope, by_r, *inputs = ctx.saved_tensors
        g = grads[0]
        nothing = (None,) * 5
        if bool((g == g[0]).all()):  # one weight for all cells, as in training
            # A loss is minus the likelihood: what was kept is its gradient as it stands.
            by_logits = slope if bool(g[0] == -1) else slope * -g[0]
            return (by_logits, by_r * g[0] if ctx.needs_input_grad[1] else None, *nothing)
        by_log_r = None
        if ctx.needs_input_grad[1]:  # the kept sum over cells is unweighted: sum again, a weight a cell
            logits, log_r, row, column, k, r_k, pull, total = inputs
            r = log_r.exp() + 1
            ratio = torch.softmax(logits, 1) * total / r
            by_log_r = g @ (ratio / (1 + ratio) - torch.log1p(ratio))
            own = (digamma(k + r_k) - digamma(r)[column] - pull / r_k) * g[row]
            by_log_r += torch.bincount(column, own, minlength=len(r))
            by_log_r *= r - 1
        return (slope * -g[:, None], by_log_r, *nothing)


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
