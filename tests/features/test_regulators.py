"""Regulators as evidence for names: scores of decoupler, judged by permuted cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellprism.features.annotate import annotate
from cellprism.features.regulators import top_regulators

N_CELLS, N_GENES, N_FEATURES = 300, 150, 40


@pytest.fixture(scope="module")
def planted() -> dict:
    """Feature f < 3 drives the targets of regulator f: up those it induces, down those it represses."""
    rng = np.random.default_rng(0)
    codes = (rng.gamma(2.0, 1.0, (N_CELLS, N_FEATURES)) * (rng.random((N_CELLS, N_FEATURES)) < 0.2)).astype(np.float32)
    rate = np.tile(rng.gamma(3.0, 0.5, N_GENES), (N_CELLS, 1))
    effects = []
    for f in range(3):
        for g in range(10 * f, 10 * f + 10):
            sign = 1 if g % 3 else -1
            rate[:, g] *= np.where(codes[:, f] > 0, 3.0**sign, 1.0)
            effects.append((f"TF{f}", f"G{g}", float(sign)))
    genes = [f"G{i}" for i in range(N_GENES)]
    for i in range(20):
        for g in rng.choice(genes[30:], 10, replace=False):
            effects.append((f"other{i}", g, float(rng.choice([-1, 1]))))
    network = pd.DataFrame(effects, columns=["source", "target", "weight"])
    return {
        "codes": codes, "expression": np.log1p(rng.poisson(rate)), "genes": genes, "networks": {"Net": network}, "nulls": ()
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_planted_regulators_name_their_features_and_no_others(planted: dict) -> None:
    pytest.importorskip("decoupler")
    found = annotate(**planted)
    features = found.features.set_index("feature")
    for f in range(3):
        assert features.loc[f, "top_regulator"] == f"TF{f} targets (Net)"
        assert features.loc[f, "name"].startswith(f"TF{f} targets (Net) · G")
    assert (features.loc[3:, "top_regulator"] != "").mean() <= 0.1
    table = found.regulators
    assert table.groupby("feature").size().max() == 10
    assert table["pval_max"].between(0, 1).all()
    assert (table["network"] == "Net").all()


def test_without_networks_the_table_is_empty(planted: dict) -> None:
    found = annotate(**(planted | {"networks": None}))
    assert len(found.regulators) == 0
    assert (found.features["top_regulator"] == "").all()


def test_several_networks_share_the_level() -> None:
    table = pd.DataFrame(
        {
            "feature": [0, 0, 1, 2],
            "network": ["A", "B", "A", "A"],
            "source": ["x", "y", "x", "x"],
            "score": [5.0, 4.0, 4.0, -6.0],
            "pval_max": [0.02, 0.01, 0.04, 0.01],
        }
    )
    assert top_regulators(table, 0.05) == {0: "y targets (B)"}
