"""SAE folders: ``config.json`` (what it is) beside ``sae.safetensors`` (its numbers). Nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes

from cellprism.errors import InputError
from cellprism.sae.config import SAEConfig
from cellprism.sae.model import SAE
from cellprism.sae.scaling import AffineScaling

__all__ = ["FORMAT_VERSION", "load", "save"]

FORMAT_VERSION = 1


def save(sae: SAE, path: Path) -> None:
    """Write an SAE into the folder ``path``, made where it is absent."""
    path.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sae.state_dict().items()}
    (path / "sae.safetensors").write_bytes(to_bytes(tensors))  # their own save_file lets nobody else read it
    about = {"format": "cellprism-sae", "format_version": FORMAT_VERSION, "d": sae.d, "config": sae.config.to_dict()}
    (path / "config.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


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
    folder = Path(path)
    if not (folder / "config.json").exists() and (folder / "sae" / "config.json").exists():
        folder = folder / "sae"
    for name in ("config.json", "sae.safetensors"):
        if not (folder / name).is_file():
            raise InputError(
                "an SAE folder holds config.json and sae.safetensors", f"no {name} in {folder}", "check the path"
            )
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise InputError(
            "config.json must be JSON", f"{folder / 'config.json'}: {error}", "save the SAE again"
        ) from error
    if not isinstance(about, dict) or about.get("format") != "cellprism-sae":
        raise InputError("config.json must describe a cellprism SAE", f"{folder / 'config.json'}", "check the path")
    for name, kind in (("format_version", int), ("config", dict)):
        if not isinstance(about.get(name), kind) or isinstance(about.get(name), bool):
            raise InputError(
                f"config.json must hold `{name}`", repr(about.get(name)), "save the SAE again with this version"
            )
    if about["format_version"] > FORMAT_VERSION:
        raise InputError(
            f"this version reads SAE format {FORMAT_VERSION} or older",
            f"format {about['format_version']}",
            "upgrade cellprism",
        )
    try:
        tensors = load_file(str(folder / "sae.safetensors"))
    except (SafetensorError, OSError) as error:
        raise InputError(
            "sae.safetensors must be readable", f"{folder}: {error}", "copy or save the SAE again"
        ) from error
    broken = sorted(name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    if broken:
        raise InputError(
            "the numbers of an SAE are finite", f"NaN or inf in {', '.join(broken)} of {folder}", "train it again"
        )
    empty = np.zeros(0, dtype=np.float32)
    scaling = AffineScaling(
        *(tensors[k].numpy() if k in tensors else empty for k in ("mean", "forward_map", "backward_map"))
    )
    if scaling.forward.ndim != 2:
        raise InputError("sae.safetensors must hold the model's scaling", f"{sorted(tensors)}", "save the SAE again")
    sae = SAE(SAEConfig.from_dict(about["config"]), scaling)
    try:
        sae.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            "sae.safetensors must fit config.json", str(error), "keep the two files of one SAE together"
        ) from error
    return sae.eval()
