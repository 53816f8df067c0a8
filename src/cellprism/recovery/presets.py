"""The benchmark's sizes: what is simulated, how it is embedded, and which methods run unless others are named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from anndata import AnnData

from cellprism.numeric import numbers_checked
from cellprism.recovery.methods import METHODS
from cellprism.simulate import large, small

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True)
class Preset:
    """A benchmark of one size."""

    simulation: Literal["small", "large"]
    """Which process."""
    cells: Mapping[str, Any]
    """Its arguments."""
    autoencoder: Mapping[str, Any]
    """Arguments of :meth:`~cellprism.embed.autoencoder.AutoencoderModel.fit`; ``latent`` holds for other embeddings too."""
    methods: tuple[str, ...]
    """Methods that run by default."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options of single methods."""
    level: str = "X2"
    """The level nearest to what an embedding can hold: headline of figures and of the printed table."""

    @numbers_checked
    def simulate(self, seed: int, **changes: Any) -> AnnData:
        """Draw the cells of a seed, with changed arguments if wanted."""
        make = small if self.simulation == "small" else large
        return make(**(dict(self.cells) | {"seed": seed} | changes))


_MAIN = (
    "cellprism",
    "paper-vanilla",
    "topk",
    "batchtopk",
    "embedding",
    "pca-embedding",
    "ica-embedding",
    "pca-data",
    "ica-data",
    "svd-data",
    "untrained",
    "shuffled",
    "probe",
)
_PAPER_FORMS = ("paper-vanilla", "paper-relu", "paper-topk")
_PLAIN_SAES = ("topk", "batchtopk", "shuffled")

PRESETS: dict[str, Preset] = {
    # Embedding: the published linear encoder and ReLU decoder on full batches, with ten times the published learning
    # rate and a tenth of the steps. The published SAEs likewise; `paper` below has the published lengths.
    "small": Preset(
        simulation="small",
        cells={"n_cells": 12_000, "held_out": 2_000},
        autoencoder={"latent": 4, "depth": 1, "lr": 1e-3, "batch_size": 12_000, "epochs": 2_000, "patience": 2_000},
        methods=(*_MAIN, "nmf-data", "dictionary-learning"),
        options={
            **{name: {"factor": 20, "lr": 1e-3, "epochs": 25} for name in _PAPER_FORMS},
            # Three scores and one activity lie behind four dimensions: two active features are what a cell needs.
            **{name: {"k": 2, "epochs": 40} for name in _PLAIN_SAES},
            "cellprism": {"preset": "quick"},
            "untrained": {"k": 2},
            "dictionary-learning": {"width": 16, "k": 2},
        },
        level="T",
    ),
    "reduced": Preset(
        simulation="large",
        cells={"n_cells": 22_000, "n_genes": 2_000, "held_out": 2_000},
        autoencoder={"latent": 150, "lr": 2e-3, "batch_size": 256, "epochs": 20, "patience": 5},
        methods=_MAIN,
        options={
            **{name: {"lr": 1e-3, "epochs": 15} for name in _PAPER_FORMS},
            **{name: {"epochs": 30} for name in _PLAIN_SAES},
            "ica-data": {"components": 100},
        },
    ),
    "paper": Preset(
        simulation="large",
        cells={"n_cells": 10_000, "n_genes": 20_000, "held_out": 1_000},
        autoencoder={"latent": 150, "lr": 1e-4, "batch_size": 128, "epochs": 500, "patience": 50},
        methods=tuple(name for name in METHODS if name not in ("ldvae", "cnmf")),
    ),
}
"""Benchmarks by name."""
