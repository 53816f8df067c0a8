from __future__ import annotations

import numpy as np
import pytest

from cellprism.errors import InputError
from cellprism.steering import Edit, steer

EDITS = {
    "value": ({"to": 1.5}, lambda c: np.full_like(c, 1.5)),
    "edit object": ({"to": Edit("scale", 3.0)}, lambda c: c * 3),
    "quantile of active": ({"to_quantile": 0.5}, lambda c: np.full_like(c, np.median(c[c > 0]))),
    "scale": ({"scale": 2.0}, lambda c: c * 2),
    "add": ({"add": 0.7}, lambda c: c + 0.7),
    "subtract, never below zero": ({"add": -1.5}, lambda c: np.maximum(c - 1.5, 0)),
    "off": ({"off": True}, lambda c: c * 0),
}


@pytest.mark.parametrize("case", EDITS)
def test_the_embedding_moves_along_the_feature_and_the_residual_stays(scene, case: str) -> None:
    keywords, expected = EDITS[case]
    c = scene.sae.codes.toarray()[:, 2]
    out = steer(scene.sae, scene.Z, 2, **keywords)
    by_hand = scene.Z + (expected(c) - c)[:, None] * scene.sae.directions[2]
    np.testing.assert_allclose(out, by_hand, atol=1e-5)


def test_only_chosen_cells_move(scene) -> None:
    mask = scene.labels == "a"
    out = steer(scene.sae, scene.Z, [0, 3], to=1.0, cells=mask)
    np.testing.assert_array_equal(out[~mask], scene.Z[~mask])
    c = scene.sae.codes.toarray()[mask][:, [0, 3]]
    np.testing.assert_allclose(out[mask], scene.Z[mask] + (1 - c) @ scene.sae.directions[[0, 3]], atol=1e-5)
    np.testing.assert_array_equal(out, steer(scene.sae, scene.Z, [0, 3], to=1.0, cells=np.flatnonzero(mask)))


def test_setting_to_the_present_value_changes_nothing(scene) -> None:
    np.testing.assert_array_equal(steer(scene.sae, scene.Z, 2, scale=1.0), scene.Z)


WRONG = {
    "dead": ({"feature": 11, "to": 1.0}, "feature 11 is active in none of 300 cells"),
    "out of range": ({"feature": 12, "to": 1.0}, "from 0 to 11"),
    "twice": ({"feature": [1, 1], "to": 1.0}, "once each"),
    "no edit": ({"feature": 1}, "xactly one"),
    "two edits": ({"feature": 1, "to": 1.0, "off": True}, "xactly one"),
    "negative value": ({"feature": 1, "to": -1.0}, "`to` must be at least 0"),
    "quantile": ({"feature": 1, "to_quantile": 95.0}, "`to_quantile` must be at most 1"),
    "negative factor": ({"feature": 1, "scale": -1.0}, "never negative"),
    "not a number": ({"feature": 1, "add": np.nan}, "`add` must be a number"),
    "mask": ({"feature": 1, "off": True, "cells": np.ones(3, bool)}, "one value a cell"),
    "rows": ({"feature": 1, "off": True, "cells": [300]}, "0 to 299"),
    "no cells": ({"feature": 1, "off": True, "cells": np.zeros(300, bool)}, "t least one cell"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(scene, case: str) -> None:
    keywords, text = WRONG[case]
    feature = keywords["feature"]
    with pytest.raises(InputError, match=text):
        steer(scene.sae, scene.Z, feature, **{k: v for k, v in keywords.items() if k != "feature"})


def test_unknown_kind() -> None:
    with pytest.raises(InputError, match="must be one of"):
        Edit("double", 2.0)


@pytest.mark.parametrize("edit", [{"to": 1e30}, {"scale": 1e30}, {"add": 1e25}, {"to": 3e38}])
def test_an_edit_out_of_the_range_of_numbers_is_refused(scene, edit: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"squares of the embedding are numbers.*give less"):
        steer(scene.sae, scene.Z, 2, **edit)
