"""Sparse, named and testable features of single-cell embeddings."""

from importlib.metadata import version

from cellprism import embed, genesets, pl, recovery, simulate, tl
from cellprism.errors import InputError
from cellprism.features.annotate import Annotation, annotate
from cellprism.features.differential import differential
from cellprism.features.matching import match
from cellprism.report import view
from cellprism.run import RunFolder
from cellprism.sae import SAE, Fit, SAEConfig, fit, fit_many, load
from cellprism.steer import clean, effect, screen, steer

__all__ = [
    "SAE",
    "Annotation",
    "Fit",
    "InputError",
    "RunFolder",
    "SAEConfig",
    "annotate",
    "clean",
    "differential",
    "effect",
    "embed",
    "fit",
    "fit_many",
    "genesets",
    "load",
    "match",
    "pl",
    "recovery",
    "screen",
    "simulate",
    "steer",
    "tl",
    "view",
]

__version__ = version("cellprism")
