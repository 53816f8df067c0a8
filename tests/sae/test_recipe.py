import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_ndtr
from scipy.stats import norm, truncnorm
from sklearn.mixture import GaussianMixture

from cellprism.errors import InputError
from cellprism.features.stability import fit_stability
from cellprism.sae import SAE, SAEConfig, default_config, fit
from cellprism.sae.consensus import consensus
from cellprism.sae.io import load
from cellprism.sae.recipe import _best, _contenders, choose_recipe, fit_auto
from cellprism.sae.recipe_bits import description_length, explained_signal
from cellprism.sae.recipe_coding import _regional_shares, code_sparsely, least_squares
from cellprism.sae.recipe_levels import fit_levels
from cellprism.sae.recipe_posterior import _LOG_CDF, _MILLS, Prior, _log_cdf_and_mills, posterior
from cellprism.sae.recipe_sharpen import likelihood_slope, sharpen
from cellprism.sae.recipe_start import assemble, read_geometry
from cellprism.sae.recipe_unmix import joint_diagonaliser, unmix
from cellprism.sae.scaling import AffineScaling, fit_scaling


def world(programs=10, kinds=20, cells=3_000, d=10, noise=0.0, seed=0):
    """Cells of several kinds, each with its own programs on; Poisson activities, a dense mixing."""
    rng = np.random.default_rng(seed)
    kind_program = rng.random((kinds, programs)) < 0.35
    codes = (
        rng.poisson(1 + 0.4 * np.arange(programs), (cells, programs)) * kind_program[rng.integers(kinds, size=cells)]
    )
    X = codes @ rng.normal(size=(programs, d)) + noise * rng.normal(size=(cells, d))
    return X.astype(np.float32), codes.astype(float)


def best_correlation(codes, truth):
    codes = codes.toarray() if hasattr(codes, "toarray") else codes
    codes = codes[:, codes.std(axis=0) > 0]
    return np.abs(np.corrcoef(codes.T, truth.T)[: codes.shape[1], codes.shape[1] :]).max(axis=0)


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


def test_levels_have_the_likelihood_of_scikit_learn():
    rng = np.random.default_rng(3)
    on = rng.random(3_000) < 0.4
    values = np.where(on, rng.normal(4, 1.0, 3_000), rng.normal(0, 0.4, 3_000))[:, None]
    levels, mixture = fit_levels(values), GaussianMixture(2, tol=1e-6, random_state=0).fit(values)
    low, high = np.argsort(mixture.means_[:, 0])
    assert levels.zero[0] == pytest.approx(mixture.means_[low, 0], abs=0.01)
    assert levels.zero_sd[0] == pytest.approx(np.sqrt(mixture.covariances_[low, 0, 0]), rel=0.02)
    assert levels.share[0] == pytest.approx(mixture.weights_[high], abs=0.005)
    assert levels.on[0] + levels.zero[0] == pytest.approx(mixture.means_[high, 0], abs=0.02)


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
        mass = np.trapezoid(density, grid)
        total = mass + 0.7 * np.exp(-(value**2) / (2 * noise))
        assert on[i, 0] == pytest.approx(mass / total, rel=1e-3)
        assert mean[i, 0] == pytest.approx(np.trapezoid(density * grid, grid) / total, rel=1e-3)
        assert second[i, 0] == pytest.approx(np.trapezoid(density * grid**2, grid) / total, rel=1e-3)


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


def test_leftover_directions_are_dropped():
    X, truth = world(d=10, seed=3)
    rest = 0.05 * np.random.default_rng(1).standard_t(5, size=(len(X), 4))
    geometry = read_geometry(np.hstack([X, rest.astype(np.float32)]))
    assert len(geometry.readout) == 10
    assert "4 readouts" in geometry.steps[-1]
    assert (best_correlation(geometry.codes(np.hstack([X, rest])), truth) > 0.9).mean() >= 0.8


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


def test_description_length_by_hand():
    scaling = AffineScaling(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))
    sae = SAE(SAEConfig(width=2, activation="relu", pre_bias="none", scaling="none"), scaling)
    with torch.no_grad():
        sae.encoder.copy_(torch.eye(2))
        sae.decoder.copy_(torch.eye(2))
    X = np.array([[2.0, 0], [0, 0], [0, 0], [0, 0]])
    got = description_length(sae, X, 0.1)
    rate = 1.5 / 5
    assert got["support_bits"] == pytest.approx(-(rate * np.log2(rate) + (1 - rate) * np.log2(1 - rate)))
    assert got["value_bits"] == pytest.approx(np.log2(1 + 4 / 0.1) / 8)
    assert got["residual_bits"] == pytest.approx(0, abs=1e-9)
    assert (got["l0"], got["dead_share"], got["explained_variance"]) == (0.25, 0.5, 1.0)


