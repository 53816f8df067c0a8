"""Figures for papers, with matplotlib: each function draws into given axes or a figure of its own and gives it back."""

from cellprism.pl.card import feature
from cellprism.pl.evaluation import evaluation
from cellprism.pl.genes import volcano
from cellprism.pl.maps import cells, feature_map
from cellprism.pl.steering import steering
from cellprism.pl.sweeps import landscape, recovery

__all__ = ["cells", "evaluation", "feature", "feature_map", "landscape", "recovery", "steering", "volcano"]
