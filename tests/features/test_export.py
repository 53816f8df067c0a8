from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cellprism.errors import InputError
from cellprism.features.export import feature_network, feature_sets, write_feature_sets
from cellprism.features.redundant import collapse_sets
from cellprism.genesets.gmt import read_gmt


@pytest.fixture
def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    genes = pd.DataFrame(
        {
            "feature": [0, 0, 0, 0, 0, 7, 7],
            "gene": ["Hba-a1", "Hba-a2", "Hbb", "Sparc", "Actb", "Cd79a", "Ms4a1"],
            "symbol": ["HBA1", "HBA1", "HBB", "SPARC", "", "CD79A", "MS4A1"],
            "log2fc": [4.0, 3.0, 2.0, -1.0, 0.1, 2.0, 1.0],
            "statistic": [20.0, 18.0, 15.0, -9.0, 1.0, 12.0, 11.0],
            "qval": [1e-9, 1e-9, 1e-8, 1e-5, 0.8, 1e-7, 1e-6],
        }
    )
    return genes, pd.DataFrame({"feature": [0, 7], "name": ["red cells", "B cells"]})


def test_network_is_signed_and_holds_what_passes(tables) -> None:
    network = feature_network(*tables)
    assert network["source"].unique().tolist() == ["feature 0: red cells", "feature 7: B cells"]
    assert network["target"].tolist() == ["Hba-a1", "Hba-a2", "Hbb", "Sparc", "Cd79a", "Ms4a1"]
    assert network["weight"].tolist() == [4.0, 3.0, 2.0, -1.0, 2.0, 1.0]
    symbols = feature_network(tables[0], column="symbol", top=2)
    assert symbols["target"].tolist() == ["HBA1", "HBB", "CD79A", "MS4A1"]
    assert not symbols.duplicated(["source", "target"]).any()


def test_sets_round_trip_through_gmt(tables, tmp_path: Path) -> None:
    sets = feature_sets(*tables)
    assert sets == {"feature 0: red cells": ["Hba-a1", "Hba-a2", "Hbb"]}
    assert read_gmt(write_feature_sets(tmp_path / "features.gmt", *tables)) == sets


def test_nothing_to_export_is_said(tables) -> None:
    with pytest.raises(InputError, match="none"):
        feature_network(tables[0], level=1e-30)


def test_redundant_sets_fall_under_the_best_of_them() -> None:
    gene_sets = {"heme": list("abcd"), "porphyrin": list("abcde"), "transport": list("xyz"), "tiny": ["a"]}
    table = pd.DataFrame(
        {
            "feature": [1, 1, 1, 2, 1],
            "set": ["porphyrin", "heme", "transport", "porphyrin", "heme"],
            "direction": ["up", "up", "up", "up", "down"],
            "n_measured": [5, 4, 3, 5, 4],
            "qval": [0.01, 0.001, 0.02, 0.04, 0.03],
        }
    )
    out = collapse_sets(table, gene_sets)
    assert out[["feature", "direction", "set", "also"]].to_numpy().tolist() == [
        [1, "down", "heme", ""],
        [1, "up", "heme", "porphyrin"],
        [1, "up", "transport", ""],
        [2, "up", "porphyrin", ""],
    ]
