"""A choice of cells means the same in every type, and nothing that is no choice is taken for one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import cellprism as prism
from cellprism.data.choice import chosen_cells, mask
from cellprism.errors import InputError

N = 60
CHOSEN = np.arange(N) % 3 == 0
GAPS = np.arange(N) < 6

MASKS = {
    "numpy": CHOSEN,
    "list": CHOSEN.tolist(),
    "object": CHOSEN.astype(object),
    "text": CHOSEN.astype(str),
    "text as objects": CHOSEN.astype(str).astype(object),
    "categorical": pd.Categorical(CHOSEN.astype(str)),
    "nullable": pd.array(CHOSEN.tolist(), dtype="boolean"),
    "arrow": pd.array(CHOSEN.tolist(), dtype="bool[pyarrow]"),
    "sparse": pd.arrays.SparseArray(CHOSEN),
    "numbers with fractions": CHOSEN.astype(float),
}
WITH_GAPS = {
    "nullable": pd.array([None if g else bool(c) for c, g in zip(CHOSEN, GAPS, strict=True)], dtype="boolean"),
    "numbers": np.where(GAPS, np.nan, CHOSEN),
    "objects": np.array([None if g else bool(c) for c, g in zip(CHOSEN, GAPS, strict=True)], dtype=object),
    "texts": pd.Series(np.where(GAPS, None, CHOSEN.astype(str))),
}
NONE_OF_THEM = {
    "types": np.array(["B", "T"])[np.arange(N) % 2],
    "numbers": np.linspace(0, 1, N),
    "yes and no": np.where(CHOSEN, "yes", "no"),
    "too few": CHOSEN[:10],
}


@pytest.mark.parametrize("form", MASKS)
def test_every_type_of_mask_chooses_the_same_cells(form: str) -> None:
    np.testing.assert_array_equal(mask(MASKS[form], N, "`within`"), CHOSEN)
    np.testing.assert_array_equal(chosen_cells(MASKS[form], N), np.flatnonzero(CHOSEN))


@pytest.mark.parametrize("form", WITH_GAPS)
def test_cells_without_a_value_are_not_chosen(form: str) -> None:
    np.testing.assert_array_equal(chosen_cells(WITH_GAPS[form], N), np.flatnonzero(CHOSEN & ~GAPS))


@pytest.mark.parametrize("form", NONE_OF_THEM)
def test_what_is_no_mask_is_refused(form: str) -> None:
    for choose in (lambda v: mask(v, N, "`within`"), lambda v: chosen_cells(v, N)):
        with pytest.raises(InputError, match="true or false"):
            choose(NONE_OF_THEM[form])


def test_row_numbers_are_told_from_a_mask_of_numbers() -> None:
    assert chosen_cells([5, 2, 9], N).tolist() == [2, 5, 9]
    with pytest.raises(InputError, match=r"astype\(bool\)"):
        chosen_cells(CHOSEN.astype(int), N)
    with pytest.raises(InputError, match="drop the double"):
        chosen_cells([2, 2, 5], N)
    with pytest.raises(InputError, match="0 to 59"):
        chosen_cells([N], N)
    with pytest.raises(InputError, match="t least one"):
        chosen_cells([], N)


@pytest.mark.parametrize("form", MASKS)
def test_comparisons_and_edits_take_the_cells_that_are_meant(form: str) -> None:
    rng = np.random.default_rng(0)
    codes = (rng.random((N, 4)) < 0.8) * rng.gamma(2, 1, (N, 4))
    condition = np.array(["a", "b"])[np.arange(N) % 2]
    info = prism.differential(codes, condition, within=MASKS[form]).info
    assert info["cells_a"] + info["cells_b"] == CHOSEN.sum()
    X = rng.normal(size=(N, 5)).astype(np.float32)
    sae = prism.fit(X, prism.SAEConfig(width=8, activation="topk", k=4), epochs=2).sae
    feature = int(np.argmax((sae.encode(X) > 0).sum(0)))
    moved = np.abs(prism.steer(sae, X, feature, to=50.0, cells=MASKS[form]) - X).max(1) > 1e-3
    np.testing.assert_array_equal(moved, CHOSEN)


def test_a_mask_of_text_in_another_order_is_refused() -> None:
    rng = np.random.default_rng(0)
    Z = pd.DataFrame(rng.normal(size=(N, 5)), index=[f"c{i}" for i in range(N)])
    sae = prism.fit(Z.to_numpy(np.float32), prism.SAEConfig(width=8, activation="topk", k=4), epochs=2).sae
    turned = pd.Series(CHOSEN.astype(str), index=Z.index)[::-1]
    with pytest.raises(InputError, match="another order"):
        prism.steer(sae, Z, 0, to=1.0, cells=turned)


def test_an_evaluation_fits_its_rivals_to_the_cells_that_are_meant() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(240, 4)).astype(np.float32)
    fitted, types = np.arange(240) % 2 == 0, np.array(["a", "b"])[(X[:, 0] > 0).astype(int)]
    codes = np.hstack([np.maximum(X, 0), np.maximum(-X, 0)])

    def table(rows: object) -> pd.DataFrame:
        return prism.evaluate(codes, X, {"type": types}, fitted=rows, rivals=["pca"], ks=(1,)).table

    right = table(fitted)
    for form in (fitted.astype(str), pd.array(fitted.tolist(), dtype="boolean"), np.flatnonzero(fitted)):
        pd.testing.assert_frame_equal(table(form), right)
    with pytest.raises(InputError, match=r"fitted\.astype\(bool\)"):
        table(fitted.astype(int))
