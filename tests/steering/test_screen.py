from __future__ import annotations

import numpy as np
import pytest

from cellprism.errors import CellsLeftOut, InputError
from cellprism.steering import screen, steer
from cellprism.steering.screen import whitening


def test_the_feature_of_the_label_comes_first(scene) -> None:
    table = screen(scene.sae, scene.Z, scene.labels)
    for source in ("a", "c"):
        best = table[(table["source"] == source) & (table["target"] == "b")].iloc[0]
        assert best["feature"] == 0
        assert best["pval"] < 0.01
        assert best["reach"] > 0.5
    assert len(table) == 11 * 6  # the dead feature is left out


def test_cells_that_are_left_out_are_counted(scene) -> None:
    labels = scene.labels.astype(object)
    labels[:5], labels[5] = None, "stray"
    with pytest.warns(CellsLeftOut) as said:
        table = screen(scene.sae, scene.Z, labels)
    n = len(labels)
    assert [str(one.message) for one in said] == [
        f"5 of {n} cells without a label: left out",
        f"1 of {n} cells of the label 'stray', which has fewer than 10 cells: left out",
    ]
    assert set(table["source"]) == set(table["target"]) == set("abc")


def test_reach_and_alignment_are_those_of_the_steered_cells(scene) -> None:
    table = screen(scene.sae, scene.Z, scene.labels).set_index(["feature", "source", "target"])
    Z, labels = scene.Z.astype(float), scene.labels
    means = {v: Z[labels == v].mean(0) for v in "abc"}
    within = np.concatenate([Z[labels == v] - means[v] for v in "abc"])
    root = whitening(within)
    moved = steer(scene.sae, scene.Z, 5, to_quantile=0.95)[labels == "a"].mean(0) - means["a"]
    move, way = moved @ root, (means["c"] - means["a"]) @ root
    row = table.loc[(5, "a", "c")]
    assert row["reach"] == pytest.approx(move @ way / (way @ way), rel=1e-3)
    assert row["alignment"] == pytest.approx(move @ way / np.linalg.norm(move) / np.linalg.norm(way), rel=1e-3)


def test_whitening_makes_the_shrunk_covariance_one() -> None:
    X = np.random.default_rng(0).standard_normal((400, 3)) * [5, 1, 0.2]
    S = X.T @ X / 399
    S = 0.95 * S + 0.05 * np.trace(S) / 3 * np.eye(3)
    W = whitening(X)
    np.testing.assert_allclose(W @ S @ W, np.eye(3), atol=1e-8)


@pytest.mark.parametrize(
    ("labels", "text"),
    [(["a"], "one entry a cell"), (["a"] * 300, "least two labels"), (["a"] * 295 + ["b"] * 5, "10 cells")],
)
def test_wrong_input(scene, labels: list[str], text: str) -> None:
    with pytest.raises(InputError, match=text):
        screen(scene.sae, scene.Z, labels)
