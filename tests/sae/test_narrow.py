"""The compiled epochs on up to four dimensions against automatic differentiation."""

import numpy as np
import pytest
from sae.cases import embedding

from cellprism.sae import SAEConfig, fit
from cellprism.sae.steps.narrow.epoch import takes_narrow_epoch
from cellprism.sae.steps.shared.bar import bar_of

CASES = {
    "default": SAEConfig(40, "relu"),
    "free norms": SAEConfig(40, "relu", unit_norm=False),
    "no penalty": SAEConfig(40, "relu", l1=0.0),
    "vanilla": SAEConfig.paper("vanilla", 40, l1=0.1),
    "bricken": SAEConfig.paper("relu", 70, l1=0.1),
    "topk": SAEConfig(40, "topk", k=10),
    "topk, half": SAEConfig.paper("topk", 70, l1=0.1, k_percent=50),
    "topk, few": SAEConfig.paper("topk", 130, l1=0.1, k_percent=5),
    "topk, all": SAEConfig.paper("topk", 40, l1=0.1, k_percent=100),
    "topk, penalty by norm": SAEConfig(40, "topk", k=10, l1=0.1, unit_norm=False),
}


@pytest.mark.parametrize("d", [3, 4])
@pytest.mark.parametrize("name", CASES)
def test_training_is_the_dense_one(name: str, d: int) -> None:
    assert takes_narrow_epoch(CASES[name], d)
    X = embedding(631, d=d)  # the last batch holds an odd number of cells
    options = {"epochs": 6, "batch_size": 100, "max_grad_norm": 0.1, "holdout": 0.0}
    dense, narrow = (fit(X, CASES[name], kernel=kernel, **options) for kernel in ("dense", "auto"))
    for column in ("loss", "reconstruction", "penalty", "holdout_mse", "l0", "dead_share"):
        np.testing.assert_allclose(narrow.history[column], dense.history[column], rtol=1e-2, atol=1e-5, err_msg=column)
    for (n, a), b in zip(dense.sae.state_dict().items(), narrow.sae.state_dict().values(), strict=True):
        assert (a - b).abs().median() < 1e-3, n


@pytest.mark.parametrize("tail", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("w", [5, 64, 1000])
def test_the_bar_leaves_k(w: int, tail: float) -> None:
    rng = np.random.default_rng(w)
    for k in {1, 2, 1 + w // 10, w // 2, w}:
        a = rng.standard_normal(w).astype(np.float32)
        a = np.sign(a) * np.exp(tail * np.abs(a)) if tail else a
        sorted_down = np.sort(a)[::-1]
        for last in (0.0, 1e-8, 0.97, 1.0, 1.03, 1e8):  # of the k-th value, whatever the last epoch left
            bar = bar_of(a, w, k, np.float32(last * abs(sorted_down[k - 1])))
            assert (a > bar).sum() == min(k, (a > 0).sum())


def test_equal_values_stay_together() -> None:
    a = np.repeat(np.array([3, 2, 1], np.float32), 4)
    assert (a > bar_of(a, 12, 6, np.float32(0))).sum() in (4, 8)


def test_features_that_could_die_get_the_auxiliary_loss() -> None:
    """After so many silent passes the epochs are made step by step, with the loss that revives."""
    cfg = SAEConfig(60, "relu", start_active=0.001, dead_after=1, aux_weight=1.0)
    X = embedding(400, d=4)
    dense, auto = (fit(X, cfg, kernel=k, epochs=8, patience=None) for k in ("dense", "auto"))
    assert dense.history["auxiliary"].max() > 0
    np.testing.assert_allclose(auto.history["auxiliary"], dense.history["auxiliary"], rtol=0.05, atol=1e-4)


def test_what_the_narrow_epoch_knows() -> None:
    assert not takes_narrow_epoch(CASES["default"], 5)
    assert not takes_narrow_epoch(SAEConfig(400, "topk", k=2), 4)
    assert not takes_narrow_epoch(SAEConfig(8, "batchtopk", k=4), 4)
    assert not takes_narrow_epoch(SAEConfig(8, "relu", matryoshka=(4,)), 4)
