"""Batches, strata and donors mark a feature and never name it; tissues that the data do not show name none."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellprism.errors import CellsLeftOut
from cellprism.features.annotate import annotate
from cellprism.features.confounds import nuisance_labels
from cellprism.features.tissue import home_tissues, set_kinds
from cellprism.genesets import bundled

N_CELLS, N_GENES = 400, 60


@pytest.fixture(scope="module")
def data() -> dict:
    """Feature 0 reads the batch, feature 1 the type "b"; each raises ten genes."""
    rng = np.random.default_rng(0)
    batch = np.where(np.arange(N_CELLS) % 2 == 0, "5k", "10k")
    kind = np.where(np.arange(N_CELLS) % 5 < 2, "b", "a")
    codes = np.zeros((N_CELLS, 2))
    codes[:, 0] = (batch == "5k") * (rng.random(N_CELLS) < 0.7)
    codes[:, 1] = (kind == "b") * (rng.random(N_CELLS) < 0.8)
    rate = np.full((N_CELLS, N_GENES), 0.6)
    rate[:, :10] *= np.where(codes[:, [0]] > 0, 4.0, 1.0)
    rate[:, 10:20] *= np.where(codes[:, [1]] > 0, 4.0, 1.0)
    return {
        "codes": sp.csr_array(codes),
        "expression": np.log1p(rng.poisson(rate)),
        "genes": [f"G{i}" for i in range(N_GENES)],
        "labels": pd.DataFrame({"batch": batch, "type": kind}),
        "nulls": (),
    }


def test_a_label_names_where_it_is_no_nuisance(data: dict) -> None:
    features = annotate(**data).features
    assert features["name"].str.startswith(("5k · G", "b · G")).all()
    assert features["top_label"].tolist() == ["5k", "b"]


@pytest.mark.parametrize("role", ["confounds", "strata", "donor"])
def test_the_batch_marks_and_does_not_name(data: dict, role: str) -> None:
    given = {"confounds": ["batch"]} if role == "confounds" else {role: data["labels"]["batch"].to_numpy()}
    # Two donors carry no test over donors, and that is said.
    said = pytest.warns(CellsLeftOut, match="fewer than 3") if role == "donor" else nullcontext()
    with said:
        features = annotate(**data, **given).features
    batch, kind = features["name"]
    assert kind.startswith("b · G1")
    assert "5k" not in batch.removeprefix("[batch 5k] ")
    assert "5k" not in features["top_label"].tolist()
    if role == "confounds":  # cells are compared within strata: there feature 0 has no inactive partner in one of them
        assert batch.startswith("[batch 5k] G")
        assert features["confound"].tolist() == ["batch 5k", ""]


def test_a_column_with_the_groups_of_the_donors_is_theirs_whatever_it_is_called() -> None:
    who = np.array(["p", "q", "p", "r"], dtype=object)
    labels = {"patient": np.array([1, 2, 1, 3], dtype=object), "type": np.array(["a", "a", "b", "b"], dtype=object)}
    assert list(nuisance_labels(labels, None, {"donor": who, "strata": None})) == ["patient"]
    assert list(nuisance_labels({"type": labels["type"]}, None, {"donor": who})) == ["donor"]
    assert list(nuisance_labels(labels, ["type"], {"donor": None})) == ["type"]


def test_no_seed_moves_a_name_a_set_or_a_p_value(data: dict) -> None:
    sets = {"up": data["genes"][:8], "b": data["genes"][10:18], "none": data["genes"][30:45]}
    embedding = np.random.default_rng(1).normal(size=(N_CELLS, 5))
    one, two = (
        annotate(**data | {"nulls": ("random",)}, gene_sets=sets, embedding=embedding, keep="all", seed=s)
        for s in (0, 1)
    )
    pd.testing.assert_frame_equal(one.sets, two.sets)
    assert one.features["name"].tolist() == two.features["name"].tolist()


def test_tissues_of_at_least_a_quarter_are_at_home() -> None:
    assert home_tissues(["blood"] * 30 + ["brain"] * 2 + [""] * 9) == {"", "blood"}
    assert home_tissues(["blood"] * 3 + ["brain"] * 2) == {"", "blood", "brain"}
    assert home_tissues([]) == {""}


def test_kinds_are_known_of_bundled_sets_only() -> None:
    ours = bundled()
    kinds = set_kinds({"Microglia": ours["Microglia"], "DNA replication": ours["DNA replication"], "T cell": ["CD3D"]})
    assert set(kinds) == {"Microglia", "DNA replication"}
    assert (kinds["Microglia"].tissue, kinds["Microglia"].process) == ("brain", False)
    assert (kinds["DNA replication"].tissue, kinds["DNA replication"].process) == ("", True)
    assert set_kinds(None) == {}


def test_a_feature_that_follows_the_norm_is_marked_where_no_label_explains_it(data: dict) -> None:
    rng = np.random.default_rng(3)
    embedding = rng.normal(size=(N_CELLS, 6)) * rng.gamma(2.0, 1.0, (N_CELLS, 1))
    norm = np.linalg.norm(embedding - embedding.mean(axis=0), axis=1)
    far = np.maximum(norm - np.median(norm), 0.0)
    of_type = far * 0 + (np.asarray(data["labels"]["type"]) == "b") * (1.0 + far)
    given = data | {"codes": sp.csr_array(np.column_stack([far, of_type])), "labels": data["labels"][["type"]]}
    marks = annotate(**given, embedding=embedding).features["confound"].tolist()
    assert marks == ["+norm of the embedding", ""]
    assert annotate(**given).features["confound"].tolist() == ["", ""]
