"""Edit features, get the embedding that says so, and read the effect in genes."""

from cellprism.steer.clean import Cleaned, clean
from cellprism.steer.edit import Edit, steer
from cellprism.steer.effect import Effect, effect
from cellprism.steer.linked import Linked, linked
from cellprism.steer.screen import screen

__all__ = ["Cleaned", "Edit", "Effect", "Linked", "clean", "effect", "linked", "screen", "steer"]
