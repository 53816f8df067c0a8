"""A dictionary read off the geometry of an embedding, without training."""

from cellprism.sae.geometry.reading import Geometry, assemble, read_geometry, reading_history
from cellprism.sae.geometry.unmix import MAX_AXES

__all__ = ["MAX_AXES", "Geometry", "assemble", "read_geometry", "reading_history"]
