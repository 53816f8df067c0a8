"""A dictionary read off the geometry of an embedding, without training."""

from cellprism.sae.geometry.reading import Geometry, assemble, read_geometry, reading_history

__all__ = ["Geometry", "assemble", "read_geometry", "reading_history"]
