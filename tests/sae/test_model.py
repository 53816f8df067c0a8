import numpy as np
import pytest
import scipy.sparse as sp
import torch
from sae.cases import VARIANTS, embedding

from cellprism.errors import InputError
from cellprism.sae import SAE, SAEConfig, fit
from cellprism.sae.scaling import fit_scaling


@pytest.fixture(scope="module", params=VARIANTS)
def trained(request: pytest.FixtureRequest) -> SAE:
    return fit(embedding(), VARIANTS[request.param], epochs=3, batch_size=64).sae


def test_codes_are_clean_csr_and_match_the_dense_formula(trained: SAE) -> None:
    X = embedding(50, seed=3)
    codes = trained.encode(X)
    assert isinstance(codes, sp.csr_array)
    assert codes.dtype == np.float32
    assert codes.shape == (50, trained.width)
    assert codes.has_sorted_indices
    assert (codes.data > 0).all()
    with torch.no_grad():
        dense = trained.activation(trained.pre_activations(trained.scale(torch.as_tensor(X)))).numpy()
    np.testing.assert_array_equal(codes.toarray(), dense)


def test_decoding_gives_raw_units_from_sparse_and_dense_codes(trained: SAE) -> None:
    X = embedding(50, seed=3)
    codes = trained.encode(X)
    X_hat = trained.decode(codes)
    assert X_hat.shape == X.shape
    assert X_hat.dtype == np.float32
    np.testing.assert_allclose(trained.decode(codes.toarray()), X_hat, rtol=1e-4, atol=1e-5)
    step = trained.decode(np.eye(trained.width)) - trained.decode(np.zeros((trained.width, trained.width)))
    np.testing.assert_allclose(step, trained.decoder_directions(), rtol=1e-3, atol=1e-4)


def test_chunks_do_not_change_codes(trained: SAE, monkeypatch: pytest.MonkeyPatch) -> None:
    X = embedding(50, seed=3)
    whole = trained.encode(X)
    monkeypatch.setattr("cellprism.sae.model._CHUNK_ELEMENTS", 7 * trained.width)
    np.testing.assert_allclose(trained.encode(X).toarray(), whole.toarray(), rtol=1e-5, atol=1e-6)


def test_topk_keeps_at_most_k_and_unit_norm_holds() -> None:
    sae = fit(embedding(), VARIANTS["topk"], epochs=3).sae
    assert np.diff(sae.encode(embedding(50, seed=3)).indptr).max() == 3
    np.testing.assert_allclose(sae.decoder.detach().norm(dim=1).numpy(), 1, rtol=1e-5)


BAD = {
    "another d": (embedding(4, 6), r"\(cells, 5 embedding dimensions\); met shape \(4, 6\)"),
    "one dimension": (np.zeros(5), r"met shape \(5,\)"),
    "NaN": (np.where(np.eye(8, 5) > 0, np.nan, 0), "5 NaN or infinite values"),
}


@pytest.mark.parametrize("name", BAD)
def test_encode_refuses(name: str) -> None:
    X, message = BAD[name]
    sae = SAE(VARIANTS["topk"], fit_scaling(embedding(), "global"), torch.Generator())
    with pytest.raises(InputError, match=message):
        sae.encode(X)


def test_decode_refuses_another_width() -> None:
    sae = SAE(VARIANTS["topk"], fit_scaling(embedding(), "global"), torch.Generator())
    for codes in (np.zeros((2, 5)), sp.csr_array((2, 5))):
        with pytest.raises(InputError, match=r"12 features\); met shape \(2, 5\)"):
            sae.decode(codes)


def test_no_cells_give_no_codes() -> None:
    sae = SAE(SAEConfig(12, "relu"), fit_scaling(embedding(), "global"), torch.Generator())
    assert sae.encode(np.zeros((0, 5))).shape == (0, 12)
    assert sae.decode(sp.csr_array((0, 12))).shape == (0, 5)


ODD = {
    "complex": lambda v: v.astype(complex),
    "text": lambda v: v.astype(str),
    "objects": lambda v: v.astype(object),
    "masked": lambda v: np.ma.masked_greater(v, 0.5),
    "NaN": lambda v: np.where(v > 0.5, np.nan, v),
    "infinity": lambda v: np.where(v > 0.5, np.inf, v),
}


@pytest.mark.parametrize("kind", ODD)
def test_what_is_no_finite_real_number_is_neither_encoded_nor_decoded(kind: str) -> None:
    X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    sae = fit(X, SAEConfig(6, "relu"), epochs=2).sae
    codes = sae.encode(X).toarray()
    for given, read in ((X, sae.encode), (codes + 1, sae.decode)):
        with pytest.raises(InputError, match=r"real numbers|must be finite"):
            read(ODD[kind](given))
    if kind in ("complex", "NaN", "infinity"):
        with pytest.raises(InputError, match="finite real numbers"):
            sae.decode(sp.csr_array(ODD[kind](codes + 1)))
