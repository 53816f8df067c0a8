"""The sparse step against the dense one, which is the oracle."""

import dataclasses

import numpy as np
import pytest
import torch
from sae.cases import embedding, off_the_edge

from cellprism.sae import SAE, SAEConfig, fit
from cellprism.sae.cells import Cells
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.start import start_from_data
from cellprism.sae.steps.coded.epoch import CodedEpoch
from cellprism.sae.steps.dense import DenseStep
from cellprism.sae.steps.sparse.step import SparseStep, takes_sparse_step
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions

W, D = 150, 20
CASES = {
    "topk": SAEConfig(W, "topk", k=5),
    "topk-free": SAEConfig(W, "topk", k=5, unit_norm=False, pre_bias="free"),
    "batchtopk": SAEConfig(W, "batchtopk", k=5),
    "relu": SAEConfig(W, "relu", l1=0.2),
    "relu-norms": SAEConfig(W, "relu", l1=0.2, unit_norm=False, pre_bias="none"),
    "jumprelu": SAEConfig(W, "jumprelu", k=5),
    "jumprelu-free": SAEConfig(W, "jumprelu", l0=0.1, bandwidth=0.6, unit_norm=False, pre_bias="free"),
    "gated": SAEConfig(W, "gated", l1=0.2),
    "gated-free": SAEConfig(W, "gated", l1=0.2, unit_norm=False, pre_bias="free"),
    "topk, prefix": SAEConfig(W, "topk", k=5, matryoshka=(30,)),
    "topk-free, prefixes": SAEConfig(W, "topk", k=5, matryoshka=(20, 60), unit_norm=False, pre_bias="free"),
    "batchtopk, prefix": SAEConfig(W, "batchtopk", k=5, matryoshka=(30,), unit_norm=False, pre_bias="none"),
    "batchtopk, prefixes": SAEConfig(W, "batchtopk", k=5, matryoshka=(20, 60)),
    "batchtopk-free, prefixes": SAEConfig(W, "batchtopk", k=5, matryoshka=(20, 60), pre_bias="free"),
    "relu, prefixes": SAEConfig(W, "relu", l1=0.2, matryoshka=(20, 60)),
    "relu-norms, prefix": SAEConfig(W, "relu", l1=0.2, matryoshka=(30,), unit_norm=False, pre_bias="none"),
    "paper-vanilla": SAEConfig.paper("vanilla", W, l1=1.0),
    "paper-relu": SAEConfig.paper("relu", W, l1=1.0),
    "paper-topk": SAEConfig.paper("topk", W, l1=1.0, k_percent=4),
    "paper-topk, prefixes": SAEConfig.paper("topk", W, l1=1.0, k_percent=4, matryoshka=(20, 60)),
}


@pytest.mark.parametrize("dead", [False, True])
@pytest.mark.parametrize("clip", [None, 0.01])
@pytest.mark.parametrize("name", CASES)
def test_steps_are_those_of_the_dense_path(name: str, clip: float | None, dead: bool) -> None:
    cfg = dataclasses.replace(CASES[name], aux_weight=1 / 4)
    X = embedding(800, d=D)
    options = TrainingOptions(max_grad_norm=clip)
    models, steps = [], []
    for kind in (DenseStep, SparseStep):
        sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
        models.append(sae)
        start_from_data(sae, sae.scale(torch.as_tensor(X)))
        off_the_edge(sae)
        steps.append(kind(sae, torch.optim.Adam(sae.parameters()), options))
    x = models[0].scale(torch.as_tensor(X))
    silent = torch.arange(W) % 3 == 0 if dead else None
    for i in range(4):
        a, b = (step(x[200 * i : 200 * (i + 1)], silent, 1.0, 3e-3) for step in steps)
        np.testing.assert_allclose(a[:4], b[:4], rtol=2e-5, atol=1e-7)
        assert (a.fired != b.fired).sum() <= 1  # a pre-activation within rounding of the edge
    for (n, p), q in zip(models[0].state_dict().items(), models[1].state_dict().values(), strict=True):
        # Adam divides by the gradient's size, so rounding shows where a gradient is all but 0.
        assert (p - q).abs().median() < 1e-6, n
        assert (p - q).abs().max() < 5e-3, n


