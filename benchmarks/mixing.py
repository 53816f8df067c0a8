"""Scores of an embedding that several scripts share: clusters against known types, batches in neighbourhoods."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mixing"]


def mixing(Z: NDArray[Any], types: NDArray[Any], batch: NDArray[Any]) -> dict[str, float | None]:
    """scib-metrics of an embedding: agreement with the types (high is good), mixing of the batches (high is good)."""
    warnings.simplefilter("ignore")
    import scib_metrics as scib
    from scib_metrics.nearest_neighbors import pynndescent

    Z = np.asarray(Z, dtype=np.float32)
    types, batch = (np.unique(v, return_inverse=True)[1] for v in (types, batch))
    near = pynndescent(Z, n_neighbors=min(90, len(Z) // 3), random_state=0)
    clusters = scib.nmi_ari_cluster_labels_kmeans(Z, types)
    out = {
        "types_ari": clusters["ari"],
        "types_nmi": clusters["nmi"],
        "types_silhouette": scib.silhouette_label(Z, types),
        "types_clisi": scib.clisi_knn(near, types),
        "batch_ilisi": scib.ilisi_knn(near, batch),
        "batch_silhouette": scib.silhouette_batch(Z, types, batch),
        "batch_kbet": scib.kbet_per_label(near, batch, types) if len(Z) >= 1000 else None,
    }
    return {k: None if v is None else round(float(v), 3) for k, v in out.items()}
