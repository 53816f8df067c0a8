"""``load``: an SAE folder becomes an SAE; :meth:`cellprism.sae.model.SAE.save` writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cellprism.errors import InputError
from cellprism.sae.config import SAEConfig
from cellprism.sae.folder import read_folder
from cellprism.sae.model import SAE
from cellprism.sae.scaling import AffineScaling

__all__ = ["load"]


def load(path: str | Path) -> SAE:
    """Read an SAE folder.

    Parameters
    ----------
    path
        Folder with ``config.json`` and ``sae.safetensors``, or a run folder that has them under ``sae/``.

    Returns
    -------
    SAE
        On the CPU; its codes are bit-identical to those of the SAE that was saved.

    Raises
    ------
    InputError
        If a file is missing, unreadable, of a newer format, or does not fit the config.

    Examples
    --------
    >>> sae.save("dictionary")
    >>> prism.load("dictionary").width == sae.width
    True
    """
    config, tensors = read_folder(path)
    empty = np.zeros(0, dtype=np.float32)
    scaling = AffineScaling(
        *(tensors[k].numpy() if k in tensors else empty for k in ("mean", "forward_map", "backward_map"))
    )
    if scaling.forward.ndim != 2:
        raise InputError("sae.safetensors must hold the model's scaling", f"{sorted(tensors)}", "save the SAE again")
    sae = SAE(SAEConfig.from_dict(config), scaling)
    try:
        sae.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            "sae.safetensors must fit config.json", str(error), "keep the two files of one SAE together"
        ) from error
    return sae.eval()
