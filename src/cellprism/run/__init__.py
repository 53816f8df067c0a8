"""The main job: cells and an embedding in, a folder of named features out."""

from cellprism.run.folder import RunFolder
from cellprism.run.options import RunOptions
from cellprism.run.pipeline import run

__all__ = ["RunFolder", "RunOptions", "run"]
