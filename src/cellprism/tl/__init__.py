"""The AnnData face: read from and write to ``adata``, work elsewhere."""

from cellprism.tl.annotate import annotate
from cellprism.tl.differential import differential
from cellprism.tl.encode import encode
from cellprism.tl.fit import fit
from cellprism.tl.match import match
from cellprism.tl.steer import steer
from cellprism.tl.stored import sae

__all__ = ["annotate", "differential", "encode", "fit", "match", "sae", "steer"]


def __dir__() -> list[str]:
    return __all__
