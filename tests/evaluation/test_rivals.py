"""Rivals: one face, equal candidates, fitted to the training rows alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse as sp

from cellprism import InputError, SAEConfig
from cellprism.data.state import to_log1p
from cellprism.evaluation.evaluate import evaluate
from cellprism.evaluation.planted import METHODS_BESIDE
from cellprism.evaluation.rivals import RIVALS, STANDARD, fit_rival
from cellprism.sae.controls import SOFT_COSINE, partly_trained, untrained

N, D, GENES, WIDTH, ACTIVE = 400, 6, 30, 16, 2.0


@pytest.fixture(scope="module")
def cells() -> dict[str, np.ndarray | sp.csr_array]:
    rng = np.random.default_rng(0)
    programs = rng.exponential(size=(N, D)) * (rng.random((N, D)) < 0.3)
    genes = rng.poisson(programs @ rng.exponential(size=(D, GENES)) + 0.2)
    X = programs @ rng.normal(size=(D, D)) + 0.05 * rng.normal(size=(N, D))
    return {"embedding": X.astype(np.float32), "expression": sp.csr_array(np.log1p(genes).astype(np.float32))}


@pytest.mark.filterwarnings("ignore")  # drvi, scvi-tools and lightning warn of their own affairs
@pytest.mark.parametrize("name", RIVALS)
def test_one_face(cells: dict[str, np.ndarray | sp.csr_array], name: str) -> None:
    if not RIVALS[name].installed:
        pytest.skip(f"{RIVALS[name].package} is not installed")
    X = cells[RIVALS[name].of]
    half = X[: N // 2]
    found = fit_rival(name, half, WIDTH, active=ACTIVE, seed=1, epochs=30)
    codes = found.encode(X)
    assert isinstance(codes, sp.csr_array)
    assert codes.shape == (N, found.width)
    assert codes.dtype == np.float32
    assert codes.data.min() > 0
    expected = {"pca": 2 * D, "ica": 2 * D, "gene": GENES, "drvi": 2 * 32}
    assert found.width == expected.get(name, WIDTH)
    # rows are read one by one with what the training rows gave
    part = found.encode(X[N // 2 :][::-1])
    np.testing.assert_allclose(part.toarray(), codes.toarray()[N // 2 :][::-1], rtol=1e-3, atol=1e-3)
    again = fit_rival(name, half, WIDTH, active=ACTIVE, seed=1, epochs=30).encode(X)
    np.testing.assert_array_equal(again.toarray(), codes.toarray())


@pytest.mark.parametrize("name", ["untrained", "shuffled", "frozen_decoder", "soft_frozen_decoder", "frozen_encoder"])
def test_sparse_rivals_are_as_active_as_asked(cells: dict[str, np.ndarray], name: str) -> None:
    X = cells["embedding"]
    codes = fit_rival(name, X, WIDTH, active=ACTIVE, epochs=30).encode(X)
    assert codes.nnz / N == pytest.approx(ACTIVE, rel=0.5)


def test_both_signs_lie_side_by_side(cells: dict[str, np.ndarray]) -> None:
    X = cells["embedding"]
    codes = fit_rival("pca", X, WIDTH).encode(X).toarray()
    centred = X - X.mean(axis=0)
    axes = np.linalg.svd(centred.astype(float), full_matrices=False)[2]
    for i in range(D):
        height = codes[:, 2 * i] - codes[:, 2 * i + 1]
        assert abs(np.corrcoef(height, centred @ axes[i])[0, 1]) == pytest.approx(1, abs=1e-4)
        assert not (codes[:, 2 * i] * codes[:, 2 * i + 1]).any()


def test_parts_held_stay_where_they_started(cells: dict[str, np.ndarray]) -> None:
    X = cells["embedding"]
    cfg = SAEConfig(WIDTH, "batchtopk", k=2, aux_weight=0.0)
    start = partly_trained(X, cfg, "decoder", epochs=1, lr=1e-12).decoder.detach()
    long = {part: partly_trained(X, cfg, part, epochs=60) for part in ("decoder", "soft_decoder", "encoder")}
    np.testing.assert_allclose(long["decoder"].decoder.detach(), start, atol=1e-6)  # rows are scaled back to 1
    np.testing.assert_allclose(long["encoder"].encoder.detach(), start, atol=1e-6)
    assert float((long["decoder"].encoder.detach() - start).abs().max()) > 0.01
    turned = long["soft_decoder"].decoder.detach()
    cosine = (turned * start).sum(dim=1) / turned.norm(dim=1)
    assert float(cosine.min()) >= SOFT_COSINE - 1e-5
    assert float(cosine.min()) < SOFT_COSINE + 0.01  # the bound is what holds some of them
    assert float((long["encoder"].decoder.detach() - start).abs().max()) > 0.01


def test_untrained_batchtopk_has_k_active_features(cells: dict[str, np.ndarray]) -> None:
    X = cells["embedding"]
    sae = untrained(X, SAEConfig(WIDTH, "batchtopk", k=3))
    assert sae.encode(X).nnz == 3 * N


@pytest.mark.parametrize(("name", "width", "match"), [("pcs", 4, "must be one of"), ("pca", 0, "a candidate or more")])
def test_wrong_asks_are_refused(cells: dict[str, np.ndarray], name: str, width: int, match: str) -> None:
    with pytest.raises(InputError, match=match):
        fit_rival(name, cells["embedding"], width)


def test_a_rival_of_an_optional_package_is_never_taken_unasked(cells: dict[str, np.ndarray | sp.csr_array]) -> None:
    optional = {name for name, rival in RIVALS.items() if rival.package is not None}
    assert optional == {"drvi"} == set(RIVALS) - set(STANDARD)
    assert not optional & set(METHODS_BESIDE)
    X, codes = cells["embedding"], np.abs(cells["embedding"])
    for preset in ("cheap", "full"):
        given = {"expression": cells["expression"], "preset": preset, "epochs": 3, "ks": (1,)}
        found = evaluate(codes, X, {"half": X[:, 0] > np.median(X[:, 0])}, **given)
        assert not optional & set(found.rivals)


def test_drvi_without_its_package_is_refused_by_the_name_of_the_extra(
    cells: dict[str, np.ndarray | sp.csr_array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "drvi", None)  # as where it is not installed
    log = cells["expression"]
    with pytest.raises(InputError, match=r"cellprism\[drvi\]"):
        fit_rival("drvi", log, WIDTH)
    with pytest.raises(InputError, match=r"cellprism\[drvi\]"):
        evaluate(np.abs(cells["embedding"]), cells["embedding"], expression=log, rivals=["drvi"])
    with pytest.raises(InputError, match="fitted to expression"):
        evaluate(np.abs(cells["embedding"]), cells["embedding"], rivals=["drvi"])


@pytest.mark.filterwarnings("ignore")
def test_drvi_reads_two_kinds_of_cells_from_log_expression_of_counts() -> None:
    pytest.importorskip("drvi", reason="drvi-py is not installed", exc_type=ImportError)
    rng = np.random.default_rng(0)
    kind = rng.random(N) < 0.4
    level = rng.gamma(0.5, 2.0, size=(2, GENES))[kind.astype(int)] * rng.uniform(1, 4, (N, 1))
    log = to_log1p(sp.csr_array(rng.poisson(level).astype(np.float32)), "counts")
    codes = fit_rival("drvi", log, WIDTH, seed=0).encode(log).toarray()
    separation = [np.abs((codes[kind, j] > 0).mean() - (codes[~kind, j] > 0).mean()) for j in range(codes.shape[1])]
    assert max(separation) > 0.8
    with pytest.raises(InputError, match="whole multiples of one unit"):
        fit_rival("drvi", sp.csr_array(rng.gamma(2.0, size=(N, GENES))), WIDTH)
