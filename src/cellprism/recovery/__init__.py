"""How much of a known truth do codes hold? Scores, their nulls and their ceiling, baselines, and the benchmark."""

from cellprism.recovery.benchmark import Benchmark, benchmark, compare
from cellprism.recovery.grid import Trial, grid
from cellprism.recovery.methods import METHODS
from cellprism.recovery.presets import PRESETS, Preset
from cellprism.recovery.probe import Probe, probe
from cellprism.recovery.scores import Scores, score
from cellprism.recovery.sweep import sweep, sweep_embeddings
from cellprism.recovery.task import Task
from cellprism.recovery.truth import Level, Truth

__all__ = [
    "METHODS",
    "PRESETS",
    "Benchmark",
    "Level",
    "Preset",
    "Probe",
    "Scores",
    "Task",
    "Trial",
    "Truth",
    "benchmark",
    "compare",
    "grid",
    "probe",
    "score",
    "sweep",
    "sweep_embeddings",
]
