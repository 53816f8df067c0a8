from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import sparse


@dataclass
class TiedDictionary:
    """Codes that are exact by construction: feature f adds ``codes[:, f] * directions[f]`` to the embedding."""

    codes: sparse.csr_array
    directions: np.ndarray
    offset: np.ndarray

    def encode(self, X: Any) -> sparse.csr_array:
        assert len(X) == self.codes.shape[0]
        return self.codes

    def decode(self, codes: Any) -> np.ndarray:
        return np.asarray(codes @ self.directions + self.offset, dtype=np.float32)


class LogLinear:
    """Decodes to ``library * softmax(Z @ W + b)``, so every log ratio is known by hand."""

    name = "loglinear"
    modalities = ("rna",)

    def __init__(self, W: np.ndarray, b: np.ndarray, library: float = 1e4) -> None:
        self.W, self.b, self.library = W, b, library
        self.genes = {"rna": [f"g{i}" for i in range(W.shape[1])]}

    def encode(self, adata: Any) -> np.ndarray:
        raise NotImplementedError

    def decode(self, Z: np.ndarray, adata: Any = None) -> dict[str, np.ndarray]:
        logits = Z @ self.W + self.b
        p = np.exp(logits - logits.max(1, keepdims=True))
        return {"rna": (self.library * p / p.sum(1, keepdims=True)).astype(np.float32)}

    def save(self, path: Any) -> None:
        raise NotImplementedError


@dataclass
class Scene:
    sae: TiedDictionary
    model: LogLinear
    Z: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="session")
def scene() -> Scene:
    """300 cells, 8 dimensions, 12 features (the last one dead); feature 0 drives genes g0..g4 and label "b"."""
    rng = np.random.default_rng(0)
    n, d, width, g = 300, 8, 12, 60
    labels = np.repeat(["a", "b", "c"], n // 3)
    dense = rng.gamma(2.0, 0.5, (n, width)) * (rng.random((n, width)) < 0.3)
    dense[:, 0] = (labels == "b") * rng.uniform(1, 3, n)
    dense[:, -1] = 0
    directions = rng.standard_normal((width, d))
    directions[1:, 0] = 0
    directions[0] = np.eye(d)[0] * 2
    codes = sparse.csr_array(dense.astype(np.float32))
    offset = rng.standard_normal(d)
    Z = dense @ directions + offset + 0.1 * rng.standard_normal((n, d))
    W = 0.2 * rng.standard_normal((d, g))
    W[0] = 0
    W[0, :5] = 0.5
    return Scene(
        TiedDictionary(codes, directions, offset), LogLinear(W, rng.standard_normal(g)), Z.astype(np.float32), labels
    )
