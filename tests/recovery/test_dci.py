import numpy as np
import pytest

from cellprism.recovery.dci import entanglement

CASES = {
    "one feature a variable": (np.eye(4), 1.0, 1.0),
    "every feature alike": (np.full((4, 4), 0.5), 0.0, 0.0),
    # Each of two variables in two of four features: features are pure, a variable spreads over half of the base.
    "split": (np.repeat(np.eye(2), 2, axis=0), 1.0, 1 - np.log(2) / np.log(4)),
    # Each of two features holds two of four variables.
    "merged": (np.repeat(np.eye(2), 2, axis=1) * 0.9, 1 - np.log(2) / np.log(4), 1.0),
    # Importances 0.64 and 0.36 in one feature, beside a pure one of importance 1: H = 0.6534 nat, 0.9427 bit.
    "weighted": (np.array([[0.8, 0.6], [1.0, 0.0]]), (1 * (1 - 0.94268) + 1) / 2, None),
}


@pytest.mark.parametrize("case", CASES)
def test_worked_by_hand(case):
    r, specific, complete = CASES[case]
    found = entanglement(r, 10_000)
    assert found.disentanglement == pytest.approx(specific, abs=1e-4)
    if complete is not None:
        assert found.completeness == pytest.approx(complete, abs=1e-4)


def test_chance_correlations_do_not_count():
    r = np.eye(5) + np.random.default_rng(0).uniform(-0.02, 0.02, (5, 5)) * (1 - np.eye(5))
    assert entanglement(r, 10_000).disentanglement == 1
    assert entanglement(r, 10_000_000).disentanglement < 1
    assert np.isnan(entanglement(np.zeros((3, 2)), 100).completeness)
