import numpy as np
import pytest
import torch
from sae.mixtures import best_correlation, world
from scipy.integrate import trapezoid
from scipy.special import log_ndtr
from scipy.stats import norm, truncnorm
from sklearn.mixture import GaussianMixture

from cellprism.sae import SAEConfig, fit
from cellprism.sae.geometry.coding import _regional_shares, code_sparsely, least_squares
from cellprism.sae.geometry.levels import fit_levels
from cellprism.sae.geometry.posterior import _LOG_CDF, _MILLS, Prior, _log_cdf_and_mills, posterior
from cellprism.sae.geometry.reading import _last_step, assemble, read_geometry
from cellprism.sae.geometry.sharpen import likelihood_slope, sharpen
from cellprism.sae.geometry.unmix import joint_diagonaliser, unmix
from cellprism.sae.io import load


def test_joint_diagonaliser_finds_the_mixing_of_exact_covariances():
    rng = np.random.default_rng(0)
    A, variances = rng.normal(size=(6, 6)), rng.uniform(0.1, 3, size=(9, 6))
    covariances = np.einsum("ip,tp,jp->tij", A, variances, A)
    W, loss, steps = joint_diagonaliser(covariances, np.full(9, 1 / 9), np.eye(6), tolerance=1e-12)
    gain = np.abs(W @ A)
    gain /= gain.max(axis=1, keepdims=True)
    assert sorted(gain.argmax(axis=1)) == list(range(6))
    np.testing.assert_allclose(np.sort(gain, axis=1)[:, :-1], 0, atol=1e-4)
    exact = np.log(variances).sum(axis=1).mean() / 2 + np.linalg.slogdet(A)[1]
    assert loss == pytest.approx(exact, abs=1e-6)
    assert steps < 150


def test_unmix_reads_programs_up_to_sign():
    X, truth = world()
    found = unmix(X)
    assert (best_correlation((X - found.mean) @ found.readout.T, truth) > 0.9).mean() >= 0.8


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_levels_finds_the_zero_and_the_side(sign, share):
    rng = np.random.default_rng(0)
    on = rng.random(4_000) < share
    values = np.where(on, rng.normal(5, 1.5, 4_000), rng.normal(0, 0.3, 4_000))
    levels = fit_levels((sign * values + 7)[:, None])
    assert levels.sign[0] == sign
    assert levels.zero[0] == pytest.approx(sign * 7, abs=0.1)
    assert levels.zero_sd[0] == pytest.approx(0.3, abs=0.05)
    assert levels.share[0] == pytest.approx(share, abs=0.03)
    assert levels.on[0] == pytest.approx(5, abs=0.2)
    assert 0.6 < levels.threshold()[0] < 2.5


def test_levels_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    on = rng.random(3_000) < 0.4
    values = np.where(on, rng.normal(4, 1.0, 3_000), rng.normal(0, 0.4, 3_000))[:, None]
    levels, mixture = fit_levels(values), GaussianMixture(2, tol=1e-6, random_state=0).fit(values)
    low, high = np.argsort(mixture.means_[:, 0])
    assert levels.zero[0] == pytest.approx(mixture.means_[low, 0], abs=0.01)
    assert levels.zero_sd[0] == pytest.approx(np.sqrt(mixture.covariances_[low, 0, 0]), rel=0.02)
    assert levels.share[0] == pytest.approx(mixture.weights_[high], abs=0.005)
    assert levels.on[0] + levels.zero[0] == pytest.approx(mixture.means_[high, 0], abs=0.02)


def test_rare_values_are_on():
    readouts = np.zeros((3_000, 20))
    for j in range(20):
        readouts[np.random.default_rng(j).permutation(3_000)[: 3 + j % 2], j] = 1.0
    levels = fit_levels(readouts)
    assert (levels.sign == 1).all()
    assert (levels.share < 0.01).all()


def test_sharpen_makes_near_readouts_exact():
    rng = np.random.default_rng(1)
    codes = np.abs(rng.normal(size=(4_000, 5))) * (rng.random((4_000, 5)) < 0.3)
    mixing = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    white = codes @ mixing
    W, b = sharpen(white, mixing + 0.25 * rng.normal(size=(5, 5)), np.zeros(5), steps=400)
    assert best_correlation(white @ W.T + b, codes).min() > 0.99


