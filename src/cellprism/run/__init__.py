"""The main job: cells and an embedding in, a folder of named features out.

Names are imported on their first use, so that the command line can read the options of a run and import nothing else.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
