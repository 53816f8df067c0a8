"""Headline shares as they are told: each beside its nulls, with a plain word on whether it stands above them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["share_records", "verdict"]

NULL_NAMES = {
    "random": "random directions",
    "untrained": "untrained SAE",
    "permuted": "permuted cells",
    "shuffled": "SAE of the shuffled embedding",
    "random_sets": "random gene sets",
}


def share_records(shares: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of :attr:`Annotation.shares` as records ``{claim, observed, n, nulls, verdict}``.

    ``n`` is the number of features that could be tested; nulls are named in words, and left out where they do not apply
    to a claim.
    """
    table = shares.set_index("claim")
    counts = {str(k): float(v) for k, v in table.loc["testable features"].to_dict().items()}
    records = []
    for claim, shares_of in table.drop(index="testable features").T.to_dict().items():
        nulls = {str(k): float(v) for k, v in shares_of.items() if k != "observed" and pd.notna(v)}
        observed, n = float(shares_of["observed"]), counts["observed"]
        records.append(
            {
                "claim": str(claim),
                "observed": observed,
                "n": int(n),
                "nulls": {NULL_NAMES.get(k, k): v for k, v in nulls.items()},
                "verdict": verdict(observed, n, {NULL_NAMES.get(k, k): (v, counts[k]) for k, v in nulls.items()}),
            }
        )
    return records


def verdict(observed: float, n: float, nulls: dict[str, tuple[float, float]]) -> str:
    """Whether a share lies above its highest null by more than two standard errors of their difference.

    Parameters
    ----------
    observed, n
        Share and the features behind it.
    nulls
        The same of each null, by name.
    """
    if not nulls or not n:
        return ""
    name, (share, n_null) = max(nulls.items(), key=lambda item: item[1][0])
    # A share of 0 or 1 has no binomial error of its own: half a feature is added to each side (Agresti & Coull 1998).
    p, q = (observed * n + 1) / (n + 2), (share * n_null + 1) / (n_null + 2)
    error = np.sqrt(p * (1 - p) / (n + 2) + q * (1 - q) / (max(n_null, 0) + 2))
    if p - q > 2 * error:
        return "above every null"
    return f"not above {name}, which reach it as often: it says nothing for this dictionary"
