"""Loss and gradient of every variant against references of a few lines, in float64."""

import math

import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding, random_sae

from cellprism.sae import SAE
from cellprism.sae.loss import LEAST_RESIDUAL, auxiliary_loss, mse, objective


def batch(sae: SAE, n: int = 40) -> torch.Tensor:
    return sae.scale(torch.as_tensor(embedding(n, sae.d, seed=7), dtype=torch.float64))


def kept_by_cell(pre: torch.Tensor, k: int) -> torch.Tensor:
    """Pre-activations that are positive and among the k largest of their cell, by a plain sort."""
    rank = (-pre).argsort(dim=1).argsort(dim=1)
    return ((rank < k) & (pre > 0)).double() * pre


def kept_by_batch(pre: torch.Tensor, k: int) -> torch.Tensor:
    rank = (-pre).flatten().argsort().argsort().reshape(pre.shape)
    return ((rank < k * len(pre)) & (pre > 0)).double() * pre


def reference(sae: SAE, x: torch.Tensor, p: float) -> torch.Tensor:
    """The loss written out again, differentiable by autograd (all but jumprelu's thresholds)."""
    c, r = sae.config, x.shape[1]
    shift = {"tied": -sae.decoder_bias, "none": 0.0, "free": sae.input_bias}[c.pre_bias]
    pre = (x + shift) @ sae.encoder.T + sae.encoder_bias
    if c.activation == "gated":
        part = sae.activation
        codes = (pre > 0) * torch.clamp(torch.exp(part.log_gain) * pre + part.magnitude_bias, min=0)
    elif c.activation == "jumprelu":
        codes = pre * (pre > sae.activation.log_threshold.exp()).double()
    elif c.activation == "topk":
        codes = kept_by_cell(pre, c.k)
    elif c.activation == "batchtopk":
        codes = kept_by_batch(pre, c.k)
    else:
        codes = torch.clamp(pre, min=0)
    loss = 0.0
    for m in (*c.matryoshka, c.width):
        loss += ((x - codes[:, :m] @ sae.decoder[:m] - sae.decoder_bias) ** 2).mean() / (len(c.matryoshka) + 1)
    if c.activation == "gated":
        frozen = torch.clamp(pre, min=0) @ sae.decoder.detach() + sae.decoder_bias.detach()
        loss = loss + ((x - frozen) ** 2).mean()
    if c.activation == "jumprelu":
        l0 = (codes > 0).double().sum(1).mean()
        return loss + (c.l0_weight * (l0 / c.k - 1) ** 2 if c.k else c.l0_weight * l0)
    pressed = torch.clamp(pre, min=0) if c.activation == "gated" else codes
    if c.penalty_reduction == "mean":
        return loss + c.l1_weight * pressed.mean()
    weighted = pressed * sae.decoder.norm(dim=1) / math.sqrt(r)
    strength = weighted.sum(1).mean()
    if p != 1:
        powered = weighted[weighted > 0] ** p
        strength = powered.sum() / len(x) * (strength / (powered.sum() / len(x))).detach()
    return loss + c.l1_weight * strength


@pytest.mark.parametrize("name", VARIANTS)
def test_loss_and_gradient_are_the_reference(name: str) -> None:
    cfg = VARIANTS[name]
    p = 0.6 if cfg.p_end else 1.0
    sae = random_sae(cfg)
    x = batch(sae)
    expected = reference(sae, x, p)
    smooth = [n for n, _ in sae.named_parameters() if "threshold" not in n]
    wanted = dict(zip(smooth, torch.autograd.grad(expected, [sae.get_parameter(n) for n in smooth]), strict=True))
    loss = objective(sae, x, p=p)
    loss.total.backward()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(loss.total, loss.reconstruction + loss.penalty)
    for n in smooth:
        torch.testing.assert_close(sae.get_parameter(n).grad, wanted[n], msg=lambda m, n=n: f"{n}: {m}")
        assert float(wanted[n].abs().max()) > 0, f"{n} is not tried by this case"


@pytest.mark.parametrize("name", ["jumprelu", "jumprelu-l0"])
def test_jumprelu_threshold_gradient_is_the_kernel_estimate(name: str) -> None:
    """d/d log t of loss = t * sum over cells near t of -(t dL/dcode + dPenalty/dL0 / cells) / bandwidth."""
    cfg = VARIANTS[name]
    sae = random_sae(cfg)
    with torch.no_grad():
        sae.activation.log_threshold.add_(1.5)
    x = batch(sae)
    objective(sae, x).total.backward()
    with torch.no_grad():
        t = sae.activation.log_threshold.exp()
        h = cfg.bandwidth or math.sqrt(x.shape[1]) / 8
        pre = (x - sae.decoder_bias) @ sae.encoder.T + sae.encoder_bias
        codes = pre * (pre > t)
        by_code = -2 / x.numel() * (x - codes @ sae.decoder - sae.decoder_bias) @ sae.decoder.T
        l0 = (codes > 0).double().sum(1).mean()
        by_l0 = cfg.l0_weight * (1 if cfg.k is None else 2 * (l0 / cfg.k - 1) / cfg.k)
        near = ((pre - t).abs() < h / 2).double()
        wanted = t * (-near * (t * by_code + by_l0 / len(x)) / h).sum(0)
    assert float(wanted.abs().max()) > 0
    torch.testing.assert_close(sae.activation.log_threshold.grad, wanted)


