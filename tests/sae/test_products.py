"""Steps by matrix products against automatic differentiation."""

import numpy as np
import pytest
import torch
from sae.cases import embedding

from cellprism.sae import SAE, SAEConfig, fit
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.steps.sparse.products import ProductStep
from cellprism.sae.steps.sparse.step import SparseStep
from cellprism.sae.training import TrainingOptions

D = 40
CASES = {
    "relu, dense at the start": SAEConfig(90, "relu", start_active=None),
    "relu, free norms": SAEConfig(90, "relu", unit_norm=False, start_active=None),
    "vanilla": SAEConfig.paper("vanilla", 90, l1=0.1),
    "bricken": SAEConfig.paper("relu", 90, l1=0.1),
    "topk, half": SAEConfig.paper("topk", 90, l1=0.1, k_percent=50),
    "relu, prefixes": SAEConfig(90, "relu", matryoshka=(20, 50), start_active=None),
    "topk, half, prefix": SAEConfig.paper("topk", 90, l1=0.1, k_percent=50, matryoshka=(30,)),
    "topk, all": SAEConfig.paper("topk", 90, l1=0.1, k_percent=100),
}


@pytest.mark.parametrize("name", CASES)
def test_training_is_the_dense_one(name: str) -> None:
    X = embedding(500, d=D)
    options = {"epochs": 5, "batch_size": 90, "max_grad_norm": 0.1}
    dense, quick = (fit(X, CASES[name], kernel=kernel, **options) for kernel in ("dense", "auto"))
    for column in ("loss", "reconstruction", "penalty", "holdout_mse", "l0", "dead_share"):
        np.testing.assert_allclose(quick.history[column], dense.history[column], rtol=1e-2, atol=1e-5, err_msg=column)
    for (n, a), b in zip(dense.sae.state_dict().items(), quick.sae.state_dict().values(), strict=True):
        assert (a - b).abs().median() < 1e-3, n


def test_jumprelu_with_a_large_k_keeps_its_thresholds() -> None:
    X = embedding(500, d=D)
    options = {"epochs": 5, "batch_size": 90}
    dense, auto = (fit(X, SAEConfig(64, "jumprelu", k=16), kernel=kernel, **options) for kernel in ("dense", "auto"))
    assert dense.history["penalty"].iloc[0] > 0
    for column in ("loss", "penalty", "l0"):
        np.testing.assert_allclose(auto.history[column], dense.history[column], rtol=1e-2, err_msg=column)


def test_dense_codes_with_dead_features_take_the_dense_step() -> None:
    cfg = SAEConfig(90, "relu", start_active=None)
    X = torch.as_tensor(embedding(300, d=D))
    models = [SAE(cfg, fit_scaling(X.numpy(), cfg.scaling), torch.Generator().manual_seed(0)) for _ in range(2)]
    dead = torch.arange(90) < 9
    for kind, sae in zip((DenseStep, ProductStep), models, strict=True):
        kind(sae, torch.optim.Adam(sae.parameters()), TrainingOptions())(sae.scale(X), dead, 1.0, 1e-3)
    for p, q in zip(*(sae.parameters() for sae in models), strict=True):
        assert torch.equal(p, q)


def test_sparse_codes_are_followed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once few codes are active the sparse step takes over."""
    followed = []
    original = SparseStep.__call__
    monkeypatch.setattr(SparseStep, "__call__", lambda *a: followed.append(0) or original(*a))
    X = embedding(300, d=D)
    fit(X, SAEConfig.paper("vanilla", 90), epochs=2, batch_size=90)
    assert not followed  # half of all codes
    fit(X, SAEConfig(90, "relu", start_active=0.02), epochs=2, batch_size=90)
    assert len(followed) == 5  # all but the first of three a pass
