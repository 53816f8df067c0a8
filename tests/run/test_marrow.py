"""The paper's headline, found in mouse bone marrow without being told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cellprism.run import RunFolder, RunOptions, run

RED_CELL_GENES = {"Hba-a1", "Hba-a2", "Hbb-bs", "Hbb-bt", "Car2", "Slc4a1", "Alas2", "Gypa"}
RED_CELL_SETS = re.compile(
    r"oxygen transport|carbon dioxide transport|bicarbonate transport|heme biosynthe|erythrocyte differentiation"
    r"|ion homeostasis",
    re.IGNORECASE,
)


@pytest.fixture(scope="module")
def marrow(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run(
        RunOptions(
            data=shared_data / "marrow_erythroid_mouse.h5ad",
            output=tmp_path_factory.mktemp("marrow") / "out",
            embed="pca",
            gene_symbols="human_symbol",
            gene_sets=(str(shared_data / "GO_Biological_Process_2021.gmt"),),
        )
    )


def test_the_red_cell_programme_is_found_and_named(marrow: RunFolder) -> None:
    passing = marrow.sets[(marrow.sets["direction"] == "up") & (marrow.sets["qval"] < 0.05)]
    found = []
    for row in marrow.features.to_dict("records"):
        genes = RED_CELL_GENES & set(row["top_genes"].split(", "))
        sets = [s for s in passing.loc[passing["feature"] == row["feature"], "set"] if RED_CELL_SETS.search(s)]
        if len(genes) >= 3 and sets:
            found.append((row["name"], sorted(genes), sets))
    assert found


def test_counts_were_split_and_shares_stand_beside_their_nulls(marrow: RunFolder) -> None:
    about = marrow.info
    assert about["thinned"] is True
    assert about["descriptive"] is False
    by_claim = {r["claim"]: r["nulls"] for r in about["shares"]}
    nulls = by_claim["features with a set at q < 0.05"]
    assert set(nulls) == {
        "random directions", "untrained SAE", "permuted cells", "SAE of the shuffled embedding", "random gene sets",
    }  # fmt: skip
    assert nulls["permuted cells"] <= 0.05
    assert (marrow.path / "model").is_dir()