@pytest.mark.parametrize(
    "name",
    [
        "topk",
        "batchtopk",
        "relu",
        pytest.param("jumprelu", marks=pytest.mark.slow),
        "gated",
        "topk, prefix",
        "batchtopk, prefixes",
    ],
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_ends_where_the_dense_one_does(name: str, precision: str) -> None:
    X = embedding(800, d=D)
    results = [
        fit(X, CASES[name], epochs=25, batch_size=100, kernel=kernel, precision=precision, patience=None)
        for kernel in ("dense", "sparse")
    ]
    ev = [r.history["explained_variance"].to_numpy() for r in results]
    assert np.median(np.abs(ev[0] - ev[1])) < 0.002
    # jumprelu's codes jump: one that rounding moves over its threshold turns the rest of the training a little
    assert abs(ev[0][-1] - ev[1][-1]) < (0.005 if name == "jumprelu" else 0.002)
    assert ev[0][-1] > 0.3
    assert results[1].metrics["l0"] == pytest.approx(results[0].metrics["l0"], rel=0.02)


@pytest.mark.parametrize("name", ["topk", "topk, prefix", "batchtopk, prefixes"])
def test_threads_do_not_change_the_bits(name: str) -> None:
    X = embedding(400, d=D)
    weights = []
    for threads in (1, 2, 3):
        cfg = CASES[name]
        sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
        step = SparseStep(sae, torch.optim.Adam(sae.parameters()), TrainingOptions(), threads=threads)
        x = sae.scale(torch.as_tensor(X))
        for _ in range(3):
            step(x, torch.arange(W) < 40, 1.0, 1e-3)
        weights.append(torch.cat([p.detach().flatten() for p in sae.parameters()]).numpy())
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], weights[2])


@pytest.mark.parametrize("name", CASES)
def test_errors_are_those_of_inference(name: str) -> None:
    X = embedding(300, d=D)
    sae = fit(X, CASES[name], epochs=4, batch_size=100).sae
    x = sae.scale(torch.as_tensor(X))
    with torch.no_grad():
        codes = sae.activation(sae.pre_activations(x))
        expected = float((x - sae.reconstruct(codes)).square().sum()), float((codes > 0).sum())
    found = SparseStep(sae, torch.optim.Adam(sae.parameters()), TrainingOptions()).errors(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_batch_with_many_active_codes_takes_the_dense_step() -> None:
    cfg = SAEConfig(W, "gated", l1=0.2, start_active=None)
    X = embedding(400, d=D)
    sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
    twin = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
    x = sae.scale(torch.as_tensor(X))
    assert (sae.pre_activations(x) > 0).float().mean() > 0.4
    for kind, model in ((SparseStep, sae), (DenseStep, twin)):
        kind(model, torch.optim.Adam(model.parameters()), TrainingOptions())(x, None, 1.0, 1e-3)
    for p, q in zip(sae.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["topk", "batchtopk"])
def test_prefixes_may_add_no_code_to_those_of_narrower_ones(name: str) -> None:
    cfg = SAEConfig(W, name, k=5, matryoshka=(1, 20, 60))
    X = embedding(400, d=D)
    models = [SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0)) for _ in range(2)]
    for kind, sae in zip((DenseStep, SparseStep), models, strict=True):
        with torch.no_grad():
            sae.encoder_bias[0] = sae.encoder_bias[20:60] = -1e3
        step = kind(sae, torch.optim.Adam(sae.parameters()), TrainingOptions())
        for _ in range(3):
            result = step(sae.scale(torch.as_tensor(X)), None, 1.0, 1e-3)
        assert not result.fired[0]
        assert not result.fired[20:60].any()
    for p, q in zip(*(sae.parameters() for sae in models), strict=True):
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_what_the_sparse_step_knows() -> None:
    for cfg in (SAEConfig(8, "topk", k=2), SAEConfig(8, k=2, matryoshka=(4,))):
        assert takes_sparse_step(cfg)
    for cfg in (SAEConfig(8, "gated", p_end=0.5), SAEConfig(8, "jumprelu", k=2, matryoshka=(4,))):
        assert not takes_sparse_step(cfg)


@pytest.mark.parametrize("prefixes", [(), (20, 60)])
def test_trainings_take_the_sparse_step_by_themselves_and_up_to_64_dimensions_coded_epochs(
    prefixes: tuple[int, ...],
) -> None:
    for d, width, step, coded in ((65, W, SparseStep, False), (65, 63, DenseStep, False), (64, W, SparseStep, True)):
        X = embedding(200, d=d)
        for name in ("topk", "batchtopk"):
            cfg = SAEConfig(width, name, k=3, matryoshka=prefixes)
            sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
            cells, none = (Cells(sae, X, np.arange(n)) for n in (len(X), 0))
            trainer = Trainer(sae, cells, none, TrainingOptions(), torch.Generator(), 0)
            assert type(trainer.step) is step
            assert isinstance(trainer.whole_epoch, CodedEpoch) is coded
