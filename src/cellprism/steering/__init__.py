"""Edit features, get the embedding that says so, and read the effect in genes."""

from cellprism.steering.clean import Cleaned, clean
from cellprism.steering.edit import Edit, steer
from cellprism.steering.effect import Effect, effect
from cellprism.steering.linked import Linked, linked
from cellprism.steering.screen import screen

__all__ = ["Cleaned", "Edit", "Effect", "Linked", "clean", "effect", "linked", "screen", "steer"]