def test_slope_is_the_derivative_of_the_likelihood():
    u = torch.linspace(-3, 3, 41, dtype=torch.float64).requires_grad_()
    spike = torch.distributions.Normal(0.0, 0.2).log_prob(u) + np.log(0.7)
    slab = torch.where(u > 0, torch.distributions.Normal(0.0, 1.0).log_prob(u) + np.log(0.6), -torch.inf)
    torch.logaddexp(spike, slab).sum().backward()
    active = u.detach().abs() > 1e-9
    torch.testing.assert_close(likelihood_slope(u.detach(), 0.2)[active], u.grad[active])


def test_logarithm_of_the_normal_distribution_and_its_slope_follow_scipy():
    a = np.concatenate([np.linspace(-60, 12, 2_001), [-16, 9, -15.999, 8.999]])
    got = np.array([_log_cdf_and_mills(x, _LOG_CDF, _MILLS) for x in a])
    np.testing.assert_allclose(got[:, 0], log_ndtr(a), rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(got[:, 1], np.exp(norm.logpdf(a) - log_ndtr(a)), rtol=1e-5, atol=1e-15)


def test_posterior_of_one_code_is_the_exact_one():
    noise, prior = 0.5, Prior(np.array([[0.3]]), np.array([1.5]), np.array([0.8]))
    D = np.array([[1.2]])
    x = np.array([[-1.0], [0.2], [1.0], [3.0]], dtype=np.float32)
    mean, second, on = posterior(x, np.zeros((4, 1), np.float32), D, np.zeros(1), prior, noise, 1)
    grid = np.linspace(0, 12, 200_001)
    slab = truncnorm.pdf(grid, -1.5 / 0.8, np.inf, 1.5, 0.8)
    for i, value in enumerate(x[:, 0]):
        density = 0.3 * slab * np.exp(-((value - 1.2 * grid) ** 2) / (2 * noise))
        mass = trapezoid(density, grid)
        total = mass + 0.7 * np.exp(-(value**2) / (2 * noise))
        assert on[i, 0] == pytest.approx(mass / total, rel=1e-3)
        assert mean[i, 0] == pytest.approx(trapezoid(density * grid, grid) / total, rel=1e-3)
        assert second[i, 0] == pytest.approx(trapezoid(density * grid**2, grid) / total, rel=1e-3)


def test_coding_improves_on_a_perturbed_start():
    X, truth = world(noise=0.4, seed=2)
    centred = X - X.mean(axis=0)
    D, _ = least_squares(truth, centred)
    W = np.linalg.pinv(D + 0.25 * np.random.default_rng(0).normal(size=D.shape))
    start = np.maximum(centred @ W - (centred @ W).min(axis=0) * 0.3, 0)
    coding = code_sparsely(centred, start, 0.16, iterations=30, batch=1_000)
    assert best_correlation(coding.expected, truth).mean() > best_correlation(start, truth).mean()


@pytest.mark.parametrize("noise", [0.0, 0.3], ids=["clean", "noisy"])
def test_geometry_becomes_an_sae_that_reads_the_programs(noise):
    X, truth = world(noise=noise, d=12 if noise == 0 else 10, seed=3)
    config = SAEConfig(width=10, activation="jumprelu", init="geometry", pre_bias="none")
    fitted = fit(X, config, seed=1)
    held = fitted.holdout
    codes = fitted.sae.encode(X[held])
    weights, offset = least_squares(X, truth)
    readable = (
        np.array([np.corrcoef(a, b)[0, 1] for a, b in zip((X @ weights + offset).T, truth.T, strict=True)]) > 0.95
    )
    assert readable.sum() >= 5
    assert (best_correlation(codes, truth[held])[readable] > 0.95).mean() >= 0.6
    assert fitted.metrics["l0"] == pytest.approx((truth[held] > 0).sum(1).mean(), rel=0.5)
    assert fitted.metrics["explained_variance"] > 0.9
    assert fitted.history.columns.tolist() == fit(X, SAEConfig(width=4, k=2), epochs=1).history.columns.tolist()


def test_regional_shares_by_hand():
    on = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.float32)
    shares = _regional_shares(on, np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(shares, [[(2 + 20 * 0.5) / 22, 10 / 22], [5 / 22, (1 + 20 * 0.25) / 22]], rtol=1e-6)


def test_regions_say_which_programs_are_on():
    rng = np.random.default_rng(0)
    kind, gate = rng.integers(6, size=2_000), rng.random((6, 8)) < 0.4
    gate[np.arange(8) % 6, np.arange(8)] = True
    truth = (rng.poisson(1.5, (2_000, 8)) + 0.3) * gate[kind]
    mixing = rng.normal(size=(8, 8))
    X = truth @ mixing + rng.normal(scale=1.0, size=(2_000, 8))
    X -= X.mean(axis=0)
    start = np.maximum(X @ np.linalg.pinv(mixing + 0.2 * rng.normal(size=(8, 8))), 0)
    found = [code_sparsely(X, start, 1.0, regions=r, batch=1_000) for r in (None, kind)]
    alone, told = (best_correlation(coding.expected, truth).mean() for coding in found)
    assert told > alone + 0.01


@pytest.mark.slow
def test_axes_of_many_kinds_of_cells_are_told_apart():
    X, truth = world(programs=40, kinds=100, cells=3_000, d=40, noise=0.5, seed=1)
    for seed in range(3):
        assert (best_correlation(read_geometry(X, seed=seed).codes(X), truth) > 0.9).mean() > 0.8


@pytest.mark.parametrize("unit", [1e-9, pytest.param(1e6, marks=pytest.mark.slow)])
def test_the_unit_of_the_embedding_does_not_matter(unit):
    X, truth = world(noise=0.4, cells=2_000, d=10)
    plain, scaled = (best_correlation(read_geometry(s * X).codes(s * X), truth).mean() for s in (1.0, unit))
    assert scaled == pytest.approx(plain, abs=0.02)


@pytest.mark.parametrize("cells", [2, 3, 7])
def test_a_handful_of_cells_can_be_read(cells):
    X = np.random.default_rng(0).normal(size=(cells, 2))
    assert np.isfinite(read_geometry(X).codes(X)).all()


def test_leftover_directions_are_dropped():
    X, truth = world(d=10, seed=3)
    rest = 0.05 * np.random.default_rng(1).standard_t(5, size=(len(X), 4))
    geometry = read_geometry(np.hstack([X, rest.astype(np.float32)]))
    assert len(geometry.readout) == 10
    assert "4 readouts" in geometry.steps[-1]
    assert (best_correlation(geometry.codes(np.hstack([X, rest])), truth) > 0.9).mean() >= 0.8


def test_weak_programs_with_sharp_zeros_are_no_leftovers():
    X, truth = world(programs=12, d=12, seed=4)  # the two weakest stand apart by a step of 2.6
    geometry = read_geometry(X)
    assert len(geometry.readout) == 12
    assert (best_correlation(geometry.codes(X), truth) > 0.95).all()


@pytest.mark.parametrize(
    ("explained", "leftovers"),
    [
        ([*[1e-5] * 20, *[1.0] * 60], 20),
        ([*[1e-6] * 10, *[1e-5] * 10, *[1.0] * 60], 20),  # the last of two steps
        ([*[1e-6] * 5, *[1.0] * 75], 0),  # fewer than a tenth
        ([*[0.5] * 20, *[1.0] * 60], 0),  # too much of it all
        ([*np.geomspace(1e-4, 1, 80)], 0),  # no step
        ([1e-9, *np.geomspace(1e-4, 1, 80)], 0),  # one alone
        ([0.0] * 80, 0),
        ([1.0], 0),
    ],
)
def test_leftovers_end_at_the_last_step(explained, leftovers):
    assert _last_step(np.array(explained)) == leftovers


def test_assembled_sae_gives_the_codes_of_the_geometry(tmp_path):
    X, _ = world(cells=800)
    geometry = read_geometry(X)
    config = SAEConfig(width=14, activation="jumprelu", init="geometry", pre_bias="none", scaling="standard")
    sae = assemble(geometry, config, X)
    codes, expected = sae.encode(X).toarray(), geometry.codes(X)
    assert not codes[:, 10:].any()
    alike = np.abs(codes[:, :10] > 0) == (expected > 0)
    assert alike.mean() > 0.999
    np.testing.assert_allclose(
        sae.decode(codes), expected @ geometry.dictionary + geometry.intercept + geometry.mean, atol=0.05
    )
    sae.save(tmp_path / "sae")
    np.testing.assert_array_equal(load(tmp_path / "sae").encode(X).toarray(), codes)


@pytest.mark.parametrize("noise", [0.0, 0.4])
def test_a_reading_ends_when_nobody_waits_for_it(noise):
    calls = []

    def check():
        calls.append(0)
        if len(calls) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        read_geometry(world(cells=600, noise=noise)[0], check=check)
    assert len(calls) == 2
