"""How good a dictionary is, beside what others would use and what learned nothing."""

PUBLIC = {
    "evaluate": ("evaluate",),
    "planted": ("over_grid", "planted", "PlantedBenchmark"),
    "result": ("Evaluation",),
    "rivals": ("Dictionary", "fit_rival", "Rival", "RIVALS"),
    "spike_in": ("spike_in",),
}
"""File -> its names for use from outside. What else the files hold is for those who extend the package, and may change."""
