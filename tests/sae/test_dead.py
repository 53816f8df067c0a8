import dataclasses

import numpy as np
import pytest
import torch
from sae.cases import VARIANTS, embedding

from cellprism.sae import SAE, SAEConfig
from cellprism.sae.activation import JumpReLU
from cellprism.sae.cells import Cells
from cellprism.sae.dead import FiringClock, resample_dead
from cellprism.sae.scaling import fit_scaling
from cellprism.sae.trainer import Trainer
from cellprism.sae.training import TrainingOptions

KILLED = slice(0, 36)


def test_clock_counts_cells_since_the_last_firing() -> None:
    clock = FiringClock(3, torch.device("cpu"))
    clock.tick(2, torch.tensor([True, False, False]))
    clock.tick(1, torch.tensor([False, True, False]))
    assert clock.silent.tolist() == [1, 0, 3]
    assert clock.dead(3).tolist() == [False, False, True]


def n_dead_after_training(cfg: SAEConfig) -> tuple[int, SAE]:
    """Training of a model most of whose features start with hardly a chance to fire, on cells that need them all."""
    X = embedding(1200, d=16)
    sae = SAE(cfg, fit_scaling(X, cfg.scaling), torch.Generator().manual_seed(0))
    cells, none = Cells(sae, X, np.arange(1200)), Cells(sae, X, np.arange(0))
    options = TrainingOptions(epochs=40, batch_size=100, lr=1e-2)
    trainer = Trainer(sae, cells, none, options, torch.Generator().manual_seed(0), 0)
    with torch.no_grad():
        sae.encoder[KILLED] *= 0.01
        if cfg.resample_every:  # no gradient reaches these at all
            sae.encoder_bias[KILLED] = -0.2
    trainer.train()
    fired = np.zeros(cfg.width, dtype=bool)
    fired[sae.encode(X).indices] = True
    return int((~fired).sum()), sae


SILENT = SAEConfig(48, "topk", k=2, aux_weight=0.0)
REVIVED = {
    "auxiliary loss": dataclasses.replace(SILENT, aux_weight=1 / 32, dead_after=2),
    "resampling": dataclasses.replace(SILENT, resample_every=5),
}


def test_without_help_they_stay_dead() -> None:
    assert n_dead_after_training(SILENT)[0] == 36


@pytest.mark.parametrize("name", REVIVED)
def test_dead_features_revive(name: str) -> None:
    assert n_dead_after_training(REVIVED[name])[0] <= 5


def test_resampling_points_at_badly_reconstructed_cells() -> None:
    sae = SAE(VARIANTS["relu"], fit_scaling(embedding(), "global"), torch.Generator().manual_seed(1))
    with torch.no_grad():
        sae.encoder_bias.fill_(-100)  # nothing is reconstructed
    optimiser = torch.optim.Adam(sae.parameters())
    for p in sae.parameters():
        p.grad = torch.ones_like(p)
    optimiser.step()
    x = torch.zeros(50, 5)
    x[13] = torch.tensor([0.0, 3, 0, 4, 0])
    dead = torch.arange(12) >= 11
    assert resample_dead(sae, x, dead, optimiser, torch.Generator()) == 1
    direction = (x[13] - sae.decoder_bias.detach()) / (x[13] - sae.decoder_bias.detach()).norm()
    torch.testing.assert_close(sae.decoder[11].detach(), direction)
    assert not optimiser.state[sae.decoder]["exp_avg"][11].any()
    assert optimiser.state[sae.decoder]["exp_avg"][:11].all()
    assert resample_dead(sae, x, torch.zeros(12, dtype=torch.bool), optimiser, torch.Generator()) == 0


@pytest.mark.parametrize("name", ["relu", "gated", "topk", "batchtopk", "jumprelu", "jumprelu-l0"])
def test_resampled_features_fire(name: str) -> None:
    sae = SAE(VARIANTS[name], fit_scaling(embedding(), "global"), torch.Generator().manual_seed(1))
    if isinstance(sae.activation, JumpReLU):
        torch.nn.init.constant_(sae.activation.log_threshold, 3.0)  # what they fell silent under
    x = sae.scale(torch.as_tensor(embedding()))
    optimiser = torch.optim.Adam(sae.parameters())
    dead = torch.arange(12) >= 9
    resample_dead(sae, x, dead, optimiser, torch.Generator().manual_seed(0))
    with torch.no_grad():
        fired = (sae.activation.training_codes(sae.pre_activations(x)) > 0).any(0)
    assert fired[dead].all()
