"""Edit features, get the embedding that says so, and read the effect in genes."""

from cellprism.steer.edit import Edit, steer
from cellprism.steer.effect import Effect, effect
from cellprism.steer.screen import screen

__all__ = ["Edit", "Effect", "effect", "screen", "steer"]
