"""The state of expression: decided by evidence, told by the user, refused where it is neither."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from helpers import multimodal

from cellprism.data.expression import measured_expression
from cellprism.data.state import recognise
from cellprism.errors import InputError

N, GENES = 200, 300


def counts(scale: float = 1.0, seed: int = 0) -> np.ndarray:
    """Cells of unlike depth, half of them with gene 0 raised by 2^1.53."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.5, 4.0, GENES) * rng.lognormal(0, 0.7, (N, 1)) * scale
    rate[: N // 2, 0] *= 2**1.53
    return rng.poisson(rate).astype(np.float64)


def normal(x: np.ndarray, total: float = 1e4) -> np.ndarray:
    return x / np.maximum(x.sum(axis=1, keepdims=True), 1) * total


FORMS = {
    "counts": (lambda x: x, "counts"),
    "fractions": (lambda x: normal(x, 1.0), "fractions"),
    "per ten thousand": (normal, "normalised"),
    "per million": (lambda x: normal(x, 1e6), "normalised"),
    "to the median depth": (lambda x: normal(x, float(np.median(x.sum(axis=1)))), "normalised"),
    "log1p": (lambda x: np.log1p(normal(x)), "log1p"),
    "log1p per million": (lambda x: np.log1p(normal(x, 1e6)), "log1p"),
    "log1p of the median depth": (lambda x: np.log1p(normal(x, 300.0)), "log1p"),
    "log1p of raw counts": (np.log1p, "log1p"),
    "log1p of halved counts": (lambda x: np.log1p(x / 2), "log1p"),
    "log2 of raw counts": (lambda x: np.log2(1 + x), "log2"),
    "halved counts": (lambda x: x / 2, "counts"),
    "counts times 0.9": (lambda x: 0.9 * x, "counts"),
    "mean of three": (lambda x: x / 3, "counts"),
    "log2": (lambda x: np.log2(1 + normal(x)), "log2"),
    "log2 per million": (lambda x: np.log2(1 + normal(x, 1e6)), "log2"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depth", [0.3, 5.0])
def test_all_forms_of_the_same_cells_are_one(form: str, depth: float) -> None:
    x = counts(depth)
    make, state = FORMS[form]
    stored = make(x).astype(np.float32)
    found = measured_expression(ad.AnnData(stored))
    assert found.states == {"rna": state}
    natural = np.expm1(found.values.toarray())
    np.testing.assert_allclose(natural.sum(axis=1), 1e4, rtol=1e-2)
    np.testing.assert_allclose(natural, normal(x), rtol=2e-2, atol=0.5)
    stated = measured_expression(ad.AnnData(stored), state=state)
    np.testing.assert_array_equal(stated.values.toarray(), found.values.toarray())


@pytest.mark.parametrize("form", [f for f in FORMS if "counts" not in f and f != "mean of three"])
def test_some_genes_of_normalised_cells_keep_their_state_and_scale(form: str) -> None:
    make, state = FORMS[form]
    x = counts(2.0)
    stored = make(x)[:, :60].astype(np.float32)
    found = measured_expression(ad.AnnData(stored))
    wanted = "normalised" if state == "fractions" and stored.sum(axis=1).max() > 1.02 else state
    assert found.states == {"rna": wanted}
    if form in ("per ten thousand", "log1p", "log2", "fractions"):
        np.testing.assert_allclose(np.expm1(found.values.toarray()), normal(x)[:, :60], rtol=2e-2, atol=0.5)


def corrected(x: np.ndarray) -> np.ndarray:
    """Counts less a tenth that lay in the ambient."""
    ambient = x.sum(axis=0) / x.sum()
    return np.maximum(x - 0.1 * x.sum(axis=1, keepdims=True) * ambient, 0)


@pytest.mark.parametrize("depth", [0.3, 5.0])
def test_corrected_counts_are_refused_until_told(depth: float) -> None:
    x = counts(depth)
    cells = ad.AnnData(corrected(x).astype(np.float32))
    with pytest.raises(InputError, match="vary on every scale") as caught:
        measured_expression(cells)
    assert "round corrected counts" in caught.value.remedy
    assert "expression_state='log1p'" in caught.value.remedy
    told = measured_expression(cells, state="counts")
    np.testing.assert_allclose(np.expm1(told.values.toarray()).sum(axis=1), 1e4, rtol=1e-3)
    np.testing.assert_allclose(told.depth, cells.X.sum(axis=1), rtol=1e-5)
    fold = [np.log2(np.expm1(e.values.toarray())[: N // 2, 0].mean() / np.expm1(e.values.toarray())[N // 2 :, 0].mean())
            for e in (told, measured_expression(ad.AnnData(np.rint(cells.X))))]  # fmt: skip
    assert abs(fold[0] - fold[1]) < 0.15


def test_states_are_told_by_modality() -> None:
    x = counts()
    cells = multimodal(rna=ad.AnnData(np.log1p(normal(x))), adt=ad.AnnData(corrected(x[:, :20])))
    found = measured_expression(cells, state={"adt": "counts"})
    assert found.states == {"rna": "log1p", "protein": "counts"}
    with pytest.raises(InputError, match="'atac'; there are 'rna', 'protein'"):
        measured_expression(cells, state={"atac": "counts"})


@pytest.mark.parametrize(
    ("make", "state", "message"),
    [
        (lambda x: normal(x), "fractions", "add up to 1"),
        (lambda x: x * 10, "log1p", "lie below 30"),
        (lambda x: x, "raw", "is one of counts"),
    ],
)
def test_impossible_states_are_refused(make: object, state: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measured_expression(ad.AnnData(make(counts())), state=state)  # type: ignore[operator]


def test_log10_and_small_negative_values_are_told_apart_from_scaled_ones() -> None:
    x = counts()
    with pytest.raises(InputError, match=r"log10\(1 \+ x\)"):
        recognise(sp.csr_array(np.log10(1 + normal(x))))
    below = np.log1p(normal(x))
    below[3, 7] = -1e-6
    with pytest.raises(InputError, match=r"1 negative value in X, the least -1e-06. Remedy: set what rounding"):
        recognise(sp.csr_array(below))
    with pytest.raises(InputError, match="scaled or centred"):
        recognise(sp.csr_array(below - below.mean(axis=0)))


def test_rounding_on_the_way_does_not_hide_the_state() -> None:
    assert recognise(sp.csr_array(np.round(np.log1p(normal(counts())), 3))) == "log1p"
    assert recognise(sp.csr_array(np.log1p(normal(counts())).astype(np.float16).astype(np.float32))) == "log1p"