def test_recipe_chooses_the_geometry_of_a_mixture_and_says_why():
    X, truth = world(programs=12, d=12, seed=4)
    fitted = fit_auto(X, preset="quick", seeds=2)
    recipe = fitted.options["recipe"]
    assert recipe["config"]["init"] == "geometry"
    assert len(recipe["reasons"]) >= 3
    chosen = [row for row in recipe["scouts"] if row["chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["agreement"] >= 0.5
    held = fitted.holdout
    assert (best_correlation(fitted.sae.encode(X[held]), truth[held]) > 0.95).mean() >= 0.9
    stable = fit_stability(fitted, X)["stability"]
    assert stable.median() > 0.9


def test_recipe_trains_where_there_is_no_room_to_read():
    X = np.random.default_rng(0).normal(size=(60, 20)).astype(np.float32)
    recipe = choose_recipe(X, preset="quick")
    assert recipe.config == default_config(X)
    assert set(recipe.scouts["method"]) == {"default", "training"}
    assert "none does" in " ".join(recipe.reasons)


@pytest.mark.parametrize(
    ("agreement", "bits", "stability", "explained", "chosen"),
    [
        (0.9, 80.0, 0.9, 0.8, 0),
        (0.5, 80.0, 0.9, 0.8, 0),
        (0.49, 80.0, 0.9, 0.8, 2),
        (0.49, 99.0, 0.9, 0.8, 1),
        (0.49, 80.0, 0.51, 0.8, 1),
        (0.49, 80.0, 0.9, 0.6, 1),
    ],
    ids=["returns", "half returns", "beaten in all", "bits alike", "no steadier", "more error"],
)
def test_the_default_stands_unless_beaten_in_all(
    agreement: float, bits: float, stability: float, explained: float, chosen: int
):
    scouts = pd.DataFrame(
        {
            "method": ["geometry", "default", "training", "training"],
            "agreement": [agreement, 0.1, 0.9, 0.1],
            "stability": [0.9, 0.5, stability, 0.2],
            "bits": [190.0, 100.0, bits, 70.0],
            "explained_signal": [0.9, 0.7, explained, 0.9],
        }
    )
    assert _best(scouts) == chosen


def test_second_seeds_are_only_spent_where_they_matter():
    scouts = pd.DataFrame(
        {
            "method": ["geometry", "default", "training", "training", "training"],
            "agreement": [0.9, np.nan, np.nan, np.nan, np.nan],
            "bits": [190.0, 100.0, 80.0, 99.0, 70.0],
            "explained_signal": [0.9, 0.7, 0.8, 0.9, 0.6],
        }
    )
    assert _contenders(scouts) == []
    assert _contenders(scouts.assign(agreement=0.2)) == [1, 2]
    assert _contenders(scouts[1:].reset_index(drop=True)) == [0, 1]


def test_noise_does_not_count_as_signal():
    rng = np.random.default_rng(0)
    X = np.concatenate([3 * rng.standard_normal((4_000, 1)), rng.standard_normal((4_000, 9))], axis=1).astype(
        np.float32
    )
    above = fit_scaling(X, "wiener").forward
    sae = SAE(SAEConfig(2, "relu", pre_bias="none", scaling="none"), fit_scaling(X, "none"))
    with torch.no_grad():  # the first axis, both ways, and nothing of the others
        for weights in (sae.encoder, sae.decoder):
            weights.zero_()
            weights[:, 0] = torch.tensor([1.0, -1.0])
    assert 1 - np.square(X[:, 1:]).sum() / np.square(X).sum() == pytest.approx(0.5, abs=0.03)
    assert explained_signal(sae, X, above) > 0.95


def test_fit_without_config_is_the_recipe_and_repeats():
    X, _ = world(programs=6, d=6, cells=600, seed=7)
    first, again = (fit(X, preset="quick", seed=3, epochs=5) for _ in range(2))
    np.testing.assert_array_equal(first.sae.encode(X).toarray(), again.sae.encode(X).toarray())
    rows = first.options["recipe"]["scouts"]
    assert {"method", "width", "k", "l0", "explained_variance", "bits", "stability", "dead_share", "chosen"} <= set(
        rows[0]
    )
    json.dumps(first.options["recipe"], allow_nan=False)
    assert fit(X, SAEConfig(width=4, k=2), epochs=1).options.get("recipe") is None


def test_fit_with_consensus_gives_its_table():
    X, _ = world(seed=8, cells=1_500)
    config = SAEConfig(width=10, activation="jumprelu", init="geometry", pre_bias="none")
    fitted = fit(X, config, seeds=2, consensus=True)
    assert fitted.consensus is not None
    assert len(fitted.consensus) == fitted.sae.width <= 10
    assert fitted.metrics["n_live"] == fitted.sae.width


def test_consensus_keeps_what_returns():
    X, _ = world(seed=5)
    fitted = fit(X, SAEConfig(width=10, activation="jumprelu", init="geometry", pre_bias="none"), seeds=3)
    agreed = consensus(fitted, X)
    source = agreed.table["source"].to_numpy()
    np.testing.assert_allclose(
        agreed.sae.encode(X).toarray(), fitted.sae.encode(X).toarray()[:, source], rtol=1e-4, atol=1e-4
    )
    assert (agreed.table["returns"] > 0.5).all()


def test_consensus_of_trained_features_fires_as_before():
    X, _ = world(seed=6, cells=1_000)
    fitted = fit(X, SAEConfig(width=12, k=4), seeds=2, epochs=30)
    agreed = consensus(fitted, X, returned=0.3)
    source = agreed.table["source"].to_numpy()
    new, old = agreed.sae.encode(X).toarray(), fitted.sae.encode(X).toarray()[:, source]
    both = (new > 0) & (old > 0)
    np.testing.assert_allclose(new[both], old[both], rtol=1e-3, atol=1e-3)
    # The moved bias rounds differently, so a code that lies on the threshold may fall to either side of it.
    assert ((new > 0) != (old > 0)).mean() < 1e-3


@pytest.mark.parametrize(
    "call",
    [
        lambda X: choose_recipe(X, preset="slow"),
        lambda X: SAEConfig(width=8, k=2, init="geometry"),
        lambda X: consensus(fit(X, SAEConfig(width=4, k=2), epochs=1), X),
        lambda X: consensus(fit(X, SAEConfig(width=4, k=2, activation="topk"), epochs=1, seeds=2), X),
    ],
    ids=["preset", "geometry is jumprelu", "consensus of one", "consensus of topk"],
)
def test_refusals(call):
    with pytest.raises(InputError):
        call(world(cells=100)[0])
