from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy import sparse
from statsmodels.stats.anova import anova_lm

from cellprism.errors import InputError
from cellprism.steering.clean import clean, partial_shares


@dataclass
class Exact:
    """Each feature is one direction; codes are handed in."""

    directions: np.ndarray

    def encode(self, X: Any) -> sparse.csr_array:
        raise NotImplementedError

    def decode(self, codes: Any) -> np.ndarray:
        return np.asarray(codes @ self.directions, dtype=np.float32)


@pytest.fixture(scope="module")
def case():
    """Feature 0: type; 1: batch; 2: batch and type; 3: neither; the residual holds a small batch shift."""
    rng = np.random.default_rng(0)
    n = 600
    kind = rng.integers(0, 3, n)
    batch = (rng.random(n) < np.array([0.3, 0.5, 0.7])[kind]).astype(int)
    codes = np.abs(0.1 * rng.standard_normal((n, 5)))
    codes[:, 0] += 2.0 * (kind == 1)
    codes[:, 1] += 1.5 * batch
    codes[:, 2] += 1.0 * batch + 1.0 * (kind == 2)
    codes[:, 4] = 0
    sae = Exact(np.linalg.qr(rng.standard_normal((6, 6)))[0][:5].astype(np.float32) * 2)
    csr = sparse.csr_array(codes.astype(np.float32))
    Z = sae.decode(csr) + 0.05 * rng.standard_normal((n, 6)).astype(np.float32)
    Z[:, 5] += 0.1 * batch
    return sae, Z.astype(np.float32), batch, kind, csr


def means(Z: np.ndarray, batch: np.ndarray, kind: np.ndarray, sae: Exact, feature: int) -> np.ndarray:
    along = Z @ sae.directions[feature] / 4
    return np.array(
        [along[(kind == k) & (batch == 1)].mean() - along[(kind == k) & (batch == 0)].mean() for k in range(3)]
    )


@pytest.mark.parametrize("how", ["equalise", "off"])
def test_only_the_feature_of_the_batch_is_cleaned(case, how: str) -> None:
    sae, Z, batch, kind, codes = case
    out = clean(sae, Z, batch, kind, how=how, codes=codes)
    actions = out.features.set_index("feature")["action"]
    assert actions.to_dict() == {0: "kept", 1: "cleaned", 2: "left: reads both", 3: "kept"}
    # The residual's own shift of 0.1 projects a little on every direction.
    assert np.abs(means(out.embedding, batch, kind, sae, 1)).max() < 0.1
    assert np.abs(means(Z, batch, kind, sae, 1)).min() > 1.4
    np.testing.assert_allclose(means(out.embedding, batch, kind, sae, 2), means(Z, batch, kind, sae, 2), atol=1e-4)
    assert out.residual_nuisance > 0.05


def test_features_that_read_both_are_equalised_on_request_and_keep_their_labels(case) -> None:
    sae, Z, batch, kind, codes = case
    out = clean(sae, Z, batch, kind, codes=codes, reads_both="equalise")
    assert out.features.set_index("feature")["action"][2] == "equalised: reads both"
    assert np.abs(means(out.embedding, batch, kind, sae, 2)).max() < 0.1
    along = {k: (out.embedding @ sae.directions[2] / 4)[kind == k].mean() for k in (0, 2)}
    assert along[2] - along[0] == pytest.approx(1.0, abs=0.1)


def test_the_residual_is_equalised_on_request(case) -> None:
    sae, Z, batch, kind, codes = case
    kept = clean(sae, Z, batch, kind, codes=codes).embedding
    both = clean(sae, Z, batch, kind, codes=codes, residual="equalise").embedding
    rest = both - kept
    assert np.unique(np.round(rest, 5), axis=0).shape[0] == 2
    by_hand = (Z - sae.decode(codes)).astype(float) + rest
    assert partial_shares(by_hand, batch, kind)[0].max() < 1e-4


def test_without_labels_shared_clusters_stand_for_biology(case) -> None:
    sae, Z, batch, _, codes = case
    actions = clean(sae, Z, batch, codes=codes).features.set_index("feature")["action"]
    assert actions[1] == "cleaned"
    assert actions[0] == "kept"


def test_shares_and_p_values_are_those_of_a_two_factor_analysis_of_variance(case) -> None:
    _, _, batch, kind, codes = case
    X = codes.toarray()[:, :4].astype(float)
    share, p = partial_shares(X, batch, kind)
    for f in range(4):
        data = pd.DataFrame({"x": X[:, f], "batch": batch, "kind": kind})
        table = anova_lm(smf.ols("x ~ C(kind) + C(batch)", data).fit(), typ=2)
        expected = table.loc["C(batch)", "sum_sq"] / ((X[:, f] - X[:, f].mean()) ** 2).sum()
        assert share[f] == pytest.approx(expected, rel=1e-6)
        assert p[f] == pytest.approx(table.loc["C(batch)", "PR(>F)"], rel=1e-5, abs=1e-250)


def test_batches_that_are_the_labels_cannot_be_cleaned(case) -> None:
    sae, Z, batch, _, codes = case
    out = clean(sae, Z, batch, batch, codes=codes)
    assert (out.features["action"] == "kept").all()
    np.testing.assert_array_equal(out.embedding, Z)


WRONG = {
    "one batch": ({"batch": np.zeros(600)}, "at least two values"),
    "length": ({"batch": [0, 1]}, "one entry a cell"),
    "how": ({"how": "drop"}, "equalise or off"),
    "reads both": ({"reads_both": "drop"}, "leave or equalise"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input(case, name: str) -> None:
    sae, Z, batch, kind, codes = case
    keywords, text = WRONG[name]
    with pytest.raises(InputError, match=text):
        clean(sae, Z, **{"batch": batch, "labels": kind, "codes": codes, **keywords})
