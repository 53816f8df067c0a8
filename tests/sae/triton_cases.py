"""The Triton step against the dense one, on a GPU or in Triton's interpreter; ``test_triton`` runs this file by itself."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sae.cases import embedding

from cellprism.sae import SAE, DivergedError, SAEConfig, fit
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.start import start_from_data
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.steps.triton.step import Tiles, TritonStep, interpreted
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions

DEVICE = "cpu" if interpreted() else "cuda"
W, D, N = 18, 12, 6
TOPK = SAEConfig(W, "topk", k=3, aux_weight=1 / 4)
# tiles so small that every loop runs more than once
SMALL = Tiles(groups=8, decode_chunk=8, decode_numbers=32, gradient_slots=2, gradient_chunk=8)
CASES = {
    "topk": (TOPK, {}),
    "topk, small tiles": (TOPK, {"tiles": SMALL}),
    "topk, free bias, no norm": (dataclasses.replace(TOPK, unit_norm=False, pre_bias="free"), {}),
    "topk, no input bias": (dataclasses.replace(TOPK, pre_bias="none"), {}),
    "one": (dataclasses.replace(TOPK, k=1, aux_k=1), {}),
    "all": (dataclasses.replace(TOPK, k=W), {}),
    "batchtopk": (SAEConfig(W, "batchtopk", k=3, aux_weight=1 / 4), {}),
    "batchtopk, small tiles": (SAEConfig(W, "batchtopk", k=3, aux_weight=1 / 4), {"tiles": SMALL}),
}


def pair(cfg: SAEConfig, cells: int = 200, limit: float | None = None, **more: object) -> tuple[list, torch.Tensor]:
    """Twins with their dense and their Triton step, and cells."""
    X = embedding(cells, d=D)
    twins = []
    for kind in (DenseStep, TritonStep):
        sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0)).to(DEVICE)
        start_from_data(sae, sae.scale(torch.as_tensor(X, device=DEVICE)))
        off = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for p in sae.parameters():  # so that no gradient is 0 but for rounding
                p.add_((0.1 * torch.randn(p.shape, generator=off)).to(DEVICE))
        arguments = more if kind is TritonStep else {}
        optimiser, options = torch.optim.Adam(sae.parameters()), TrainingOptions(max_grad_norm=limit)
        twins.append((sae, kind(sae, optimiser, options, **arguments)))
    return twins, twins[0][0].scale(torch.as_tensor(X, device=DEVICE))


def state(sae: SAE) -> dict[str, np.ndarray]:
    return {name: t.detach().cpu().numpy() for name, t in sae.state_dict().items()}


@pytest.mark.parametrize(("limit", "dead"), [(None, False), (0.01, True)])
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_dense_path(name: str, limit: float | None, dead: bool) -> None:
    cfg, more = CASES[name]
    (dense, triton), x = pair(cfg, limit=limit, **more)
    silent = torch.arange(W, device=DEVICE) % 3 == 0 if dead else None
    for i in range(2):
        a, b = (step(x[N * i : N * (i + 1)], silent, 1.0, 3e-3) for _, step in (dense, triton))
        found = (b.total, b.reconstruction, b.penalty, b.auxiliary)
        np.testing.assert_allclose(found, a[:4], rtol=2e-5, atol=1e-7)
        assert (a.fired != b.fired).sum() <= 1  # a pre-activation within rounding of the edge
    if name == "one" and not dead:
        assert not a.fired.all()  # features without an entry
    for (n, p), q in zip(state(dense[0]).items(), state(triton[0]).values(), strict=True):
        # Adam divides by the gradient's size, so rounding shows where a gradient is all but 0.
        assert np.median(np.abs(p - q)) < 1e-6, n
        assert np.abs(p - q).max() < 5e-3, n
    for p, q in zip(dense[0].parameters(), triton[0].parameters(), strict=True):
        for moment in ("exp_avg", "exp_avg_sq"):
            a, b = dense[1].optimiser.state[p][moment], triton[1].optimiser.state[q][moment]
            np.testing.assert_allclose(b.cpu(), a.cpu(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["topk", "batchtopk"])
def test_a_batch_of_one(name: str) -> None:
    (dense, triton), x = pair(CASES[name][0])
    for _, step in (dense, triton):
        step(x[:1], None, 1.0, 3e-3)
    for (n, p), q in zip(state(dense[0]).items(), state(triton[0]).values(), strict=True):
        np.testing.assert_allclose(q, p, atol=2e-5, err_msg=n)


@pytest.mark.parametrize("name", ["topk", "batchtopk"])
def test_bfloat16_stays_near(name: str) -> None:
    (dense, triton), x = pair(CASES[name][0], bf16=True)
    silent = torch.arange(W, device=DEVICE) < 8
    for i in range(2):
        a, b = (step(x[N * i : N * (i + 1)], silent, 1.0, 1e-3) for _, step in (dense, triton))
        assert b.reconstruction == pytest.approx(a.reconstruction, rel=0.03)
        assert b.auxiliary == pytest.approx(a.auxiliary, rel=0.05)
    for (n, p), q in zip(state(dense[0]).items(), state(triton[0]).values(), strict=True):
        assert np.abs(p - q).max() < 0.02, n
    # the copies that are multiplied follow the parameters, whoever changes them
    sae, step = triton
    with torch.no_grad():
        sae.encoder[3] += 1
    for name_, p in (("encoder", sae.encoder), ("decoder", sae.decoder)):
        assert torch.equal(step._rounded(name_), p.detach().bfloat16())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("tiles", [Tiles(), SMALL])
@pytest.mark.parametrize("k", [1, 3, W])
def test_the_largest_are_found_whatever_the_values(k: int, tiles: Tiles, bf16: bool) -> None:
    (_, (_, step)), _ = pair(dataclasses.replace(TOPK, k=k), bf16=bf16, tiles=tiles)
    rows = torch.randn(9, W, generator=torch.Generator().manual_seed(k))
    rows[1] = 0.5  # ties
    rows[2] = -1.0  # nothing
    rows[3, ::2] = 0.25
    rows[4, :] = torch.arange(W) % 5
    rows[5, 7] = math.inf
    rows[6, :] = -rows[6].abs()
    rows[6, 11] = 1e-30
    rows[7] = -0.0
    pre = rows.to(DEVICE, step.low)
    codes = step._topk(pre, k)
    feature, value = codes.feature.view(9, k).cpu(), codes.value.view(9, k).cpu()
    exact = pre.float().cpu()
    expected = torch.relu(exact).topk(k).values
    assert torch.equal(value.sort(descending=True).values, expected)
    for b in range(9):
        live = feature[b] < W
        assert torch.equal(exact[b, feature[b, live]], value[b, live])
        assert len(set(feature[b, live].tolist())) == int(live.sum()) == int((expected[b] > 0).sum())
    assert feature[1].tolist() == list(range(k))  # the first of equal ones


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_many_equal_values_and_nan(sign: float) -> None:
    cfg = SAEConfig(300, "topk", k=2)
    (_, (_, step)), _ = pair(cfg)
    pre = torch.full((2, 300), 0.5, device=DEVICE)  # more candidates than there is room for
    pre[0, 250] = 0.75
    pre[1, 123] = math.copysign(1.0, sign) * math.nan
    codes = step._topk(pre, 2)
    assert codes.feature.view(2, 2)[0].tolist() == [0, 250]
    assert codes.feature.view(2, 2)[1].tolist() == [0, 123]
    assert math.isnan(codes.value[3])


def test_a_run_repeats_itself() -> None:
    weights = []
    for _ in range(2):
        (_, (sae, step)), x = pair(CASES["batchtopk"][0], limit=1.0)
        for i in range(2):
            step(x[N * i : N * (i + 1)], torch.arange(W, device=DEVICE) < 6, 1.0, 1e-3)
        weights.append(state(sae))
    for name, first in weights[0].items():
        np.testing.assert_array_equal(first, weights[1][name])


OPTIONS = {"batch_size": 12, "epochs": 2, "patience": None, "lr": 1e-2, "device": DEVICE}


@pytest.mark.parametrize("activation", ["topk", "batchtopk"])
def test_training_ends_where_the_dense_one_does(activation: str) -> None:
    cfg = SAEConfig(2 * W, activation, k=1, dead_after=1, aux_k=2)
    X = embedding(40, d=D)
    dense, triton = (fit(X, cfg, kernel=kernel, **OPTIONS) for kernel in ("dense", "triton"))
    ev = [r.history["explained_variance"].to_numpy() for r in (dense, triton)]
    np.testing.assert_allclose(ev[1], ev[0], atol=2e-3)
    np.testing.assert_allclose(triton.history["loss"], dense.history["loss"], rtol=2e-3)
    assert triton.history["auxiliary"].gt(0).any()
    assert triton.metrics["l0"] == pytest.approx(dense.metrics["l0"], rel=0.02)


class Killed(Exception):
    pass


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_killed_and_resumed_is_never_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    X = embedding(40, d=D)
    cfg = SAEConfig(W, "topk", k=1, dead_after=1, aux_k=2)
    options = {**OPTIONS, "kernel": "triton", "precision": precision, "checkpoint_every": 2}
    whole = fit(X, cfg, **options)
    check = Trainer._check_loss

    def kill(self: Trainer) -> None:
        check(self)
        if self.done >= 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_check_loss", kill)
        with pytest.raises(Killed):
            fit(X, cfg, checkpoint=tmp_path, **options)
    resumed = fit(X, cfg, checkpoint=tmp_path, **options)
    for name, p in state(whole.sae).items():
        np.testing.assert_array_equal(state(resumed.sae)[name], p)
    pd.testing.assert_frame_equal(resumed.history, whole.history)


def test_divergence_is_told() -> None:
    # numpy, on which the interpreter computes, warns of what a GPU does in silence
    with np.errstate(all="ignore"), pytest.raises(DivergedError, match="at step"):
        fit(embedding(40, d=D), SAEConfig(W, "topk", k=3, unit_norm=False), kernel="triton", **{**OPTIONS, "lr": 1e12})