def test_the_auxiliary_loss_of_a_residual_of_nothing_stays_small() -> None:
    sae = random_sae(VARIANTS["topk"])
    x = batch(sae)
    dead = torch.ones(sae.width, dtype=torch.bool)
    nothing = 1e-9 * torch.randn_like(x)
    with torch.no_grad():
        pre, unit = sae.pre_activations(x), float(x.square().mean())
        error = float(auxiliary_loss(sae, pre, nothing, dead, unit)) * unit  # the error itself, in squares
        loss = float(auxiliary_loss(sae, pre, nothing, dead, LEAST_RESIDUAL * unit))
    assert loss == pytest.approx(error / (LEAST_RESIDUAL * unit), rel=1e-6)


def test_auxiliary_loss_is_the_reference_and_moves_only_dead_features() -> None:
    sae = random_sae(VARIANTS["topk"])
    x = batch(sae)
    dead = torch.zeros(sae.width, dtype=torch.bool)
    dead[[2, 5, 6, 9]] = True
    residual = x - sae.reconstruct(sae.activation(sae.pre_activations(x)))
    loss = auxiliary_loss(sae, sae.pre_activations(x), residual, dead)
    loss.backward()
    with torch.no_grad():
        pre = sae.pre_activations(x)[:, dead]
        error = residual - kept_by_cell(pre, 2) @ sae.decoder[dead]  # aux_k defaults to half of 5 dimensions
        wanted = (error**2).mean() / (residual**2).mean()
    torch.testing.assert_close(loss.detach(), wanted)
    assert not sae.decoder.grad[~dead].any()
    assert not sae.encoder.grad[~dead].any()
    assert sae.decoder.grad[dead].any()
    # The gradient stops at the residual: a feature's own decoder row moves by its part in the dead reconstruction alone.
    with torch.no_grad():
        codes = kept_by_cell(pre, 2)
        by_hand = -2 * codes.T @ error / error.numel() / (residual**2).mean()
    torch.testing.assert_close(sae.decoder.grad[dead], by_hand)


def test_auxiliary_loss_joins_the_total_with_its_weight() -> None:
    sae = random_sae(VARIANTS["batchtopk"])
    x = batch(sae)
    dead = torch.arange(sae.width) < 4
    with_dead, without = objective(sae, x, dead), objective(sae, x, torch.zeros_like(dead))
    assert without.auxiliary.item() == 0
    assert with_dead.auxiliary.item() > 0
    torch.testing.assert_close(with_dead.total, without.total + with_dead.auxiliary)


def test_published_loss_by_hand() -> None:
    """Two cells, two features, numbers small enough for paper: vanilla's loss is MSE + l1 * mean activation."""
    cfg = VARIANTS["paper-vanilla"]
    sae = random_sae(type(cfg).paper("vanilla", 2, l1=0.5), d=2)
    with torch.no_grad():
        sae.encoder.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        sae.decoder.copy_(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
        sae.encoder_bias.copy_(torch.tensor([0.0, 1.0]))
        sae.decoder_bias.copy_(torch.tensor([0.0, 0.5]))
    x = torch.tensor([[1.0, 2.0], [3.0, 0.0]], dtype=torch.float64)
    # codes [[1, 0], [3, 1]]; reconstructions [[2, 0.5], [6, 1.5]]; squared errors 1, 2.25, 9, 2.25; mean code 5 / 4
    assert objective(sae, x).total.item() == pytest.approx(14.5 / 4 + 0.5 * 5 / 4)


def test_p_annealing_keeps_the_strength_and_presses_small_codes_harder() -> None:
    sae = random_sae(VARIANTS["relu-p"])
    x = batch(sae)
    plain, annealed = objective(sae, x, p=1.0), objective(sae, x, p=0.5)
    torch.testing.assert_close(plain.penalty, annealed.penalty)
    slope = [
        torch.autograd.grad(o.penalty, o.codes, retain_graph=True)[0] / sae.decoder.detach().norm(dim=1)
        for o in (plain, annealed)
    ]
    codes = plain.codes.detach()
    small = (codes > 0) & (codes < torch.quantile(codes[codes > 0], 0.1))
    large = codes > torch.quantile(codes[codes > 0], 0.9)
    assert float(slope[1][small].min()) > float(slope[0][small].max())
    assert float(slope[1][large].max()) < float(slope[0][large].min())


def test_mse_is_numpys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 7, 3))
    assert float(mse(torch.as_tensor(a), torch.as_tensor(b))) == pytest.approx(((a - b) ** 2).mean())
