"""Sparse autoencoders: config, model, training, files."""

from cellprism.sae.config import SAEConfig
from cellprism.sae.fit import Fit, default_config, fit
from cellprism.sae.io import load
from cellprism.sae.model import SAE

__all__ = ["SAE", "Fit", "SAEConfig", "default_config", "fit", "load"]
