import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding

from cellprism.errors import InputError
from cellprism.sae import SAE, Fit, SAEConfig, fit, fit_many


def parameters(sae: SAE) -> np.ndarray:
    return np.concatenate([t.detach().numpy().ravel() for t in sae.state_dict().values()])


def side_by_side(*args: object, **options: object) -> list[Fit]:
    """``fit_many`` with two threads; the rest of the test keeps its own number."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fits = fit_many(*args, **options)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    return fits


def test_each_model_is_its_twin() -> None:
    X = embedding()
    configs = [
        *list(VARIANTS.values())[::3],
        SAEConfig(30, "relu", l1=0.1),
        SAEConfig(8, "topk", k=2, scaling="whiten"),
    ]
    lrs = [1e-3 * (1 + i % 3) for i in range(len(configs))]
    many = side_by_side(X, configs, seed=4, lr=lrs, epochs=3, batch_size=100)
    assert [f.sae.config for f in many] == configs
    for config, lr, got in zip(configs, lrs, many, strict=True):
        alone = fit(X, config, seed=4, lr=lr, epochs=3, batch_size=100)
        np.testing.assert_allclose(parameters(got.sae), parameters(alone.sae), rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(got.holdout, alone.holdout)
        assert got.metrics["l0"] == pytest.approx(alone.metrics["l0"], rel=0.02)
        assert got.history["loss"].iloc[-1] == pytest.approx(alone.history["loss"].iloc[-1], rel=0.02)
        assert got.options["lr"] == lr


def test_seeds_differ_and_follow_the_list() -> None:
    X = embedding()
    many = side_by_side(X, [VARIANTS["relu"]] * 3, seeds=[1, 2, 1], epochs=3)
    np.testing.assert_array_equal(parameters(many[0].sae), parameters(many[2].sae))
    assert not np.array_equal(parameters(many[0].sae), parameters(many[1].sae))
    np.testing.assert_array_equal(many[1].holdout, fit(X, VARIANTS["relu"], seed=2, epochs=3).holdout)


def test_lengths_and_stopping_are_each_models_own() -> None:
    many = side_by_side(embedding(), [VARIANTS["topk"]] * 2, epochs=[2, 6], patience=[None, 3])
    assert [len(f.history) for f in many] == [2, 6]


BAD = {
    "no config": ([], {}, "at least one config"),
    "too few seeds": ([VARIANTS["relu"]] * 2, {"seeds": [1]}, "`seeds` needs one value a config; met 1 for 2"),
    "too few rates": ([VARIANTS["relu"]] * 2, {"lr": [1e-3]}, "`lr` needs one value a config"),
    "unknown option": ([VARIANTS["relu"]], {"speed": 3}, "must be known"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_lists_are_refused(name: str) -> None:
    configs, options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        fit_many(embedding(), configs, **options)
