"""A dictionary read off the geometry of an embedding, without training."""

from cellprism.sae.geometry.kinds import MOST_KINDS
from cellprism.sae.geometry.reading import Geometry, assemble, read_geometry, reading_history, with_kinds
from cellprism.sae.geometry.unmix import MAX_AXES, axes_read

__all__ = [
    "MAX_AXES",
    "MOST_KINDS",
    "Geometry",
    "assemble",
    "axes_read",
    "read_geometry",
    "reading_history",
    "with_kinds",
]
