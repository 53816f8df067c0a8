"""Which way trains what, row by row."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding

from cellprism.errors import InputError
from cellprism.sae import SAE, SAEConfig
from cellprism.sae.cells import Cells
from cellprism.sae.dead import FiringClock
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.steps.table import EPOCHS, STEPS, choose_epoch, choose_step
from cellprism.sae.steps.way import Setting
from cellprism.sae.training import TrainingOptions


def setting(cfg: SAEConfig, d: int, memory: float = np.inf, **options: object) -> Setting:
    X = embedding(64, d=d)
    sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
    cells = Cells(sae, X, np.arange(64), memory)
    clock = FiringClock(sae.width, cells.device)
    return Setting(sae, torch.optim.Adam(sae.parameters()), TrainingOptions(**options), cells, clock, 32)


def named(rows: tuple, s: Setting) -> str | None:
    return next((row.name for row in rows if row.serves(s)), None)


W = 80
RELU, TOPK = SAEConfig(W, "relu", l1=0.1), SAEConfig(W, "topk", k=3)
HALF, BATCH = SAEConfig(W, "topk", k=40), SAEConfig(W, "batchtopk", k=3)
PREFIXES = SAEConfig(W, "batchtopk", k=3, matryoshka=(20, 40))
JUMP, GATED = SAEConfig(W, "jumprelu", k=3), SAEConfig(W, "gated", l1=0.2)
PUBLISHED = SAEConfig.paper("topk", W, l1=0.1, k_percent=25)


@pytest.mark.parametrize(
    ("cfg", "d", "options", "step", "epoch"),
    [
        (RELU, 4, {}, "products", "narrow"),
        (RELU, 5, {}, "products", "fused"),
        (RELU, 32, {}, "products", "fused"),
        (RELU, 33, {}, "products", None),
        (dataclasses.replace(RELU, width=63), 33, {}, "dense", None),
        (dataclasses.replace(RELU, p_end=0.5), 4, {}, "dense", None),
        (RELU, 4, {"kernel": "sparse"}, "sparse", None),
        (RELU, 4, {"kernel": "dense"}, "dense", None),
        (TOPK, 64, {"precision": "float32"}, "sparse", "coded"),
        (TOPK, 65, {"precision": "float32"}, "sparse", None),
        (TOPK, 65, {"precision": "bfloat16"}, "sparse, bfloat16", None),
        (TOPK, 65, {}, "sparse", None),
        (HALF, 70, {"precision": "bfloat16"}, "products", None),
        (HALF, 70, {"kernel": "sparse", "precision": "bfloat16"}, "sparse, bfloat16", None),
        (PUBLISHED, 4, {}, "products", "narrow"),
        (HALF, 1, {}, "products", "coded"),
        (BATCH, 70, {"precision": "bfloat16"}, "sparse", None),
        (BATCH, 64, {}, "sparse", "coded"),
        (PREFIXES, 20, {}, "sparse", "coded"),
        (dataclasses.replace(JUMP, matryoshka=(20,)), 70, {}, "dense", None),
        (JUMP, 64, {}, "jumps", None),
        (JUMP, 63, {}, "sparse", None),
        (dataclasses.replace(JUMP, width=63), 64, {}, "dense", None),
        (dataclasses.replace(JUMP, width=63), 64, {"kernel": "sparse"}, "jumps", None),
        (GATED, 20, {}, "sparse", None),
    ],
    ids=str,
)
def test_the_first_row_that_serves(cfg: SAEConfig, d: int, options: dict, step: str, epoch: str | None) -> None:
    s = setting(cfg, d, **options)
    assert (named(STEPS, s), named(EPOCHS, s)) == (step, epoch)
    assert (choose_epoch(s) is None) == (epoch is None)


def test_triton_refuses_rather_than_falls_back() -> None:
    s = setting(RELU, 4, kernel="triton")
    assert named(STEPS, s) == "triton"
    with pytest.raises(InputError, match="ernel 'triton' knows"):
        choose_step(s)


def test_cells_that_are_read_batch_by_batch_have_no_whole_epochs() -> None:
    s = setting(TOPK, 20, memory=0)
    assert named(EPOCHS, s) == "coded"
    assert choose_epoch(s) is None


@pytest.mark.parametrize("kernel", ["auto", "dense", "sparse"])
@pytest.mark.parametrize("d", [4, 20, 70])
@pytest.mark.parametrize("name", VARIANTS)
def test_errors_are_those_of_the_model(name: str, d: int, kernel: str) -> None:
    """Whatever way trains it, and however many codes are active."""
    config = VARIANTS[name]
    s = setting(
        dataclasses.replace(config, width=W, matryoshka=(20, 40) if config.matryoshka else ()), d, kernel=kernel
    )
    x = s.cells.all()
    with torch.no_grad():
        codes = s.sae.activation(s.sae.pre_activations(x))
        expected = float((x - s.sae.reconstruct(codes)).square().sum()), float((codes > 0).sum())
    np.testing.assert_allclose(choose_step(s).errors(x), expected, rtol=1e-4)


@pytest.mark.parametrize("cfg", [RELU, HALF, BATCH, PREFIXES, JUMP, GATED, PUBLISHED], ids=str)
@pytest.mark.parametrize("d", [4, 20, 70])
def test_ways_go_on_from_their_state(cfg: SAEConfig, d: int) -> None:
    """A state that is given to another way of the same kind and taken back is the same, and no two names meet."""
    ours, theirs = setting(cfg, d), setting(cfg, d)
    for choose in (choose_step, choose_epoch):
        way, twin = choose(ours), choose(theirs)
        if way is None or twin is None:
            assert way is twin is None
            continue
        if choose is choose_step:
            way(ours.cells.all(), None, 1.0, 1e-3)
        else:
            way(torch.arange(64), np.full(2, 1e-3))
        saved = way.state()
        twin.restore(saved)
        again = twin.state()
        assert again.numbers == saved.numbers
        assert again.tensors.keys() == saved.tensors.keys()
        for key, tensor in saved.tensors.items():
            torch.testing.assert_close(again.tensors[key], tensor, rtol=0, atol=0)
    step, epoch = choose_step(ours).state(), choose_epoch(ours)
    if epoch is not None:
        assert not {*step.numbers, *step.tensors} & {*epoch.state().numbers, *epoch.state().tensors}


@pytest.mark.parametrize("cfg", [RELU, TOPK, BATCH, JUMP, GATED])
def test_several_processes_take_the_dense_step(cfg: SAEConfig) -> None:
    class Several:
        alone = False

    s = setting(cfg, 4)
    s.sae.ranks = Several()
    assert (named(STEPS, s), named(EPOCHS, s)) == ("dense", None)
