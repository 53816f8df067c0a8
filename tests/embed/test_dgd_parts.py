from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import sparse, stats

from cellprism.embed import dgd_embed
from cellprism.embed.dgd_config import DGDConfig
from cellprism.embed.dgd_decoder import Decoder, head_sizes
from cellprism.embed.dgd_likelihood import constant, counts_batch, nb_log_likelihood
from cellprism.embed.dgd_prior import Mixture
from cellprism.errors import InputError


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    X = sparse.csr_array(rng.poisson(0.4, (7, 30)).astype(np.float32))
    logits = torch.tensor(rng.standard_normal((7, 30)), dtype=torch.float32, requires_grad=True)
    log_r = torch.tensor(rng.standard_normal(30), dtype=torch.float32, requires_grad=True)
    return X, logits, log_r


def dense_oracle(X, logits, log_r):
    k = torch.tensor(X.toarray(), dtype=torch.float64)
    m = torch.softmax(logits, 1) * k.sum(1, keepdim=True)
    r = log_r.exp() + 1
    return torch.distributions.NegativeBinomial(total_count=r, logits=(m / r).log()).log_prob(k).sum(1)


def test_likelihood_is_torchs_and_scipys(case) -> None:
    X, logits, log_r = case
    batch = counts_batch(X, torch.device("cpu"))
    ours = nb_log_likelihood(logits, log_r, batch).detach()
    expected = dense_oracle(X, logits.double(), log_r.double()).detach()
    assert float((ours + constant(batch, 7)).sum()) == pytest.approx(float(expected.sum()), rel=1e-5)
    k = X.toarray()
    m = torch.softmax(logits, 1).detach().numpy() * k.sum(1, keepdims=True)
    r = log_r.detach().exp().numpy() + 1
    assert float(expected.sum()) == pytest.approx(stats.nbinom.logpmf(k, r, r / (r + m)).sum(), rel=1e-4)


def test_written_out_gradients_are_the_traced_ones(case) -> None:
    X, logits, log_r = case
    weight = torch.linspace(0.5, 2, 7)
    (nb_log_likelihood(logits, log_r, counts_batch(X, torch.device("cpu"))) * weight).sum().backward()
    ours = logits.grad.clone(), log_r.grad.clone()
    a, b = logits.detach().double().requires_grad_(), log_r.detach().double().requires_grad_()
    (dense_oracle(X, a, b) * weight).sum().backward()
    np.testing.assert_allclose(ours[0], a.grad, atol=1e-4)
    np.testing.assert_allclose(ours[1], b.grad, atol=1e-4)


def test_a_cell_without_counts_and_a_share_of_zero_stay_finite() -> None:
    X = sparse.csr_array(np.array([[0.0, 0, 0], [0, 0, 5]]))
    logits = torch.tensor([[0.0, 0, 0], [0.0, 0, -200]], requires_grad=True)
    log_r = torch.zeros(3, requires_grad=True)
    out = nb_log_likelihood(logits, log_r, counts_batch(X, torch.device("cpu")))
    out.sum().backward()
    assert torch.isfinite(out).all()
    assert torch.isfinite(logits.grad).all()


def mixture(**changes) -> Mixture:
    options = {"radius": 2.0, "hardness": 5.0, "sd": 0.4, "sd_sd": 1.0, "dirichlet": 2.0, **changes}
    return Mixture(3, 4, generator=torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize("isotropic", [False, True])
def test_mixture_density_is_torchs(isotropic: bool) -> None:
    mix = mixture(isotropic=isotropic)
    with torch.no_grad():
        mix.neglogvar += 0.3 * torch.randn(mix.neglogvar.shape, generator=torch.Generator().manual_seed(1))
        mix.weight += torch.tensor([0.0, 1.0, -1.0])
    z = torch.randn((6, 4), generator=torch.Generator().manual_seed(2))
    sd = torch.exp(-0.5 * mix.neglogvar).expand(3, 4)
    components = torch.distributions.Independent(torch.distributions.Normal(mix.mean, sd), 1)
    weights = torch.distributions.Categorical(logits=mix.weight)
    oracle = torch.distributions.MixtureSameFamily(weights, components)
    np.testing.assert_allclose(mix.log_density(z).detach(), oracle.log_prob(z).detach(), rtol=1e-4)
    known = mix.log_density(z, torch.tensor([0, 1, 2, 0, 1, 2])).detach()
    each = components.log_prob(z[:, None]).detach() + torch.log_softmax(mix.weight, 0).detach()
    np.testing.assert_allclose(known, each[torch.arange(6), [0, 1, 2, 0, 1, 2]], rtol=1e-4)


def test_means_start_in_the_ball_and_priors_pull_where_they_should() -> None:
    mix = mixture()
    assert mix.mean.norm(dim=1).max().item() <= 2
    inside = mix.log_prior().item()
    with torch.no_grad():
        mix.mean *= 3 / mix.mean.norm(dim=1, keepdim=True)
    assert mix.log_prior().item() < inside
    flat = mixture()
    uneven = mixture()
    with torch.no_grad():
        uneven.weight += torch.tensor([3.0, 0, 0])
    assert uneven.log_prior().item() < flat.log_prior().item()


HEADS = {
    "three layers, few features": (DGDConfig(), 500, [100, 100, 100, 500]),
    "three layers, many features": (DGDConfig(), 40_000, [100, 100, 200, 40_000]),
    "two layers": (DGDConfig(head_layers=2), 40_000, [100, 200, 40_000]),
    "one layer": (DGDConfig(head_layers=1), 500, [100, 500]),
    "wide": (DGDConfig(head_layers=4, head_width=2), 500, [100, 200, 200, 200, 500]),
}


@pytest.mark.parametrize("name", HEADS)
def test_head_sizes(name: str) -> None:
    config, n_out, sizes = HEADS[name]
    assert head_sizes(100, n_out, config) == sizes


def test_the_decoder_has_a_head_a_modality() -> None:
    decoder = Decoder(6, {"rna": 20, "atac": 50}, DGDConfig(hidden=8))
    decoder.reset(torch.Generator().manual_seed(0))
    out = decoder(torch.zeros((3, 6)))
    assert [tuple(o.shape) for o in out] == [(3, 20), (3, 50)]


@pytest.mark.parametrize("bad", [{"latent": 0}, {"radius": 0.0}, {"head_layers": 0}, {"dirichlet": -1.0}])
def test_wrong_config(bad: dict) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        DGDConfig(**bad)


def test_a_start_from_a_sample_of_cells_spans_what_all_cells_span(monkeypatch) -> None:
    rng = np.random.default_rng(0)
    level = np.exp(rng.standard_normal((300, 3)) @ rng.standard_normal((3, 40)))
    X = sparse.csr_array(rng.poisson(20 * level).astype(np.float32))
    full = dgd_embed.pca_start([X], 3, 2.0, 0)
    monkeypatch.setattr(dgd_embed, "START_CELLS", 150)
    part = dgd_embed.pca_start([X], 3, 2.0, 0)
    np.testing.assert_allclose((part**2).sum(1).mean(), 1.0, rtol=1e-4)  # half the radius, squared
    assert np.linalg.svd(np.linalg.qr(full)[0].T @ np.linalg.qr(part)[0])[1].min() > 0.95
