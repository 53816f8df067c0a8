"""The step of jumprelu with many pre-activations near their thresholds, against the dense one."""

import dataclasses

import numpy as np
import pytest
import torch
from sae.cases import embedding, off_the_edge

from cellprism.sae import SAE, SAEConfig, fit
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.start import start_from_data
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.steps.sparse.jumps import JumpStep, takes_jump_step
from cellprism.sae.training import TrainingOptions

W, D = 150, 20
WIDE = 6.0  # a kernel's width in which most of the pre-activations lie
CASES = {
    "k": SAEConfig(W, "jumprelu", k=5, bandwidth=WIDE),
    "l0-free": SAEConfig(W, "jumprelu", l0=0.1, bandwidth=WIDE, unit_norm=False, pre_bias="free"),
    "no-bias": SAEConfig(W, "jumprelu", k=5, bandwidth=WIDE, pre_bias="none"),
}


def started(cfg: SAEConfig, X: np.ndarray, kind: type, options: TrainingOptions) -> tuple[SAE, DenseStep | JumpStep]:
    sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
    start_from_data(sae, sae.scale(torch.as_tensor(X)))
    off_the_edge(sae)
    return sae, kind(sae, torch.optim.Adam(sae.parameters()), options)


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_dense_path(name: str, clip: float | None, dead: bool) -> None:
    cfg = dataclasses.replace(CASES[name], aux_weight=1 / 4)
    X, options = embedding(800, d=D), TrainingOptions(max_grad_norm=clip)
    (dense, dense_step), (sae, step) = (started(cfg, X, kind, options) for kind in (DenseStep, JumpStep))
    x = dense.scale(torch.as_tensor(X))
    silent = torch.arange(W) % 3 == 0 if dead else None
    for i in range(4):
        a, b = (s(x[200 * i : 200 * (i + 1)], silent, 1.0, 3e-3) for s in (dense_step, step))
        assert isinstance(step, JumpStep)
        assert step.many
        np.testing.assert_allclose(a[:4], b[:4], rtol=2e-5, atol=1e-7)
        assert (a.fired != b.fired).sum() <= 1
    for (n, p), q in zip(dense.state_dict().items(), sae.state_dict().values(), strict=True):
        assert (p - q).abs().median() < 1e-6, n
        assert (p - q).abs().max() < 5e-3, n


def test_narrow_kernels_take_the_sparse_step_and_dense_codes_the_dense_one() -> None:
    X = embedding(400, d=D)
    x = torch.as_tensor(X)
    for bandwidth, start_active, many in ((0.1, 0.05, False), (WIDE, 0.05, True), (WIDE, 0.6, False)):
        cfg = SAEConfig(W, "jumprelu", k=5, bandwidth=bandwidth, start_active=start_active)
        (dense, dense_step), (sae, step) = (started(cfg, X, kind, TrainingOptions()) for kind in (DenseStep, JumpStep))
        a, b = (s(model.scale(x), None, 1.0, 1e-3) for model, s in ((dense, dense_step), (sae, step)))
        assert isinstance(step, JumpStep)
        assert step.many is many
        np.testing.assert_allclose(a[:4], b[:4], rtol=2e-5, atol=1e-7)


def test_threads_do_not_change_the_bits() -> None:
    X = embedding(800, d=D)
    found = []
    for threads in (1, 2):
        sae, _ = started(CASES["k"], X, JumpStep, TrainingOptions())
        step = JumpStep(sae, torch.optim.Adam(sae.parameters()), TrainingOptions(), threads=threads)
        for i in range(3):
            step(sae.scale(torch.as_tensor(X[200 * i : 200 * (i + 1)])), None, 1.0, 3e-3)
        assert step.many
        found.append(torch.cat([p.detach().flatten() for p in sae.parameters()]))
    assert torch.equal(*found)


def test_training_ends_where_the_dense_one_does() -> None:
    X = embedding(1500, d=64)
    assert takes_jump_step(CASES["k"], 64)
    assert not takes_jump_step(CASES["k"], D)
    ends = [
        fit(X, CASES["k"], epochs=25, batch_size=100, kernel=kernel, patience=None).metrics["explained_variance"]
        for kernel in ("dense", "sparse")
    ]
    assert abs(ends[0] - ends[1]) < 0.005
