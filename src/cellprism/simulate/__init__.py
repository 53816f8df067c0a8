"""Cells whose hidden variables are known: the generative processes of arXiv 2410.11468, and what real data adds."""

from cellprism.simulate.large import large, multiome
from cellprism.simulate.plant import Planted, Programme, plant
from cellprism.simulate.process import LargeProcess
from cellprism.simulate.small import small
from cellprism.simulate.store import large_zarr

__all__ = ["LargeProcess", "Planted", "Programme", "large", "large_zarr", "multiome", "plant", "small"]
