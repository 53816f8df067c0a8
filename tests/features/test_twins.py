"""Features of nearly the same activations, against numpy; and which ten a reader is shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.features import twins
from cellprism.features.best import best_features


@pytest.fixture
def codes() -> np.ndarray:
    rng = np.random.default_rng(3)
    dense = rng.exponential(size=(300, 9)) * (rng.random((300, 9)) < 0.3)
    dense[:, 4] = dense[:, 1] + 0.1 * dense[:, 8]
    dense[:, 7] = 2.0 * dense[:, 4]
    dense[:, 6] = 0.0
    return dense


@pytest.mark.parametrize("block", [2, 512])
def test_the_earlier_feature_that_is_followed(codes: np.ndarray, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twins, "_BLOCK", block)
    with np.errstate(invalid="ignore"):
        r = np.nan_to_num(np.corrcoef(codes.T))
    expected = [max((j for j in range(i) if r[i, j] >= 0.8), key=lambda j: r[i, j], default=-1) for i in range(9)]
    assert twins.twins(sp.csc_array(codes)).tolist() == expected
    assert expected[4] == 1
    assert expected[7] == 4


@pytest.mark.parametrize("noise", [0.2, 0.45, 0.6])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.9])
def test_what_is_ruled_out_early_is_not_followed(noise: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Families of features around the limit, among many that are like no other."""
    monkeypatch.setattr(twins, "_BLOCK", 7)
    rng = np.random.default_rng(round(1000 * (noise + share)))
    base = rng.gamma(2.0, size=(2_000, 60)) * (rng.random((2_000, 60)) < share)
    followers = base[:, rng.integers(60, size=40)]
    followers = np.maximum(followers + noise * followers.std(axis=0) * rng.standard_normal(followers.shape), 0.0)
    dense = np.concatenate([base, followers, base[:, :1] > 0], axis=1)[:, rng.permutation(101)].astype(np.float32)
    r = np.tril(np.corrcoef(dense.T.astype(np.float64)), k=-1)
    found = twins.twins(sp.csc_array(dense))
    np.testing.assert_array_equal(found, np.where((r >= 0.8).any(axis=1), r.argmax(axis=1), -1))
    assert 0 < (found >= 0).sum() < 60


def test_of_followers_the_better_one_is_kept(codes: np.ndarray) -> None:
    assert twins.without_twins(sp.csc_array(codes), [7, 1, 4, 0, 6, 2], 4) == [7, 0, 6, 2]
    assert twins.without_twins(sp.csc_array(codes), [7, 1, 4], 4) == [7]


def table(names: list[str], **more: object) -> pd.DataFrame:
    n = len(names)
    given = {"top_set_qval": 1e-4, "top_label": "", "top_label_auroc": np.nan, "stability": 0.9, "confound": ""} | more
    return pd.DataFrame({"feature": np.arange(10, 10 + n), "name": names} | given)


def test_the_best_differ() -> None:
    names = [
        "NK: Cytotoxicity · NKG7/GNLY",
        "NK, in part: Cytotoxicity · PRF1/GZMB",  # its lead is there
        "NK, in part · CLIC3/IL2RB",  # an unnamed part of a label that is there
        "B, in part: Plasma cell · MZB1/IGJ",  # a named part
        "B · CD79A/MS4A1",
        "broad (74% of cells): LDHB/NPM1",
        "no evidence (12 cells)",
        "T cell · CD3D/LCK (mostly T Reg)",
        "T cell · CD3E/IL32",  # its lead is there
        "Dendritic · CST3/LYZ",  # the same cells as the last but one
        "[+depth] Monocyte · LYZ/CD14",
    ]
    labels = ["NK", "NK", "NK", "B", "B", "", "", "T Reg", "T Reg", "DC", "Mono"]
    auroc = [0.99, 0.8, 0.9, 0.75, 0.98, 0.9, 0.9, 0.9, 0.6, 0.95, 1.0]
    rng = np.random.default_rng(0)
    dense = rng.random((200, len(names))) * (rng.random((200, len(names))) < 0.2)
    dense[:, 9] = dense[:, 4] + 0.05 * dense[:, 9]
    given = table(names, top_label=labels, top_label_auroc=auroc)
    given.loc[10, "confound"] = "+depth"
    best = best_features(given, sp.csc_array(dense), 10)
    assert best["feature"].tolist() == [10, 14, 17, 13, 20]
    assert best_features(given, sp.csc_array(dense), 2)["feature"].tolist() == [10, 14]


def test_no_feature_is_the_best_of_none() -> None:
    given = table(["no evidence (4 cells)", "not testable (4 active cells, fewer than 10)"])
    assert best_features(given, sp.csc_array(np.eye(2)), 10).empty


def test_without_gene_sets_labels_are_enough() -> None:
    given = table(
        ["B · CD79A/MS4A1", "CD3D/LCK"], top_label=["B", "T"], top_label_auroc=[0.9, 0.6], top_set_qval=np.nan
    )
    assert best_features(given, sp.csc_array(np.eye(2)), 10)["name"].tolist() == ["B · CD79A/MS4A1"]


def test_columns_that_a_run_has_not_count_for_nothing() -> None:
    given = table(["B · CD79A/MS4A1", "CD3D/LCK"])
    bare = given[["feature", "name", "top_set_qval"]]
    assert best_features(bare, sp.csc_array(np.eye(2)), 10)["feature"].tolist() == [10, 11]
