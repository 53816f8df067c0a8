import numpy as np
import pytest
import torch

from cellprism.errors import InputError
from cellprism.sae.training import TrainingOptions, choose_device, learning_rate_factor


def test_learning_rate_rises_stays_and_falls() -> None:
    factors = np.array([learning_rate_factor(s, 100, 0.1, 0.5) for s in range(100)])
    np.testing.assert_allclose(factors[:10], np.arange(1, 11) / 11)
    np.testing.assert_array_equal(factors[10:51], 1)
    np.testing.assert_allclose(factors[75], 0.5)
    assert (np.diff(factors[50:]) < 0).all()
    assert factors[-1] < 0.01
    assert {learning_rate_factor(s, 100, 0, 0) for s in range(100)} == {1.0}


def test_length_and_batch_follow_the_cells() -> None:
    o = TrainingOptions()
    assert [o.batch_size_for(n) for n in (2, 100, 1_000, 3_000, 100_000)] == [2, 64, 128, 512, 1024]
    assert o.epochs_for(1_000, 128) == 500  # 8 steps an epoch
    assert o.epochs_for(10**6, 1024) == 20
    assert TrainingOptions(batch_size=50, epochs=3).batch_size_for(20) == 20
    assert TrainingOptions(epochs=3).epochs_for(10**6, 8) == 3


BAD = {
    "epochs": ({"epochs": 0}, "`epochs` must be at least 1"),
    "batch": ({"batch_size": 0}, "`batch_size`"),
    "patience": ({"patience": 0}, "`patience`.*or None"),
    "lr": ({"lr": 0.0}, "`lr`"),
    "infinite lr": ({"lr": float("inf")}, "`lr`"),
    "holdout": ({"holdout": 1.0}, "`holdout`"),
    "schedule": ({"warmup": 0.6, "decay": 0.6}, "sum of at most 1"),
    "memory": ({"memory_limit": -1.0}, "`memory_limit`"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_refused(name: str) -> None:
    options, message = BAD[name]
    with pytest.raises(InputError, match=message):
        TrainingOptions(**options)


def test_devices() -> None:
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="'abacus'"):
        choose_device("abacus")
