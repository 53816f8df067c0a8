"""Cells whose programs are known."""

import numpy as np


def world(programs=10, kinds=20, cells=3_000, d=10, noise=0.0, seed=0):
    """Cells of several kinds, each with its own programs on; Poisson activities, a dense mixing."""
    rng = np.random.default_rng(seed)
    kind_program = rng.random((kinds, programs)) < 0.35
    codes = (
        rng.poisson(1 + 0.4 * np.arange(programs), (cells, programs)) * kind_program[rng.integers(kinds, size=cells)]
    )
    X = codes @ rng.normal(size=(programs, d)) + noise * rng.normal(size=(cells, d))
    return X.astype(np.float32), codes.astype(float)


def best_correlation(codes, truth):
    codes = codes.toarray() if hasattr(codes, "toarray") else codes
    codes = codes[:, codes.std(axis=0) > 0]
    return np.abs(np.corrcoef(codes.T, truth.T)[: codes.shape[1], codes.shape[1] :]).max(axis=0)
