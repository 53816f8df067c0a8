"""The features of an SAE that most of its siblings found too, as an SAE of their own."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cellprism.data.checks import check_embedding
from cellprism.errors import InputError
from cellprism.numeric import numbers_checked
from cellprism.sae.config import SAEConfig
from cellprism.sae.correlation import code_correlation
from cellprism.sae.fit import Fit
from cellprism.sae.metrics import describe
from cellprism.sae.model import SAE

__all__ = ["Consensus", "agreed", "check_consensus", "consensus"]

_SHARED = {"mean", "forward_map", "backward_map", "decoder_bias", "input_bias"}  # a row a dimension, not a feature


class Consensus(NamedTuple):
    """What several seeds agree on."""

    sae: SAE
    """The first SAE without the features that do not return; each kept feature fires as before."""
    table: pd.DataFrame
    """A row a kept feature (its index in ``sae``): ``source`` (its index before), ``returns`` (share of the siblings),
    ``correlation`` (mean over siblings of the best match)."""


@numbers_checked
def consensus(fit: Fit, X: NDArray[Any], *, returned: float = 0.9, share: float = 0.5) -> Consensus:
    """Keep the features that return in most seeds.

    Parameters
    ----------
    fit
        From :func:`cellprism.fit` with ``seeds`` of at least 2.
    X
        (cells, d), the embedding that was fitted; its held-out cells are used, or all where there are none.
    returned
        A feature returns in a sibling where the two are each other's best match with at least this correlation.
    share
        A feature is kept where it returns in more than this share of the siblings.

    Returns
    -------
    Consensus
        The mean contribution of the features left out is added to the decoder's bias.

    Raises
    ------
    InputError
        If the fit has one seed, is a topk (whose features compete for places, so that leaving some out changes the
        others), or nothing returns.

    Examples
    --------
    >>> fitted = prism.fit(X, prism.SAEConfig(width=16, activation="batchtopk", k=3), seeds=3, epochs=40)
    >>> kept = prism.consensus(fitted, X, returned=0.5)
    >>> kept.sae.width == len(kept.table)
    True
    """
    check_consensus(1 + len(fit.siblings), fit.sae.config)
    X = check_embedding(X)
    cells = X[fit.holdout] if len(fit.holdout) else X
    codes = fit.sae.encode(cells)
    best, back = np.zeros((2, len(fit.siblings), fit.sae.width))
    for i, sibling in enumerate(fit.siblings):
        r = code_correlation(codes, sibling.encode(cells)).toarray()
        best[i], partner = r.max(axis=1), r.argmax(axis=1)
        back[i] = r.argmax(axis=0)[partner] == np.arange(len(r))
    returns = ((best >= returned) & (back > 0)).mean(axis=0)
    kept = np.flatnonzero(returns > share)
    if not len(kept):
        raise InputError(
            "some feature must return in most seeds",
            f"none of {fit.sae.width} at r >= {returned}",
            "train longer (`epochs=`), leave the consensus out, or lower `returned=` in Python",
        )
    table = pd.DataFrame(
        {"source": kept, "returns": returns[kept], "correlation": best.mean(axis=0)[kept]},
        index=pd.RangeIndex(len(kept), name="feature"),
    )
    return Consensus(_narrowed(fit.sae, kept, np.asarray(codes.mean(axis=0)).ravel()), table)


def check_consensus(seeds: int, config: SAEConfig | None) -> None:
    """Refuse, before anything is trained, what has no consensus."""
    if seeds < 2:
        raise InputError("a consensus needs SAEs of several seeds", "one seed", "fit with `seeds=3`")
    if config is not None and config.activation == "topk":
        raise InputError(
            "a consensus needs features that fire on their own", "activation='topk'", "use batchtopk or jumprelu"
        )


def agreed(fit: Fit, X: NDArray[Any]) -> Fit:
    """The fit with its consensus in place of its first SAE, measured anew, and the consensus' table beside it."""
    found = consensus(fit, X)
    metrics = dict(describe(found.sae, X, rows=fit.holdout)._asdict())
    # The metrics of the SAE that it was drawn from say what it costs.
    options = fit.options | {"before_consensus": fit.metrics}
    return dataclasses.replace(fit, sae=found.sae, metrics=metrics, consensus=found.table, options=options)


@torch.no_grad()
def _narrowed(sae: SAE, kept: NDArray[np.intp], mean: NDArray[np.floating]) -> SAE:
    config = sae.config
    k = None if config.k is None else min(config.k, len(kept))
    prefixes = sorted({int((kept < m).sum()) for m in config.matryoshka} - {0})
    before = config.width - config.guided
    guided = int((kept >= before).sum())
    kinds = int((kept >= before - config.kinds).sum()) - guided
    narrow = dataclasses.replace(config, width=len(kept), k=k, matryoshka=tuple(prefixes), kinds=kinds, guided=guided)
    state = sae.state_dict()
    rows = torch.as_tensor(kept)
    dropped = torch.as_tensor(mean, dtype=torch.float32)
    dropped[rows] = 0
    shift = dropped @ state["decoder"]
    if config.pre_bias == "tied":  # the encoder takes the decoder's bias off: keep its pre-activations as they were
        state["encoder_bias"] = state["encoder_bias"] + state["encoder"] @ shift
    state["decoder_bias"] = state["decoder_bias"] + shift
    per_feature = {n for n, v in state.items() if v.ndim and len(v) == sae.width and n not in _SHARED}
    result = SAE(narrow, sae.scaling)
    result.load_state_dict({n: v[rows] if n in per_feature else v for n, v in state.items()})
    return result.eval()
