"""Sparse, named and testable features of single-cell embeddings.

Public names and rooms are imported on their first use, so that ``import cellprism`` takes no time; ``__init__.pyi`` says what
they are and where they live.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("cellprism")
