"""The compiled epochs of topk and batchtopk models against automatic differentiation."""

import numpy as np
import pytest
import torch
from sae.cases import embedding

from cellprism.sae import SAEConfig, fit
from cellprism.sae.steps.coded import epoch as coded
from cellprism.sae.steps.coded.epoch import takes_coded_epoch

CASES = {
    "topk": SAEConfig(120, "topk", k=4),
    "topk, free norms": SAEConfig(120, "topk", k=4, unit_norm=False, pre_bias="none"),
    "topk, input bias": SAEConfig(120, "topk", k=4, pre_bias="free"),
    "topk, all of a narrow one": SAEConfig(10, "topk", k=10),
    "batchtopk": SAEConfig(120, "batchtopk", k=4),
    "batchtopk, matryoshka": SAEConfig(120, "batchtopk", k=4, matryoshka=(10, 40)),
    "topk, matryoshka": SAEConfig(120, "topk", k=4, matryoshka=(10, 40)),
}


@pytest.mark.parametrize("d", [4, 11])
@pytest.mark.parametrize("name", CASES)
def test_training_is_the_dense_one(name: str, d: int) -> None:
    X = embedding(640, d=d)
    options = {"epochs": 4, "batch_size": 100, "max_grad_norm": 0.1}
    dense, coded = (fit(X, CASES[name], kernel=kernel, **options) for kernel in ("dense", "auto"))
    for column in ("loss", "reconstruction", "holdout_mse", "l0"):
        np.testing.assert_allclose(coded.history[column], dense.history[column], rtol=2e-2, atol=1e-6, err_msg=column)
    for (n, a), b in zip(dense.sae.state_dict().items(), coded.sae.state_dict().values(), strict=True):
        assert (a - b).abs().median() < 2e-3, n


@pytest.mark.parametrize("name", ["topk", "batchtopk, matryoshka"])
def test_bits_do_not_depend_on_the_number_of_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coded, "_WORTH", 1)
    X = embedding(640, d=7)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(fit(X, CASES[name], epochs=3, batch_size=100).sae.state_dict())
    finally:
        torch.set_num_threads(before)
    for n, values in found[0].items():
        assert all(torch.equal(values, other[n]) for other in found[1:]), n


def test_features_that_could_die_get_the_auxiliary_loss() -> None:
    """After so many silent passes the epochs are made step by step, with the loss that revives."""
    cfg = SAEConfig(200, "topk", k=2, dead_after=1, aux_weight=1.0)
    X = embedding(400, d=4)
    dense, auto = (fit(X, cfg, kernel=k, epochs=6, patience=None) for k in ("dense", "auto"))
    assert dense.history["auxiliary"].max() > 0
    np.testing.assert_allclose(auto.history["auxiliary"], dense.history["auxiliary"], rtol=0.05, atol=1e-4)


def test_what_the_coded_epoch_knows() -> None:
    assert takes_coded_epoch(CASES["topk"], 20)
    assert not takes_coded_epoch(CASES["topk"], 512)
    assert not takes_coded_epoch(SAEConfig.paper("topk", 40, k_percent=10), 4)
    assert not takes_coded_epoch(SAEConfig(8, "relu"), 4)
