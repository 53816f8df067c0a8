"""Sparse autoencoders: config, model, training, files."""

from cellprism.sae.config import SAEConfig
from cellprism.sae.fit import Fit, default_config
from cellprism.sae.front import fit
from cellprism.sae.io import load
from cellprism.sae.many import fit_many
from cellprism.sae.model import SAE
from cellprism.sae.trainer import DivergedError

__all__ = ["SAE", "DivergedError", "Fit", "SAEConfig", "default_config", "fit", "fit_many", "load"]
