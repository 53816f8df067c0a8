"""Sparse, named and testable features of single-cell embeddings."""

from importlib.metadata import version

from cellprism import datasets, embed, genesets, pl, recovery, simulate, tl
from cellprism.errors import InputError
from cellprism.evaluation.evaluate import evaluate
from cellprism.evaluation.result import Evaluation
from cellprism.features.annotate import Annotation, annotate
from cellprism.features.differential import differential
from cellprism.features.export import feature_network, feature_sets
from cellprism.features.matching import match
from cellprism.report import view
from cellprism.run import RunFolder
from cellprism.sae import SAE, DivergedError, Fit, SAEConfig, fit, fit_many, load
from cellprism.sae.consensus import consensus
from cellprism.sae.interchange import export_sae, import_sae
from cellprism.sae.recipe import Recipe, choose_recipe, fit_auto
from cellprism.steering import clean, effect, linked, screen, steer

__all__ = [
    "SAE",
    "Annotation",
    "DivergedError",
    "Evaluation",
    "Fit",
    "InputError",
    "Recipe",
    "RunFolder",
    "SAEConfig",
    "annotate",
    "choose_recipe",
    "clean",
    "consensus",
    "datasets",
    "differential",
    "effect",
    "embed",
    "evaluate",
    "export_sae",
    "feature_network",
    "feature_sets",
    "fit",
    "fit_auto",
    "fit_many",
    "genesets",
    "import_sae",
    "linked",
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
