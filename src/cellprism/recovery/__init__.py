"""How much of a known truth do codes hold? Scores, their nulls and their ceiling."""

from cellprism.recovery.probe import Probe, probe
from cellprism.recovery.scores import Scores, score
from cellprism.recovery.truth import Level, Truth

__all__ = ["Level", "Probe", "Scores", "Truth", "probe", "score"]
