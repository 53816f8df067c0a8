"""The compiled epochs of small ReLU models against automatic differentiation."""

import numpy as np
import pytest
from sae.cases import embedding

from cellprism.sae import SAEConfig, fit
from cellprism.sae.steps.fused.epoch import takes_fused_epoch

CASES = {
    "default": SAEConfig(40, "relu"),
    "free norms": SAEConfig(40, "relu", unit_norm=False),
    "no penalty": SAEConfig(40, "relu", l1=0.0),
    "vanilla": SAEConfig.paper("vanilla", 40, l1=0.1),
    "bricken": SAEConfig.paper("relu", 40, l1=0.1),
}


@pytest.mark.parametrize("d", [5, 11])
@pytest.mark.parametrize("name", CASES)
def test_training_is_the_dense_one(name: str, d: int) -> None:
    X = embedding(640, d=d)
    options = {"epochs": 6, "batch_size": 100, "max_grad_norm": 0.1}
    dense, fused = (fit(X, CASES[name], kernel=kernel, **options) for kernel in ("dense", "auto"))
    for column in ("loss", "reconstruction", "penalty", "holdout_mse", "l0"):
        np.testing.assert_allclose(fused.history[column], dense.history[column], rtol=2e-2, atol=1e-6, err_msg=column)
    for (n, a), b in zip(dense.sae.state_dict().items(), fused.sae.state_dict().values(), strict=True):
        assert (a - b).abs().median() < 2e-3, n


def test_features_that_could_die_get_the_auxiliary_loss() -> None:
    """After so many silent passes the epochs are made step by step, with the loss that revives."""
    cfg = SAEConfig(60, "relu", start_active=0.001, dead_after=1, aux_weight=1.0)
    X = embedding(400, d=5)
    dense, auto = (fit(X, cfg, kernel=k, epochs=8, patience=None) for k in ("dense", "auto"))
    assert dense.history["auxiliary"].max() > 0
    np.testing.assert_allclose(auto.history["auxiliary"], dense.history["auxiliary"], rtol=0.05, atol=1e-4)


def test_what_the_fused_epoch_knows() -> None:
    assert takes_fused_epoch(CASES["default"], 20)
    assert not takes_fused_epoch(CASES["default"], 512)
    assert not takes_fused_epoch(SAEConfig(8, "topk", k=2), 4)
    assert not takes_fused_epoch(SAEConfig(8, "relu", matryoshka=(4,)), 4)
