"""Figures for papers, with matplotlib: each function draws into given axes or a figure of its own and gives it back."""

from cellprism.pl.card import feature
from cellprism.pl.compare import differential
from cellprism.pl.evaluation import evaluation
from cellprism.pl.genes import volcano
from cellprism.pl.groups import dotplot, violin
from cellprism.pl.many import heatmap, panels
from cellprism.pl.maps import cells, feature_map
from cellprism.pl.modules import modules
from cellprism.pl.steering import steering
from cellprism.pl.sweeps import landscape, recovery
from cellprism.pl.terms import terms

__all__ = [
    "cells",
    "differential",
    "dotplot",
    "evaluation",
    "feature",
    "feature_map",
    "heatmap",
    "landscape",
    "modules",
    "panels",
    "recovery",
    "steering",
    "terms",
    "violin",
    "volcano",
]


def __dir__() -> list[str]:
    return __all__
